"""Receipts as facts for the metrics store, read from their rows."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from jatevo.metrics.facts import FactKind, ReceiptFact, SearchFact
from jatevo.metrics.sources import register_source
from jatevo.web.postgresql.statements import fetch

# What `fact_of` reads of a receipt r and its node n. Figures count it for the region that its node is in, and the search
# finds it by the one that it names. Neither changes.
FACT_COLUMNS: Final = """
r.id, r.node_id, r.request_id, n.region, r.region, r.org_id, r.model_id,
extract(epoch FROM r.ts_start)::bigint, extract(epoch FROM r.ts_end)::bigint,
extract(epoch FROM date_trunc('second', r.accepted_at))::bigint,
mod(extract(microseconds FROM r.accepted_at)::integer, 1000000),
r.tokens_input, r.tokens_output, r.p95_ms, r.hedged, r.cache_hit, r.failed,
r.payload @> '{"outcome": "cancelled"}', r.key_until IS NOT NULL
"""
# Each is looked up by its key, whatever PostgreSQL thinks of how many there are.
_OF_BATCH: Final = f"""
SELECT o.id, {FACT_COLUMNS}
FROM metrics_outbox o
CROSS JOIN LATERAL (
    SELECT * FROM receipts_receipt one WHERE one.accepted_at = o.source_at AND one.id = o.source_id OFFSET 0
) r
JOIN nodes_node n ON n.id = r.node_id
WHERE o.batch = %(batch)s AND o.kind = 'receipt' AND o.poisoned IS NULL
"""  # noqa: S608 - constants


def register() -> None:
    register_source(FactKind.RECEIPT, facts_of_batch)


def facts_of_batch(batch: UUID) -> Mapping[int, ReceiptFact]:
    """The facts of a batch's receipts, by outbox id."""
    return {outbox_id: fact_of(*row) for outbox_id, *row in fetch(_OF_BATCH, {"batch": batch})}


def fact_of(
    id: int,
    node_id: str,
    request_id: str,
    node_region: str,
    region: str,
    org_id: UUID | None,
    model_id: str,
    ts_start: int,
    ts_end: int,
    accepted_at: int,
    micros: int,
    tokens_input: int,
    tokens_output: int,
    p95_ms: float,
    hedged: bool,
    cache_hit: bool,
    failed: bool,
    cancelled: bool,
    former_key: bool,
) -> ReceiptFact:
    """The fact of a row of FACT_COLUMNS."""
    return ReceiptFact(
        node_id=node_id,
        request_id=request_id,
        region=node_region,
        model_id=model_id,
        ts_start=ts_start,
        ts_end=ts_end,
        accepted_at=accepted_at,
        tokens_input=tokens_input,
        tokens_output=tokens_output,
        p95_ms=p95_ms,
        hedged=hedged,
        cache_hit=cache_hit,
        failed=failed,
        search=SearchFact(
            id=id,
            micros=micros,
            org_id=None if org_id is None else str(org_id),
            region=region,
            cancelled=cancelled and not failed,
            former_key=former_key,
        ),
    )
