"""Totals of the receipts in ClickHouse, for display only. Billing reads PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jatevo.metrics.queries.sql_text import NORMAL_MODEL, joined
from jatevo.metrics.transport import Param, Transport
from jatevo.wire.names import normal_model


@dataclass(frozen=True)
class ReceiptTotals:
    """Sums over receipts. `p95_ms` is the 95th percentile of their own `p95_ms`. None if none states one."""

    count: int
    tokens_input: int
    tokens_output: int
    cache_hits: int
    failures: int
    p95_ms: float | None

    @property
    def cache_hit_rate(self) -> float | None:
        """From 0 to 1; None without receipts."""
        return self.cache_hits / self.count if self.count else None


def receipt_presence(store: Transport, node_id: str, request_id: str) -> bool:
    """Whether this receipt has arrived in ClickHouse."""
    ((count,),) = store.execute(
        "SELECT count() FROM receipt_facts WHERE node_id = {node_id} AND request_id = {request_id}",
        {"node_id": node_id, "request_id": request_id},
    )
    return bool(count)


def receipt_totals(
    store: Transport,
    since: datetime,
    until: datetime,
    *,
    node_ids: Sequence[str] | None = None,
    region: str | None = None,
    model_id: str | None = None,
    hedged: bool | None = None,
) -> ReceiptTotals:
    """Totals of the receipts that ended in the window and match the filters. `node_ids=[]` matches none."""
    if node_ids is not None and not node_ids:
        return ReceiptTotals(0, 0, 0, 0, 0, None)
    where = ["ts_end >= {since}", "ts_end < {until}"]
    params: dict[str, Param] = {"since": since, "until": until}
    if node_ids is not None:
        where.append("node_id IN {node_ids}")
        params["node_ids"] = list(node_ids)
    if region is not None:
        where.append("region = {region}")
        params["region"] = region
    if model_id is not None:
        where.append(joined(NORMAL_MODEL, "= {model_id}"))
        params["model_id"] = normal_model(model_id)
    if hedged is not None:
        where.append("hedged = {hedged}")
        params["hedged"] = hedged
    sums = "count(), sum(tokens_input), sum(tokens_output), sum(cache_hit), sum(failed)"
    sql = " ".join(
        ["SELECT", sums, ", quantileExact(0.95)(p95_ms) FROM receipt_facts FINAL WHERE", " AND ".join(where)]
    )
    ((count, tokens_input, tokens_output, cache_hits, failures, p95_ms),) = store.execute(sql, params)
    return ReceiptTotals(
        count, tokens_input, tokens_output, cache_hits, failures, None if p95_ms is None else float(p95_ms)
    )
