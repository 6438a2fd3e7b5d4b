"""The verdict on everything that is not plain, by the pure rules: request by request, with all that is known of it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg import sql
from psycopg.types.json import Jsonb

from earnings.accrual.coverage import Covered
from earnings.accrual.months import items_of_months
from earnings.rules.facts import Decision, Dispatch, ItemFacts, Winner
from earnings.rules.payability import Judged, judge_request
from earnings.rules.verdicts import VerdictState

REQUESTS_AT_ONCE = 2_000

# The days in which receipts of the requests can lie, so that few partitions are read.
_DAYS = """
SELECT (min(accepted_at) AT TIME ZONE 'UTC')::date - 8, (max(accepted_at) AT TIME ZONE 'UTC')::date + 1
FROM receipts_receiptidentity WHERE request_id = ANY (%(requests)s)
"""
_FACTS = (
    "receipt_id", "node_id", "org_id", "request_id", "accepted_at", "model", "ts_start", "ts_end", "tokens_input",
    "tokens_output", "node_since", "key_since", "key_until", "in_service", "silent_only", "outage_seconds", "offered",
    "concurrent", "second_tokens", "concurrency", "limit_output_per_second", "limit_context", "require_dispatch",
    "failed", "hedged",
)  # fmt: skip
_ITEMS = f"""
SELECT {", ".join(f"i.{name}" for name in _FACTS)},
       final.final_at, i.day, i.line_id, i.fee_usd, v.state, v.rule, v.cause, v.confirmed, v.actor,
       p.state, p.rule, p.cause, p.actor, p.reason
FROM {{items}} i
LEFT JOIN earnings_finalday final ON final.day = i.day
LEFT JOIN LATERAL (
    SELECT state, rule, cause, confirmed, actor FROM earnings_verdict
    WHERE day = i.day AND receipt_id = i.receipt_id ORDER BY id DESC LIMIT 1
) v ON true
LEFT JOIN LATERAL (
    SELECT state, rule, cause, actor, reason FROM earnings_verdict
    WHERE day = i.day AND receipt_id = i.receipt_id AND actor <> '' ORDER BY id DESC LIMIT 1
) p ON true
WHERE i.request_id = ANY (%(requests)s)
ORDER BY i.receipt_id
"""  # noqa: S608 - constants
_DISPATCHES = """
SELECT request_id, node_id, model, ts, received_at, hedged, tokens_input, max_tokens
FROM receipts_dispatch WHERE request_id = ANY (%(requests)s) ORDER BY id
"""
_WINNERS = "SELECT request_id, node_id, received_at FROM receipts_dispatchwinner WHERE request_id = ANY (%(requests)s)"

_WRITE = """
COPY accrual_judged (receipt_id, day, line_id, node_id, org_id, request_id, ts_end, fee_usd, tokens_input, tokens_output,
    is_new, old_state, old_rule, old_cause, old_confirmed, old_actor, state, rule, cause, confirmed, numbers, actor,
    reason)
FROM STDIN
"""


@dataclass(frozen=True)
class KnownItem:
    """An item with its facts, and its newest verdict so far. `old_state` is None before the first."""

    facts: ItemFacts
    day: date
    line_id: int
    org_id: UUID
    fee_usd: Decimal
    old_state: str | None
    old_rule: str | None
    old_cause: str | None
    old_confirmed: bool | None
    old_actor: str | None


@dataclass(frozen=True)
class KnownRequest:
    """All that is known of one request."""

    items: Sequence[KnownItem]
    dispatches: Sequence[Dispatch] = ()
    winner: Winner | None = None

    def judged(self, covered: Covered, *, at: datetime) -> dict[int, Judged]:
        """The verdicts by receipt id, by the pure rules."""
        facts = [item.facts for item in self.items]
        return judge_request(facts, self.dispatches, self.winner, covered.by_node, at=at)


def judge_contested(requests: Iterable[str], *, covered: Covered, at: datetime) -> None:
    """Judges all items of those requests, into accrual_judged. None of them may be there already."""
    wanted = sorted(requests)
    for first in range(0, len(wanted), REQUESTS_AT_ONCE):
        known = load_requests(wanted[first : first + REQUESTS_AT_ONCE])
        rows = [
            _row(item, verdicts[item.facts.receipt_id])
            for request in known.values()
            for verdicts in [request.judged(covered, at=at)]
            for item in request.items
        ]
        with connection.cursor() as cursor, cursor.copy(_WRITE) as copy:
            for row in rows:
                copy.write_row(row)


def load_requests(requests: Sequence[str]) -> dict[str, KnownRequest]:
    """What is known of the requests, by request id. Requests without an item are left out."""
    asked: dict[str, Any] = {"requests": list(requests)}
    items: dict[str, list[KnownItem]] = defaultdict(list)
    dispatches: dict[str, list[Dispatch]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_DAYS, asked)
        ((first, last),) = cursor.fetchall()
        if first is None:
            return {}
        cursor.execute(sql.SQL(_ITEMS).format(items=items_of_months(cursor, first, last)), asked)
        for row in cursor.fetchall():
            item = _known(row)
            items[item.facts.request_id].append(item)
        cursor.execute(_DISPATCHES, asked)
        for request_id, *said in cursor.fetchall():
            dispatches[request_id].append(Dispatch(*said))
        cursor.execute(_WINNERS, asked)
        winners = {request_id: Winner(*said) for request_id, *said in cursor.fetchall()}
    return {
        request_id: KnownRequest(found, dispatches.get(request_id, ()), winners.get(request_id))
        for request_id, found in items.items()
    }


def _known(row: Sequence[Any]) -> KnownItem:
    facts = dict(zip(_FACTS, row, strict=False))
    (
        final_at,
        day,
        line_id,
        fee,
        state,
        rule,
        cause,
        confirmed,
        actor,
        by_person,
        person_rule,
        person_cause,
        person,
        reason,
    ) = row[len(_FACTS) :]
    decision = (
        Decision(VerdictState(by_person), person, reason, person_rule, person_cause) if by_person else None
    )
    return KnownItem(
        ItemFacts(**facts, final_at=final_at, decision=decision),
        day, line_id, facts["org_id"], fee, state, rule, cause, confirmed, actor,
    )  # fmt: skip


def _row(item: KnownItem, verdict: Judged) -> tuple[Any, ...]:
    facts = item.facts
    return (
        facts.receipt_id, item.day, item.line_id, facts.node_id, item.org_id, facts.request_id, facts.ts_end,
        item.fee_usd, facts.tokens_input, facts.tokens_output, item.old_state is None, item.old_state, item.old_rule,
        item.old_cause, item.old_confirmed, item.old_actor, str(verdict.state), str(verdict.rule), str(verdict.cause),
        verdict.confirmed, Jsonb(dict(verdict.numbers)) if verdict.numbers else None, verdict.actor, verdict.reason,
    )  # fmt: skip
