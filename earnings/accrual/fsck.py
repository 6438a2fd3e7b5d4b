"""Checks that the books of earnings agree with themselves: items, lines, ledger, payments, files.

Everything is read in one snapshot, so the accrual may go on meanwhile. Memory stays the same at any size:
PostgreSQL compares, and only contradictions and samples come here.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal, Inexact
from itertools import islice
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone

from earnings.accrual.contested import REQUESTS_AT_ONCE, load_requests
from earnings.accrual.coverage import Covered
from earnings.accrual.fsck_checks import SqlCheck
from earnings.accrual.fsck_items import ITEM_CHECKS
from earnings.accrual.fsck_ledger import LEDGER_CHECKS
from earnings.rules.facts import DISPATCH_COUNTS, Coverage

MOST_SHOWN: Final = 20  # findings of one check; the others are counted
SAMPLE: Final = 10_000  # items whose fees are computed again, unless all are
_AT_ONCE: Final = 5_000
_EXACT: Final = Context(prec=100, traps=[Inexact])
_MILLION: Final = Decimal(1_000_000)


@dataclass(frozen=True)
class Contradiction:
    """Rows that contradict each other: which, and how."""

    subject: str
    detail: str


@dataclass(frozen=True)
class Examined:
    """The result of one check. `findings` are the first of `count`."""

    key: str
    promise: str
    findings: tuple[Contradiction, ...]
    count: int
    seconds: float

    @property
    def ok(self) -> bool:
        return self.count == 0


def examine(*, since: date | None = None, full: bool = False) -> Iterator[Examined]:
    """Runs every check, one after the other. `since` leaves out items and lines of earlier days.

    The ledger is always checked as a whole. `full` computes all fees again, instead of a sample.
    """
    with _snapshot():
        months = list(_months(since))
        for check in ITEM_CHECKS:
            yield _run(check, months)
        for check in LEDGER_CHECKS:
            yield _run(check, [{"first": since or date.min}])
        yield _fees(since or date.min, full)
        yield _rejudged(since or date.min, full)


def _run(check: SqlCheck, spans: Sequence[dict[str, date]]) -> Examined:
    started = time.monotonic()
    findings: list[Contradiction] = []
    count = 0
    for span in spans:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT *, count(*) OVER () FROM ({check.sql}) AS found LIMIT {MOST_SHOWN}",  # noqa: S608 - constants
                span,
            )
            rows = cursor.fetchall()
        count += rows[0][2] if rows else 0
        findings += [Contradiction(subject, detail) for subject, detail, _ in rows]
    return Examined(check.key, check.promise, tuple(findings[:MOST_SHOWN]), count, time.monotonic() - started)


_FEE_ROWS: Final = """
SELECT i.node_id, i.request_id, i.tokens_input, i.tokens_output, i.cache_hit, i.fee_usd,
       r.input_usd, r.output_usd, r.cache_hit_discount
FROM earnings_item i JOIN earnings_rate r ON r.id = i.rate_id
WHERE i.day >= %(first)s AND ({chosen})
"""


def _fees(first: date, full: bool) -> Examined:
    """Fees computed again in Python, apart from the SQL that computed them first."""
    started = time.monotonic()
    findings: list[Contradiction] = []
    count = 0
    for node_id, request_id, *numbers, fee_usd, input_usd, output_usd, discount in _sampled(
        _FEE_ROWS, first, full
    ):
        tokens_input, tokens_output, cache_hit = numbers
        price = input_usd
        if cache_hit:
            price = _EXACT.multiply(price, _EXACT.subtract(Decimal(1), discount))
        cost = _EXACT.add(_EXACT.multiply(tokens_input, price), _EXACT.multiply(tokens_output, output_usd))
        expected = _EXACT.divide(cost, _MILLION)
        if expected != fee_usd:
            count += 1
            if len(findings) < MOST_SHOWN:
                findings.append(
                    Contradiction(f"{node_id}/{request_id}", f"costs {fee_usd} and not {expected}")
                )
    which = "all items" if full else f"up to {SAMPLE:,} items, taken at random,"
    promise = f"the fees of {which} are their tokens at their rates"
    return Examined("fees", promise, tuple(findings), count, time.monotonic() - started)


def _sampled(sql: str, first: date, full: bool, more: Mapping[str, Any] | None = None) -> Iterator[Any]:
    """The rows of the query, a part at a time: of all items, or of SAMPLE at random."""
    chosen = "true"
    if not full:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM earnings_item WHERE day >= %s", [first])
            ((items,),) = cursor.fetchall()
            chosen = f"random() < {SAMPLE / items if items > SAMPLE else 2}"
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql.format(chosen=chosen), {"first": first, **(more or {})})
        while rows := cursor.fetchmany(_AT_ONCE):
            yield from rows


# Requests about which something waits for the accrual, which will judge them again, are left out.
_REQUEST_ROWS: Final = """
SELECT DISTINCT i.request_id FROM earnings_item i
WHERE i.day >= %(first)s AND ({chosen})
  AND NOT EXISTS (SELECT FROM receipts_unjudged q WHERE q.request_id = i.request_id)
  AND NOT EXISTS (SELECT FROM receipts_unjudgedrequest t WHERE t.request_id = i.request_id)
  AND NOT EXISTS (SELECT FROM earnings_helditem h WHERE h.request_id = i.request_id AND h.rule = 'dispatch'
                  AND h.ts_end < %(expired)s)
  AND NOT EXISTS (SELECT FROM earnings_item o JOIN earnings_recheckday r ON r.node_id = o.node_id AND r.day = o.day
                  WHERE o.request_id = i.request_id)
