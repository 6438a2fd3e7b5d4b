"""Marking nodes payout-ready, a second admin's confirmation, and withdrawing.

Marking moves what the node's final lines have accrued to `ready`, so nothing else can be done with it. Whoever
acts waits for the lock of the accrual and judges again under it: of two admins at once, or of a double click, one
has the effect and the other is told.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from earnings import ledger
from earnings.accrual.locking import wait_for_lock
from earnings.figures.payout import policy_at
from earnings.models import Payout, PayoutState
from earnings.payouts.candidates import waited_since
from earnings.payouts.errors import Conflict, NotEligible, ReasonMissing, SecondPersonNeeded
from earnings.payouts.previews import OPEN, Preview, preview, preview_of, sentence
from jatevo.accounts.models import User
from jatevo.audit.models import AuditEvent
from jatevo.audit.record import Subject, actor_of, record, record_each

MARKED = "payout.mark_ready"


@dataclass(frozen=True)
class Marked:
    """The payouts that were made, and the nodes for which none was, each with the reason."""

    batch: uuid.UUID
    payouts: tuple[Payout, ...]
    refused: tuple[Preview, ...]


def mark_ready(
    *, nodes: Collection[str], by: User, at: datetime, reason: str, override: Collection[str] = ()
) -> Marked:
    """Marks each of these nodes ready, or proposes it to a second admin where the policy asks for one.

    A node that is not eligible is left out and does not stop the others. `override` names failed rules that
    are passed over where that is allowed. Raises ReasonMissing.
    """
    reason = given(reason)
    batch = uuid.uuid4()
    with transaction.atomic():
        wait_for_lock()
        policy = policy_at(at)
        lock_lines(nodes)
        previews = preview(nodes=nodes, at=at, override=override, policy=policy)
        payouts = Payout.objects.bulk_create(
            [
                Payout(
                    node_id=each.candidate.node_id,
                    org_id=each.candidate.org_id,
                    amount_usd=each.amount_usd,
                    unconfirmed_usd=each.unconfirmed_usd,
                    state=PayoutState.PROPOSED if each.second.needed else PayoutState.READY,
                    batch=batch,
                    marked_at=at,
                    marked_by=actor_of(by).id,
                    reason=reason,
                    overridden=list(each.overridden),
                    second_why=list(each.second.why),
                )
                for each in previews
                if each.possible
            ]
        )
        ledger.post_lines(
            ledger.READY,
            _AVAILABLE_SQL,
            {"batch": batch, "waited": waited_since(policy, at)},
            at=at,
            actor=actor_of(by).id,
            reason=reason,
        )
        record_each(
            MARKED,
            (subject(each, amount_usd=str(each.amount_usd), overridden=each.overridden) for each in payouts),
            by=actor_of(by),
            subject_kind="payout",
            reason=reason,
        )
    return Marked(batch, tuple(payouts), tuple(each for each in previews if not each.possible))


def confirm(*, payout: Payout, by: User, at: datetime) -> Payout:
    """A second admin agrees, and the payout is ready.

    Raises Conflict if it no longer waits, SecondPersonNeeded for the admin who marked it, and NotEligible if
    a rule fails by now.
    """
    with transaction.atomic():
        payout = _locked(payout, PayoutState.PROPOSED)
        if marked_by(payout, by):
            raise SecondPersonNeeded("You marked this payout yourself. Another admin must confirm it.")
        take_debts([payout.pk], at=at, actor=actor_of(by).id)
        now = preview_of([payout], at=at)[payout.pk]
        if now.failed:
            raise NotEligible(f"{payout.node_id} is no longer eligible: {sentence(now.failed)}")
        payout.state = PayoutState.READY
        payout.amount_usd, payout.unconfirmed_usd = now.amount_usd, now.unconfirmed_usd
        payout.confirmed_at, payout.confirmed_by = at, actor_of(by).id
        payout.save(update_fields=["state", "amount_usd", "unconfirmed_usd", "confirmed_at", "confirmed_by"])
        _record("payout.confirm", payout, by, amount_usd=str(payout.amount_usd))
    return payout


def withdraw(*, payout: Payout, by: User, at: datetime, reason: str) -> Payout:
    """Takes a payout back before it is exported; its amount is available again. Raises Conflict, ReasonMissing."""
    reason = given(reason)
    with transaction.atomic():
        payout = _locked(payout, *OPEN)
        take_back([payout], why={payout.pk: reason}, at=at, by=actor_of(by).id)
        _record("payout.withdraw", payout, by, reason=reason)
    return payout


def take_debts(payout_ids: Collection[int], *, at: datetime, actor: str) -> None:
    """Sets off what lines of these nodes have come to owe since they were marked against their payouts."""
    ledger.post_lines(ledger.READY, _OWED_SQL, {"payouts": sorted(payout_ids)}, at=at, actor=actor)


def take_back(payouts: Sequence[Payout], *, why: dict[int, str], at: datetime, by: str) -> None:
    """Makes the amounts of these open payouts available again, each with its reason. The caller records it."""
    by_reason: dict[str, list[int]] = {}
    for each in payouts:
        each.state, each.ended_at, each.ended_by = PayoutState.WITHDRAWN, at, by
        each.end_reason = why[each.pk]
        by_reason.setdefault(each.end_reason, []).append(each.pk)
    for reason, ids in by_reason.items():
        ledger.post_lines(ledger.UNREADY, _READY_SQL, {"payouts": ids}, at=at, actor=by, reason=reason)
    Payout.objects.bulk_update(payouts, ["state", "ended_at", "ended_by", "end_reason"])


def lock_lines(node_ids: Collection[str]) -> None:
    """Locks the lines of these nodes that have a balance, in the order of their ids."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_SQL, {"nodes": sorted(node_ids)})


