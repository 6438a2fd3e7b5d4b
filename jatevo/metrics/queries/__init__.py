"""The console's queries of ClickHouse. Each figure is defined here once.

Every function takes the store and a half-open window `since <= ts < until` of aware datetimes, and may raise
MetricsUnavailable. A figure that is not known is None, never 0. Rows that were delivered twice count once:
each query groups by the row's identity or uses FINAL, because ClickHouse merges repeats only eventually.
Latencies are in milliseconds, speeds in tokens per second.
"""

from jatevo.metrics.queries.latency import (
    MIN_SAMPLES,
    HourLatency,
    LatencyPoint,
    NetworkLatency,
    RegionLatency,
    latency_by_hour,
    latency_by_node_hour,
    latency_series,
    latest_latency,
    p95_of_network,
)
from jatevo.metrics.queries.models import ModelTraffic, traffic_by_model
from jatevo.metrics.queries.receipts import ReceiptTotals, receipt_presence, receipt_totals
from jatevo.metrics.queries.requests import (
    HourCount,
    HourTraffic,
    requests_by_hour,
    requests_count,
    traffic_by_hour,
)
from jatevo.metrics.queries.search import (
    NOT_FILLED,
    SearchConditions,
    SearchSums,
    first_accepted,
    note_search_origin,
    search_origin,
    search_positions,
    search_rows_between,
    search_sums,
)
from jatevo.metrics.queries.uptime import (
    SETTLED_AFTER,
    first_minute_up,
    minutes_up_by_node,
    minutes_up_in_hour,
    minutes_up_of_node,
    uptime_ratio,
)

__all__ = [
    "MIN_SAMPLES",
    "NOT_FILLED",
    "SETTLED_AFTER",
    "HourCount",
    "HourLatency",
    "HourTraffic",
    "LatencyPoint",
    "ModelTraffic",
    "NetworkLatency",
    "ReceiptTotals",
    "RegionLatency",
    "SearchConditions",
    "SearchSums",
    "first_accepted",
    "first_minute_up",
    "latency_by_hour",
    "latency_by_node_hour",
    "latency_series",
    "latest_latency",
    "minutes_up_by_node",
    "minutes_up_in_hour",
    "minutes_up_of_node",
    "note_search_origin",
    "p95_of_network",
    "receipt_presence",
    "receipt_totals",
    "requests_by_hour",
    "requests_count",
    "search_origin",
    "search_positions",
    "search_rows_between",
    "search_sums",
    "traffic_by_hour",
    "traffic_by_model",
    "uptime_ratio",
]
