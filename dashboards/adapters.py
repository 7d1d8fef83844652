"""How each adapter version does."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.panels import dashboard, figure, graph, quantile, rate

_CHOSEN: Final = '{adapter=~"$adapter"}'


def adapters() -> Dashboard:
    """One page to compare adapter versions on."""
    return dashboard(
        "lorelay-adapters",
        "Lorelay: adapters",
        "Rates, errors and latencies of the adapter versions that are chosen above.",
        {
            "Now": [
                figure(
                    "Registered",
                    "short",
                    "Versions in the registry.",
                    "max(lorelay_adapters_known)",
                ),
                figure(
                    "Resident",
                    "short",
                    "Versions that the engines hold, together.",
                    "sum(lorelay_worker_adapters_resident)",
                ),
                figure(
                    "Registry revision",
                    "none",
                    "What all processes have read to, at least.",
                    "min(lorelay_registry_revision)",
                ),
                figure(
                    "Loads that failed",
                    "short",
                    "In the last hour.",
                    'sum(increase(lorelay_worker_adapter_load_seconds_count{outcome="error"}[1h]))',
                ),
            ],
            "Answers": [
                graph(
                    "Responses",
                    "reqps",
                    "By the second.",
                    {"{{adapter}}": f"adapter:lorelay_responses:rate1m{_CHOSEN}"},
                ),
                graph(
                    "Errors",
                    "percentunit",
                    "Share of the last 5 minutes' responses.",
                    {"{{adapter}}": f"adapter:lorelay_response_errors:ratio5m{_CHOSEN}"},
                ),
                graph(
                    "Whole way, median",
                    "s",
                    "From the query record's creation to its response.",
                    {"{{adapter}}": f"adapter:lorelay_total_seconds:p50_5m{_CHOSEN}"},
                ),
                graph(
                    "Whole way, p95",
                    "s",
                    "From the query record's creation to its response.",
                    {"{{adapter}}": f"adapter:lorelay_total_seconds:p95_5m{_CHOSEN}"},
                ),
                graph(
                    "First token, p95",
                    "s",
                    "From a request's arrival in the engine.",
                    {"{{adapter}}": f"adapter:lorelay_first_token_seconds:p95_5m{_CHOSEN}"},
                ),
                graph(
                    "Errors by category",
                    "reqps",
                    "By the second.",
                    {
                        "{{adapter}} {{category}}": (
                            f"adapter_category:lorelay_response_errors:rate5m{_CHOSEN}"
                        )
                    },
                ),
            ],
            "Traffic splits": [
                graph(
                    "Shares",
                    "percentunit",
                    "Part of a family's sessions that each version answers.",
                    {
                        "{{family}} {{variant}} {{adapter}}": (
                            "max by (family, variant, adapter) "
                            f"(lorelay_router_traffic_share_ratio{_CHOSEN})"
                        )
                    },
                ),
                graph(
                    "Canaries on trial",
                    "percentunit",
                    "Evidence that one is worse or fine, as a part of what decides.",
                    {
                        "{{adapter}} {{measure}} {{towards}}": (
                            "max by (adapter, measure, towards) "
                            f"(lorelay_router_canary_evidence_ratio{_CHOSEN})"
                        )
                    },
                ),
                graph(
                    "Responses by variant",
                    "reqps",
                    "Of the queries that a split has given to a version.",
                    {
                        "{{adapter}} {{variant}} {{status}}": rate(
                            "lorelay_variant_responses_total",
                            "adapter",
                            "variant",
                            "status",
                            where=_CHOSEN,
                        )
                    },
                ),
            ],
            "Engine": [
                graph(
                    "Tokens",
                    "short",
                    "Read and written, by the second.",
                    {
                        "{{adapter}} written": f"adapter:lorelay_completion_tokens:rate1m{_CHOSEN}",
                        "{{adapter}} read": rate(
                            "lorelay_prompt_tokens_total", "adapter", where=_CHOSEN
                        ),
                    },
                ),
                graph(
                    "In engines",
                    "short",
                    "Requests that run or wait there.",
                    {
                        "{{adapter}}": (
                            f"sum by (adapter) (lorelay_worker_in_flight_requests{_CHOSEN})"
                        )
                    },
                ),
                graph(
                    "Loading, p95",
                    "s",
                    "Fetching, checking and loading an adapter on its first use.",
                    {
                        "{{outcome}}": quantile(
                            0.95, "lorelay_worker_adapter_load_seconds", "outcome"
                        )
                    },
                ),
            ],
        },
        by_adapter=True,
    )
