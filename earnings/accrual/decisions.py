"""A person's verdict: held items released or excluded, many at once, and one excluded item released after all."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from earnings.accrual import itemise, recording
from earnings.accrual.contested import judge_contested
from earnings.accrual.coverage import current_coverage
from earnings.accrual.locking import wait_for_lock
from earnings.models import HeldItem, Item, Verdict, VerdictState
from earnings.rules.verdicts import PayRule
from jatevo.accounts.models import User
from jatevo.audit.record import actor_of, record
from nodes.actions import NotPossible

MOST_AT_ONCE = 100_000

_DECIDE = """
INSERT INTO accrual_judged (receipt_id, day, line_id, node_id, org_id, request_id, ts_end, fee_usd, tokens_input,
    tokens_output, is_new, old_state, old_rule, old_cause, old_confirmed, old_actor, state, rule, cause, confirmed,
    numbers, actor, reason)
SELECT i.receipt_id, i.day, i.line_id, i.node_id, i.org_id, i.request_id, i.ts_end, i.fee_usd, i.tokens_input,
       i.tokens_output, false, v.state, v.rule, v.cause, v.confirmed, v.actor, %(state)s,
       CASE WHEN %(state)s = 'payable' THEN '' ELSE v.rule END, CASE WHEN %(state)s = 'payable' THEN '' ELSE v.cause END,
       v.confirmed, v.numbers, %(actor)s, %(reason)s
FROM earnings_helditem h
JOIN earnings_item i ON i.day = h.day AND i.receipt_id = h.receipt_id
JOIN LATERAL (
    SELECT * FROM earnings_verdict WHERE day = i.day AND receipt_id = i.receipt_id ORDER BY id DESC LIMIT 1
) v ON v.state = 'held'
WHERE h.receipt_id = ANY (%(receipts)s)
"""

_RELEASE_EXCLUDED = """
INSERT INTO accrual_judged (receipt_id, day, line_id, node_id, org_id, request_id, ts_end, fee_usd, tokens_input,
    tokens_output, is_new, old_state, old_rule, old_cause, old_confirmed, old_actor, state, rule, cause, confirmed,
    numbers, actor, reason)
SELECT i.receipt_id, i.day, i.line_id, i.node_id, i.org_id, i.request_id, i.ts_end, i.fee_usd, i.tokens_input,
       i.tokens_output, false, v.state, v.rule, v.cause, v.confirmed, v.actor, 'payable', '', '', v.confirmed,
       v.numbers, %(actor)s, %(reason)s
FROM earnings_item i
JOIN LATERAL (
    SELECT * FROM earnings_verdict WHERE day = i.day AND receipt_id = i.receipt_id ORDER BY id DESC LIMIT 1
) v ON v.state = 'excluded' AND v.rule <> 'fraud'
WHERE i.day = %(day)s AND i.receipt_id = %(receipt)s
"""

# A decision about a request's only receipt is the last word on it, unless a finding of fraud covers the node.
_CONCERN_OTHERS = """
SELECT DISTINCT request_id
FROM unnest(%(requests)s::varchar[], %(nodes)s::varchar[]) AS decided (request_id, node_id)
WHERE node_id = ANY (%(covered)s::varchar[])
   OR EXISTS (SELECT FROM receipts_receiptidentity o
              WHERE o.request_id = decided.request_id AND o.node_id <> decided.node_id)
