"""What all dashboards are made of: graphs, figures, and what can be chosen above them."""

from collections.abc import Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import common, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableRefresh,
)

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

#: Queries by what their lines are called; {{label}} is that label's value.
Lines = Mapping[str, str]


def graph(title: str, unit: str, meaning: str, lines: Lines) -> timeseries.Panel:
    """A graph over time, half as wide as the page; ``unit`` is Grafana's id of it."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(meaning)
        .datasource(_SOURCE)
        .unit(unit)
        .min(0)
        .height(8)
        .span(12)
        .fill_opacity(8)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
    )
    for name, expression in lines.items():
        panel.with_target(_query(expression).legend_format(name))
    return panel


def figure(title: str, unit: str, meaning: str, expression: str) -> stat.Panel:
    """What it is now, as a number; four stand side by side."""
    return (
        stat.Panel()
        .title(title)
        .description(meaning)
        .datasource(_SOURCE)
        .unit(unit)
        .height(4)
        .span(6)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query(expression))
    )


def dashboard(
    uid: str,
    title: str,
    meaning: str,
    rows: Mapping[str, Sequence[timeseries.Panel | stat.Panel]],
    *,
    by_adapter: bool = False,
) -> Dashboard:
    """Panels in rows, for the last hour; with ``by_adapter`` adapters can be chosen."""
    page = (
        Dashboard(title)
        .uid(uid)
        .description(meaning)
        .tags(["lorelay"])
        .time("now-1h", "now")
        .refresh("10s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    if by_adapter:
        page.with_variable(
            QueryVariable("adapter")
            .label("Adapter")
            .datasource(_SOURCE)
            .query("label_values(lorelay_responses_total, adapter)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    for name, panels in rows.items():
        page.with_row(Row(name))
        for panel in panels:
            page.with_panel(panel)
    return page


def quantile(share: float, metric: str, *labels: str, where: str = "") -> str:
    """The quantile of a histogram, by labels."""
    by = ", ".join([*labels, "le"])
    return (
        f"histogram_quantile({share}, sum by ({by}) "
        f"(rate({metric}_bucket{where}[$__rate_interval])))"
    )


def rate(metric: str, *labels: str, where: str = "") -> str:
    """How fast a counter grows, per second, by labels."""
    by = f" by ({', '.join(labels)}) " if labels else ""
    return f"sum{by}(rate({metric}{where}[$__rate_interval]))"


def _query(expression: str) -> Dataquery:
    return Dataquery().expr(expression).datasource(_SOURCE)