def marked_by(payout: Payout, user: User) -> bool:
    """Whether this person marked the payout. By their id, since they may have changed their address since."""
    return AuditEvent.objects.filter(
        verb=MARKED, subject_kind="payout", subject_id=str(payout.pk), actor_user=user
    ).exists()


def given(reason: str) -> str:
    """The reason without white space around it. Raises ReasonMissing."""
    if not reason.strip():
        raise ReasonMissing("Enter a reason. It is recorded in the audit log.")
    return reason.strip()


def subject(payout: Payout, **details: object) -> Subject:
    """The payout as a subject of the audit log."""
    return Subject(str(payout.pk), payout.org_id, {"node": payout.node_id, "state": payout.state, **details})


_LOCK_SQL = """
SELECT l.id FROM earnings_line l JOIN earnings_linebalance b ON b.line_id = l.id
WHERE l.node_id = ANY(%(nodes)s) AND (b.accrued <> 0 OR b.ready <> 0)
ORDER BY l.id FOR UPDATE
"""
_AVAILABLE_SQL = """
SELECT b.line_id, b.accrued, p.id, NULL::bigint
FROM earnings_payout p
JOIN earnings_line l ON l.node_id = p.node_id AND l.org_id = p.org_id
JOIN earnings_linebalance b ON b.line_id = l.id
WHERE p.batch = %(batch)s AND b.accrued <> 0 AND (b.accrued < 0 OR l.final_at <= %(waited)s)
"""
_OWED_SQL = """
SELECT b.line_id, b.accrued, p.id, NULL::bigint
FROM earnings_payout p
JOIN earnings_line l ON l.node_id = p.node_id AND l.org_id = p.org_id
JOIN earnings_linebalance b ON b.line_id = l.id
WHERE p.id = ANY(%(payouts)s) AND b.accrued < 0
"""
_READY_SQL = """
SELECT b.line_id, b.ready, p.id, NULL::bigint
FROM earnings_payout p
JOIN earnings_line l ON l.node_id = p.node_id AND l.org_id = p.org_id
JOIN earnings_linebalance b ON b.line_id = l.id
WHERE p.id = ANY(%(payouts)s) AND b.ready <> 0
"""


def _locked(payout: Payout, *states: PayoutState) -> Payout:
    """The payout and its lines, locked. Raises Conflict if it is in another state by now."""
    wait_for_lock()
    locked = Payout.objects.select_for_update().get(pk=payout.pk)
    if locked.state not in states:
        raise Conflict(
            f"This payout of {locked.node_id} has been {_DONE[PayoutState(locked.state)]} meanwhile."
        )
    lock_lines([locked.node_id])
    return locked


_DONE = {
    PayoutState.PROPOSED: "proposed",
    PayoutState.READY: "confirmed",
    PayoutState.EXPORTED: "exported",
    PayoutState.RETURNED: "returned",
    PayoutState.WITHDRAWN: "withdrawn",
}


def _record(verb: str, payout: Payout, by: User, *, reason: str = "", **details: object) -> None:
    about = subject(payout, **details)
    record(
        verb,
        by=actor_of(by),
        subject_kind="payout",
        subject_id=about.id,
        org_id=about.org_id,
        reason=reason,
        **about.details,
    )
