"""Whether adapters are selected well: rejects, scores, drift, and a shadow's opinion."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.panels import dashboard, figure, graph, quantile, rate

_CHOSEN: Final = '{adapter=~"$adapter"}'
_NEAREST: Final = "lorelay_router_nearest_queries_total"
_REJECTED: Final = '{adapter=~"$adapter", choice!="selected"}'


def selection() -> Dashboard:
    """One page on the router's choices."""
    rejects = rate(_NEAREST, "adapter", "language", where=_REJECTED)
    nearest = rate(_NEAREST, "adapter", "language", where=_CHOSEN)
    drift = "lorelay_router_drift_psi"
    return dashboard(
        "lorelay-selection",
        "Lorelay: selection",
        "Which adapters queries are nearest to, how near, and which fit none.",
        {
            "Now": [
                figure(
                    "Fit none",
                    "percentunit",
                    "Share of the compared queries, in the last 5 minutes.",
                    "lorelay_router_rejected_queries:ratio5m",
                ),
                figure("Compared", "reqps", "Queries by the second.", rate(_NEAREST)),
                figure(
                    "Largest drift",
                    "none",
                    "Population stability index; above 0.25, and above chance, look closer.",
                    f"max({drift})",
                ),
                figure(
                    "Shadow disagrees",
                    "percentunit",
                    "Share of the queries that the shadow selector decides otherwise.",
                    f"({_shadow('same|dropped|failed')} or vector(0))"
                    f" / {_shadow('dropped|failed')}",
                ),
            ],
            "Choices": [
                graph(
                    "Nearest adapter",
                    "reqps",
                    "Queries by the adapter nearest to them, whether it was chosen or not.",
                    {"{{adapter}}": rate(_NEAREST, "adapter", where=_CHOSEN)},
                ),
                graph(
                    "Rejected",
                    "percentunit",
                    "Share of the queries nearest to an adapter that were not given to it.",
                    {"{{adapter}} {{language}}": f"{rejects} / {nearest}"},
                ),
                graph(
                    "Score, median",
                    "none",
                    "Of the queries nearest to an adapter.",
                    {
                        "{{adapter}} {{language}}": quantile(
                            0.5,
                            "lorelay_router_nearest_score",
                            "adapter",
                            "language",
                            where=_CHOSEN,
                        )
                    },
                ),
                graph(
                    "Drift",
                    "none",
                    "How far scores are from those at calibration, and may be by chance.",
                    {
                        "{{adapter}} {{language}}": (
                            f"max by (adapter, language) ({drift}{_CHOSEN})"
                        ),
                        "{{adapter}} {{language}}, by chance": (
                            f"max by (adapter, language) ({drift}_by_chance{_CHOSEN})"
                        ),
                    },
                ),
                graph(
                    "Shadow",
                    "reqps",
                    "What another selector would have made of the queries.",
                    {"{{outcome}}": rate("lorelay_router_shadow_queries_total", "outcome")},
                ),
            ],
        },
        by_adapter=True,
    )


def _shadow(left_out: str) -> str:
    return rate("lorelay_router_shadow_queries_total", where=f'{{outcome!~"{left_out}"}}')