"""


def _rejudged(first: date, full: bool) -> Examined:
    """Verdicts judged again by the pure rules, from the facts on the items and the findings last taken into account."""
    started, at = time.monotonic(), timezone.now()
    covered = _covered_when_judged()
    findings: list[Contradiction] = []
    count = 0
    rows = _sampled(_REQUEST_ROWS, first, full, {"expired": at - DISPATCH_COUNTS})
    while some := [request_id for (request_id,) in islice(rows, REQUESTS_AT_ONCE)]:
        for request in load_requests(some).values():
            verdicts = request.judged(covered, at=at)
            for item in request.items:
                verdict = verdicts[item.facts.receipt_id]
                stored = item.old_state, item.old_rule, item.old_cause, item.old_confirmed, item.old_actor
                now = verdict.state, verdict.rule, verdict.cause, verdict.confirmed, verdict.actor
                if stored != now and stored[0] is not None:  # without any verdict: see `verdicts`
                    count += 1
                    if len(findings) < MOST_SHOWN:
                        subject = f"{item.facts.node_id}/{item.facts.request_id}"
                        detail = f"was judged {_told(stored)}, by the rules it is {_told(now)}"
                        findings.append(Contradiction(subject, detail))
    which = "all requests" if full else f"requests of up to {SAMPLE:,} items, taken at random,"
    promise = f"the verdicts on {which} are those of the rules"
    return Examined("rules", promise, tuple(findings), count, time.monotonic() - started)


def _told(verdict: tuple[object, ...]) -> str:
    """The state, the rule and the cause, whether a gateway confirms it, and who decided."""
    state, rule, cause, confirmed, actor = verdict
    words = [state, rule, cause, "confirmed" if confirmed else "unconfirmed", f"by {actor or 'the rules'}"]
    return " ".join(str(word) for word in words if word)


def _covered_when_judged() -> Covered:
    by_node: dict[str, list[Coverage]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT node_id, finding_id, state, CASE WHEN isfinite(since) THEN since END"
            " FROM earnings_judgedcoverage ORDER BY finding_id, node_id"
        )
        for node_id, finding, state, since in cursor.fetchall():
            by_node.setdefault(node_id, []).append(Coverage(finding, state == "confirmed", since))
    return Covered({node_id: tuple(found) for node_id, found in by_node.items()})


def _months(since: date | None) -> Iterator[dict[str, date]]:
    """The spans of the monthly checks: from `since`, or the first row, to the last row."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT LEAST((SELECT min(day) FROM earnings_item), (SELECT min(day) FROM earnings_line),"
            " (SELECT min(day) FROM earnings_verdict), (SELECT min(day) FROM earnings_helditem),"
            " (SELECT (min(accepted_at) AT TIME ZONE 'UTC')::date FROM receipts_receipt)),"
            " GREATEST((SELECT max(day) FROM earnings_item), (SELECT max(day) FROM earnings_line),"
            " (SELECT max(day) FROM earnings_verdict), (SELECT max(day) FROM earnings_helditem),"
            " (SELECT (max(accepted_at) AT TIME ZONE 'UTC')::date FROM receipts_receipt))"
        )
        ((first, last),) = cursor.fetchall()
    if first is None:
        return
    first = max(first, since or first)
    while first <= last:
        after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        yield {"first": first, "next": after}
        first = after


@contextmanager
def _snapshot() -> Iterator[None]:
    """All checks see the same state. Within a transaction of the caller, they see what it sees."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
