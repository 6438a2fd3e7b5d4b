"""Receipts of PostgreSQL as rows of the search, with the verdicts that hold for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import connection
from msgspec.structs import replace

from jatevo.metrics.models import ReceiptGap
from jatevo.metrics.search_rows import SearchRow, SignedWith, outcome_of, single
from jatevo.wire.names import normal_model
from receipts.slots import JudgedReceipt, payment_feed

_COLUMNS = """
r.id, r.accepted_at, r.node_id, r.request_id, r.org_id, r.region, r.model_id, r.tokens_input, r.tokens_output, r.p95_ms,
r.hedged, r.cache_hit, r.failed, r.payload @> '{"outcome": "cancelled"}', r.key_since IS NOT NULL, r.key_until IS NULL,
(r.ts_end AT TIME ZONE 'UTC')::date
"""
_OF_GAP = f"""
SELECT {_COLUMNS} FROM receipts_receipt r
WHERE r.accepted_at >= %(first)s AND r.accepted_at <= %(until)s
  AND (r.accepted_at, r.id) < (%(until)s, %(until_id)s)
ORDER BY r.accepted_at DESC, r.id DESC
LIMIT %(limit)s
"""  # noqa: S608 - constants
_OF_RANGE = f"""
SELECT {_COLUMNS} FROM receipts_receipt r
WHERE r.accepted_at >= %(first)s AND r.accepted_at < %(until)s AND (r.accepted_at, r.id) > (%(after)s, %(after_id)s)
ORDER BY r.accepted_at, r.id
LIMIT %(limit)s
"""  # noqa: S608 - constants
# each is looked up by its key, whatever PostgreSQL thinks of how many there are
_OF_JUDGED = f"""
SELECT {_COLUMNS} FROM unnest(%(times)s::timestamptz[], %(ids)s::bigint[]) AS judged (accepted_at, id)
CROSS JOIN LATERAL (
    SELECT * FROM receipts_receipt one WHERE one.accepted_at = judged.accepted_at AND one.id = judged.id OFFSET 0
) r
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Read:
    """A receipt as it was read: its row before any verdict, and where it stands."""

    row: SearchRow
    accepted_at: datetime
    day: date  # the UTC day of its ts_end, by which its verdicts are found


def of_gap(gap: ReceiptGap, *, limit: int) -> list[Read]:
    """The newest receipts of the gap, newest first."""
    return _read(
        _OF_GAP,
        {"first": gap.first_at, "until": gap.until_at, "until_id": gap.until_id, "limit": limit},
    )


def of_range(first: datetime, until: datetime, after: tuple[datetime, int], *, limit: int) -> list[Read]:
    """Receipts accepted from `first` until `until`, oldest first, after a position."""
    asked = {"first": first, "until": until, "after": after[0], "after_id": after[1], "limit": limit}
    return _read(_OF_RANGE, asked)


def of_judged(judged: Sequence[JudgedReceipt]) -> list[SearchRow]:
    """The rows of receipts that were judged. Those that retention has dropped are left out."""
    newest: dict[int, JudgedReceipt] = {}
    for each in judged:
        if each.receipt_id not in newest or newest[each.receipt_id].version < each.version:
            newest[each.receipt_id] = each
    asked = {"times": [each.accepted_at for each in newest.values()], "ids": list(newest)}
    return _with_verdicts(_read(_OF_JUDGED, asked), newest)


def judged_rows(found: Sequence[Read]) -> list[SearchRow]:
    """The rows with the verdicts that hold now."""
    feed = payment_feed()
    if feed is None or not found:
        return [each.row for each in found]
    judged = {each.receipt_id: each for each in feed.of([(each.day, each.row.id) for each in found])}
    return _with_verdicts(found, judged)


def _read(statement: str, asked: Mapping[str, Any]) -> list[Read]:
    with connection.cursor() as cursor:
        cursor.execute(statement, asked)
        return [_of(*record) for record in cursor.fetchall()]


def _of(
    id: int,
    accepted_at: datetime,
    node_id: str,
    request_id: str,
    org_id: object,
    region: str,
    model_id: str,
    tokens_input: int,
    tokens_output: int,
    p95_ms: float,
    hedged: bool,
    cache_hit: bool,
    failed: bool,
    cancelled: bool,
    key_known: bool,
    key_current: bool,
    day: date,
) -> Read:
    if key_known:
        signed_with = SignedWith.CURRENT if key_current else SignedWith.FORMER
    else:
        signed_with = SignedWith.UNKNOWN
    row = SearchRow(
        accepted_at=int(accepted_at.timestamp()),
        id=id,
        micros=accepted_at.microsecond,
        node_id=node_id,
        request_id=request_id,
        org_id="" if org_id is None else str(org_id),
        region=region,
        model=normal_model(model_id),
        tokens_input=tokens_input,
        tokens_output=tokens_output,
        p95_ms=single(p95_ms),
        hedged=int(hedged),
        cache_hit=int(cache_hit),
        outcome=outcome_of(failed=failed, cancelled=cancelled),
        signed_with=signed_with.value,
    )
    return Read(row, accepted_at, day)


def _with_verdicts(found: Sequence[Read], judged: Mapping[int, JudgedReceipt]) -> list[SearchRow]:
    rows = []
    for each in found:
        verdict = judged.get(each.row.id)
        rows.append(
            each.row
            if verdict is None
            else replace(each.row, payment=verdict.state, fee_usd=verdict.fee_usd, version=verdict.version)
        )
    return rows
