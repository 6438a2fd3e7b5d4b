"""Keeping refused receipts as evidence, within bounds that no node can exceed.

Each is kept once for a node and a reason. Of a node at most MOST_A_DAY are kept for each reason on a UTC day, so that
a flood of one kind leaves room for the others. Whatever is refused beyond that is only counted.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import Error, connection, transaction

from receipts.models import RefusalReason
from receipts.models.refusal import MAX_DETAIL_CHARACTERS

MOST_A_DAY: Final = 200
MOST_BYTES: Final = 64 * 1024
# Evidence of fraud is kept as large as the body of a single receipt may be, so that its signature can be checked.
MOST_FORGED_BYTES: Final = 256 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """A posted receipt that was refused.

    `public_key` is the key that signed it, or for a forged one the node's current key.
    """

    reason: RefusalReason
    raw: bytes
    request_id: str
    detail: str
    public_key: bytes | None = None


# One at a time for a node, so that concurrent posts together keep to the bound.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('refused receipts of ' || %s, 0))"

_KEEP = """
WITH input AS MATERIALIZED (
    SELECT * FROM unnest(
        %(reason)s::varchar[], %(request_id)s::varchar[], %(raw)s::bytea[], %(size_bytes)s::integer[],
        %(sha256)s::bytea[], %(public_key)s::bytea[], %(detail)s::varchar[]
    ) WITH ORDINALITY AS t (reason, request_id, raw, size_bytes, sha256, public_key, detail, number)
), fresh AS (
    SELECT i.*, row_number() OVER (PARTITION BY reason ORDER BY number) AS nth FROM input i
    WHERE NOT EXISTS (
        SELECT FROM receipts_refusedreceipt r
        WHERE r.node_id = %(node)s AND r.reason = i.reason AND r.sha256 = i.sha256)
), kept AS (
    SELECT reason, count(*) AS count FROM receipts_refusedreceipt
    WHERE node_id = %(node)s AND received_at >= %(day)s AND received_at < %(next_day)s GROUP BY reason
), placed AS (
    SELECT f.*, f.nth <= %(most)s - COALESCE(kept.count, 0) AS fits FROM fresh f LEFT JOIN kept USING (reason)
), node AS (
    SELECT org_id FROM nodes_node WHERE id = %(node)s
), stored AS (
    INSERT INTO receipts_refusedreceipt (
        id, node_id, org_id, reason, request_id, raw, size_bytes, sha256, public_key, detail, received_at)
    SELECT gen_random_uuid(), %(node)s, node.org_id, reason, request_id, raw, size_bytes, sha256, public_key, detail,
           %(at)s
    FROM placed CROSS JOIN node WHERE fits
)
INSERT INTO receipts_unkeptrefusals (node_id, org_id, day, reason, count)
SELECT %(node)s, node.org_id, (%(day)s AT TIME ZONE 'UTC')::date, reason, count(*)
FROM placed CROSS JOIN node WHERE NOT fits GROUP BY node.org_id, reason
ON CONFLICT (node_id, org_id, day, reason) DO UPDATE SET count = receipts_unkeptrefusals.count + excluded.count
"""


def keep(node_id: str, refusals: Sequence[Refusal], *, at: datetime) -> None:
    """Keeps the refusals in one transaction, which may be part of the caller's."""
    distinct = {(each.reason, hashlib.sha256(each.raw).digest()): each for each in refusals}
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = [(digest, each) for (_, digest), each in distinct.items()]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK, [node_id])
        cursor.execute(
            _KEEP,
            {
                "reason": [each.reason.value for _, each in rows],
                "request_id": [each.request_id[:128] for _, each in rows],
                "raw": [each.raw[: _most_bytes(each.reason)] for _, each in rows],
                "size_bytes": [len(each.raw) for _, each in rows],
                "sha256": [digest for digest, _ in rows],
                "public_key": [each.public_key for _, each in rows],
                "detail": [_shortened(each.detail) for _, each in rows],
                "node": node_id,
                "day": day,
                "next_day": day + timedelta(days=1),
                "most": MOST_A_DAY,
                "at": at,
            },
        )


def try_to_keep(node_id: str, refusals: Sequence[Refusal], *, at: datetime) -> None:
    """Keeps the refusals. If the database fails, the evidence is lost and the failure logged: the node is answered all
    the same.
    """
    try:
        keep(node_id, refusals, at=at)
    except Error:
        log.exception("could not keep %d refused receipts of %s", len(refusals), node_id)


def _most_bytes(reason: RefusalReason) -> int:
    return MOST_FORGED_BYTES if reason is RefusalReason.FORGED else MOST_BYTES


def _shortened(detail: str) -> str:
    return detail if len(detail) <= MAX_DETAIL_CHARACTERS else f"{detail[: MAX_DETAIL_CHARACTERS - 1]}…"