"""


def decide(held: QuerySet[HeldItem], *, state: VerdictState, by: User, reason: str, at: datetime) -> int:
    """Releases (`payable`) or excludes held items. Returns how many.

    Items of the same requests are judged again, so that in a dispute the others make way. What a finding of fraud
    holds is decided with the finding; what one covers but something else held is released, and then held by the finding
    (`overruled`). Raises NotPossible without a reason, for such items, or for too many at once.
    """
    if state not in (VerdictState.PAYABLE, VerdictState.EXCLUDED):
        raise ValueError(state)
    if not reason.strip():
        raise NotPossible("Enter a reason. It is recorded in the audit log.")
    itemise.make_work_tables()
    with transaction.atomic():
        wait_for_lock()
        chosen = list(
            held.order_by("receipt_id").values_list("receipt_id", "request_id", "node_id", "org_id", "rule")[
                : MOST_AT_ONCE + 1
            ]
        )
        if len(chosen) > MOST_AT_ONCE:
            raise NotPossible(f"Decide about at most {MOST_AT_ONCE:,} receipts at once.")
        if any(row[4] == "fraud" for row in chosen):
            raise NotPossible(
                "A finding of fraud holds some of these receipts. Clear or confirm the finding on the node's page."
            )
        with connection.cursor() as cursor:
            cursor.execute(
                _DECIDE,
                {
                    "receipts": [row[0] for row in chosen],
                    "state": state.value,
                    "actor": actor_of(by).id,
                    "reason": reason.strip(),
                },
            )
        decided = recording.record_verdicts(at=at)
        covered = current_coverage()
        judge_contested(_concern_others(chosen, covered.node_ids), covered=covered, at=at)
        recording.record_verdicts(at=at)
        for node_id, org_id in sorted({(row[2], row[3]) for row in chosen}):
            of_node = [row for row in chosen if row[2] == node_id and row[3] == org_id]
            record(
                "earnings.release" if state is VerdictState.PAYABLE else "earnings.exclude",
                by=actor_of(by),
                subject_kind="node",
                subject_id=node_id,
                org_id=org_id,
                reason=reason.strip(),
                receipts=len(of_node),
                rules=sorted({row[4] for row in of_node}),
                first=of_node[0][1],
            )
    return decided


def release_excluded(item: Item, *, by: User, reason: str, at: datetime) -> None:
    """Pays a receipt that the rules or a person excluded, for example after a quarantine by mistake.

    The others of its request are judged again, and its organisation's make way. Raises NotPossible without a reason, if the
    receipt is not excluded any more, and if a finding of fraud covers it: that is decided with the finding.
    """
    if not reason.strip():
        raise NotPossible("Enter a reason. It is recorded in the audit log.")
    itemise.make_work_tables()
    with transaction.atomic():
        wait_for_lock()
        with connection.cursor() as cursor:
            cursor.execute(
                _RELEASE_EXCLUDED,
                {
                    "day": item.day,
                    "receipt": item.receipt_id,
                    "actor": actor_of(by).id,
                    "reason": reason.strip(),
                },
            )
            if not cursor.rowcount:
                raise NotPossible(
                    "This receipt is not excluded any more, or a finding of fraud excludes it. A finding is cleared "
                    "on the node's page."
                )
        recording.record_verdicts(at=at)
        covered = current_coverage()
        chosen = [(item.receipt_id, item.request_id, item.node_id)]
        judge_contested(_concern_others(chosen, covered.node_ids), covered=covered, at=at)
        recording.record_verdicts(at=at)
        require_payable(day=item.day, receipt_id=item.receipt_id)
        record(
            "earnings.release",
            by=actor_of(by),
            subject_kind="node",
            subject_id=item.node_id,
            org_id=item.org_id,
            reason=reason.strip(),
            receipts=1,
            first=item.request_id,
            was="excluded",
        )


def require_payable(*, day: date, receipt_id: int) -> None:
    """Raises NotPossible if the receipt's newest verdict is not payable, so that nobody is told that it was released."""
    newest = Verdict.objects.filter(day=day, receipt_id=receipt_id).order_by("-id")[0]
    if newest.state == VerdictState.PAYABLE:
        return
    if newest.rule == PayRule.FRAUD:
        raise NotPossible(
            "A finding of fraud covers this receipt. Clear or confirm the finding on the node's page."
        )
    raise NotPossible(f"This receipt is not paid. Rule that decides: {PayRule(newest.rule).label}.")


def overruled(node_id: str, *, at: datetime) -> int:
    """How many receipts of the node were released at that moment, and are held by a finding of fraud all the same."""
    return HeldItem.objects.filter(node_id=node_id, rule=PayRule.FRAUD, since=at).count()


def _concern_others(chosen: Sequence[tuple[Any, ...]], covered: Sequence[str]) -> set[str]:
    """The requests among these that must be judged again. They are few, and thousands may be decided at once."""
    with connection.cursor() as cursor:
        cursor.execute(
            _CONCERN_OTHERS,
            {
                "requests": [row[1] for row in chosen],
                "nodes": [row[2] for row in chosen],
                "covered": list(covered),
            },
        )
        return {request_id for (request_id,) in cursor.fetchall()}
