"""The traffic of each model, from receipts."""

from dataclasses import dataclass
from datetime import datetime

from jatevo.metrics.queries.sql_text import NORMAL_MODEL, joined
from jatevo.metrics.transport import Transport

MOST_MODELS = 1000


@dataclass(frozen=True)
class ModelTraffic:
    """`p95_ms` is the 95th percentile (t-digest) of the receipts' own `p95_ms`. None if none states one."""

    requests: int
    p95_ms: float | None


def traffic_by_model(store: Transport, since: datetime, until: datetime) -> dict[str, ModelTraffic]:
    """Receipts of requests that ended in the window, by the normal form of the model. Only the busiest
    MOST_MODELS.
    """
    rows = store.execute(
        joined(
            "SELECT model, count() AS requests, quantileTDigest(0.95)(p95) FROM (",
            *("SELECT any(", NORMAL_MODEL, ") AS model, any(p95_ms) AS p95 FROM receipt_facts"),
            "WHERE ts_end >= {since} AND ts_end < {until} AND toDate(ts_end) >= toDate({since})",
            "GROUP BY cityHash64(node_id, request_id)",
            ") GROUP BY model ORDER BY requests DESC, model LIMIT {most}",
        ),
        {"since": since, "until": until, "most": MOST_MODELS},
    )
    return {model: ModelTraffic(int(requests), _known(p95)) for model, requests, p95 in rows}


def _known(milliseconds: float | None) -> float | None:
    """Rounds to tenths. None also for NaN, which some servers return for a quantile of no values."""
    return None if milliseconds is None or milliseconds != milliseconds else round(float(milliseconds), 1)
