"""Every query of every dashboard is one that Prometheus answers."""

from collections.abc import Iterator

import pytest

from dashboards.adapters import adapters
from dashboards.flow import flow
from dashboards.selection import selection
from tests.system.prometheus import Prometheus, until

PAGES = [flow(), adapters(), selection()]
#: What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "1m", "$adapter": ".*"}
#: Queries without an answer where nothing of their kind has happened, and why that is.
SILENT = {
    "Loading, p95": "the echo engine loads nothing",
    "Loads that failed": "the echo engine loads nothing",
    "Drift": "it takes 100 queries",
    "Largest drift": "it takes 100 queries",
    "Trouble": "nothing was retried or lost",
    "Canaries on trial": "there is none",
    "Shares": "no family's traffic is split",
    "Responses by variant": "no family's traffic is split",
    "Rejected": "it takes a query that fits none in each language",
}


def queries() -> Iterator[object]:
    for page in PAGES:
        built = page.build()
        for panel in built.panels or []:
            for number, target in enumerate(getattr(panel, "targets", None) or []):
                expression = target.expr
                for name, value in VARIABLES.items():
                    expression = expression.replace(name, value)
                title = str(panel.title)
                yield pytest.param(title, expression, id=f"{built.uid}, {title}, {number + 1}")


@pytest.mark.parametrize(("title", "expression"), [*queries()])
def test_a_query_is_answered(prometheus: Prometheus, title: str, expression: str) -> None:
    # Rules that record what it asks for may be a moment behind.
    if title not in SILENT:
        until(lambda: prometheus.query(expression), f"an answer to {expression}")
    elif not prometheus.query(expression):
        pytest.skip(f"no data, as {SILENT[title]}: {expression}")
