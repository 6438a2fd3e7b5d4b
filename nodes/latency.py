"""The latest measured latencies of nodes, as lists and details show them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from jatevo.metrics import queries
from jatevo.metrics.queries import LatencyPoint
from jatevo.metrics.store import MetricsUnavailable, get_store

LOOK_BACK = timedelta(hours=1)


def latest_latencies(node_ids: Sequence[str], *, at: datetime) -> dict[str, LatencyPoint] | None:
    """Per node its last measurement of the past hour; None while the metrics store cannot tell."""
    if not node_ids:
        return {}
    try:
        return queries.latest_latency(get_store(), node_ids, at - LOOK_BACK, at + timedelta(minutes=1))
    except MetricsUnavailable:
        return None
