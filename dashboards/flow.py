"""Whether queries flow: rates, waits, errors, and what holds them up."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.panels import dashboard, figure, graph, quantile, rate

_STAGES: Final = ("queue", "routing", "engine_queue", "first_token", "inference", "total")
_ERROR_SHARE: Final = (
    '(sum(rate(lorelay_responses_total{status="error"}[5m])) or vector(0))'
    " / sum(rate(lorelay_responses_total[5m]))"
)


def flow() -> Dashboard:
    """One page on the whole service."""
    return dashboard(
        "lorelay-flow",
        "Lorelay: flow",
        "Whether queries flow, where their time goes, and what holds them up.",
        {
            "Now": [
                figure(
                    "Rate", "reqps", "Responses by the second.", rate("lorelay_responses_total")
                ),
                figure("Errors", "percentunit", "Share of the last 5 minutes.", _ERROR_SHARE),
                figure(
                    "Whole way, p95",
                    "s",
                    "From the query record's creation to its response.",
                    quantile(0.95, "lorelay_total_seconds"),
                ),
                figure(
                    "Waiting",
                    "short",
                    "Records of all topics that are not worked on yet.",
                    "sum(topic:lorelay_consumer_lag_records:sum)",
                ),
            ],
            "Queries": [
                graph(
                    "Routed",
                    "reqps",
                    "By how the adapter was chosen, or why none was.",
                    {"{{choice}}": rate("lorelay_router_queries_total", "choice")},
                ),
                graph(
                    "Responses",
                    "reqps",
                    "By outcome: an error's category, nothing where all went well.",
                    {
                        "{{status}} {{category}}": rate(
                            "lorelay_responses_total", "status", "category"
                        )
                    },
                ),
                graph(
                    "Where the time goes, p95",
                    "s",
                    "Each stage by itself; total is the whole way.",
                    {
                        stage.replace("_", " "): quantile(0.95, f"lorelay_{stage}_seconds")
                        for stage in _STAGES
                    },
                ),
                graph(
                    "Waiting records",
                    "short",
                    "By topic: requests wait for workers, queries for routers.",
                    {"{{topic}}": "topic:lorelay_consumer_lag_records:sum"},
                ),
            ],
            "Gateway": [
                graph(
                    "HTTP requests",
                    "reqps",
                    "By route and the status of the response.",
                    {
                        "{{route}} {{status}}": rate(
                            "lorelay_gateway_requests_total", "route", "status"
                        )
                    },
                ),
                graph(
                    "HTTP, p95",
                    "s",
                    "A request from its headers to its response's last byte; the first chunk of a "
                    "streamed answer.",
                    {
                        "{{route}}": quantile(0.95, "lorelay_gateway_request_seconds", "route"),
                        "first chunk": quantile(0.95, "lorelay_gateway_first_chunk_seconds"),
                    },
                ),
                graph(
                    "Open",
                    "short",
                    "Queries that are not answered yet, and answers that are being streamed.",
                    {
                        "queries": "sum(lorelay_gateway_in_flight_queries)",
                        "streams": "sum(lorelay_gateway_open_streams)",
                    },
                ),
                graph(
                    "Broken off",
                    "short",
                    "In the last quarter of an hour.",
                    {
                        "taken back": "sum(increase(lorelay_gateway_cancels_total[15m]))",
                        "broken streams": (
                            "sum(increase(lorelay_gateway_broken_streams_total[15m]))"
                        ),
                    },
                ),
            ],
            "Processes": [
                graph(
                    "Running",
                    "short",
                    "Processes that are scraped.",
                    {"{{process}}": "count by (process) (lorelay_build_info)"},
                ),
                graph(
                    "At work",
                    "short",
                    "Queries in routers; requests in engines, and those that wait for one.",
                    {
                        "in routers": "sum(lorelay_router_in_flight_queries)",
                        "in engines": "sum(lorelay_worker_in_flight_requests)",
                        "waiting for an engine": "sum(lorelay_worker_waiting_requests)",
                    },
                ),
                graph(
                    "Records in one transaction, mean",
                    "short",
                    "Queries of a router's, responses of a worker's.",
                    {
                        "router": _mean("lorelay_router_batch_queries"),
                        "worker": _mean("lorelay_worker_flush_responses"),
                    },
                ),
                graph(
                    "Encoding, p95",
                    "s",
                    "Turning the texts of one batch into vectors.",
                    {"seconds": quantile(0.95, "lorelay_router_encode_seconds")},
                ),
            ],
            "Kafka": [
                graph(
                    "Transactions",
                    "ops",
                    "By outcome; others than committed are done anew.",
                    {"{{outcome}}": rate("lorelay_transactions_total", "outcome")},
                ),
                graph(
                    "Transactions, p95",
                    "s",
                    "From begin to outcome.",
                    {"{{outcome}}": quantile(0.95, "lorelay_transaction_seconds", "outcome")},
                ),
                graph(
                    "Window",
                    "short",
                    "Offsets between the oldest unfinished and the newest fetched record, at most; "
                    "and partitions that are paused for it.",
                    {
                        "{{topic}}": "max by (topic) (lorelay_window_span_offsets)",
                        "paused partitions": "sum(lorelay_paused_partitions)",
                    },
                ),
                graph(
                    "Trouble",
                    "short",
                    "In the last quarter of an hour.",
                    {
                        "dead letters, {{category}}": (
                            "sum by (category) (increase(lorelay_dead_letters_total[15m]))"
                        ),
                        "undecodable": "sum(increase(lorelay_decode_errors_total[15m]))",
                        "retried, {{category}}": (
                            "sum by (category) (increase(lorelay_worker_retries_total[15m]))"
                        ),
                        "engine restarts": (
                            "sum(increase(lorelay_worker_engine_restarts_total[15m]))"
                        ),
                        "lost to retention": (
                            "sum(increase(lorelay_retention_lost_records_total[15m]))"
                        ),
                    },
                ),
            ],
        },
    )


def _mean(metric: str) -> str:
    return f"{rate(f'{metric}_sum')} / {rate(f'{metric}_count')}"
