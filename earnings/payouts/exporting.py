"""Exporting ready payouts: judged once more, summed by wallet, and written to a numbered file.

An export is one transaction. A payout that is no longer eligible is taken back with its reason, and the rest
goes on. A wallet gets whole cents, and what is left over is carried to its next payment. The address is kept
as it was in the export, whatever becomes of the wallet.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Max, Q

from earnings import ledger
from earnings.accrual.locking import wait_for_lock
from earnings.models import ExportFile, NodeBalance, Payment, Payout, PayoutState
from earnings.payouts.errors import Conflict
from earnings.payouts.export_file import PaymentLine, file_body
from earnings.payouts.marking import given, lock_lines, subject, take_back, take_debts
from earnings.payouts.previews import Preview, preview_of, sentence
from earnings.rules.rounding import PayoutSplit, split_payout
from jatevo.accounts.models import Org, User
from jatevo.audit.record import actor_of, record, record_each

# In one file, which is made within the time of a page; the others are left for the next one.
MOST_PAYOUTS = 500


@dataclass(frozen=True)
class TakenBack:
    """A payout that was not exported, and why."""

    payout: Payout
    why: str


@dataclass(frozen=True)
class Exported:
    """What an export did. `file` is None if no payout was left; `waiting` counts those left for the next file."""

    file: ExportFile | None
    taken_back: tuple[TakenBack, ...]
    waiting: int = 0


@dataclass
class _ToWallet:
    """The payouts that one wallet gets, with the amount of each."""

    wallet_id: int
    org_id: UUID
    node_id: str | None
    chain: str
    address: str
    payouts: list[Payout] = field(default_factory=list)
    split: PayoutSplit | None = None


def export(*, by: User, at: datetime, reason: str) -> Exported:
    """Exports what is ready. Raises Conflict if nothing is, and ReasonMissing."""
    reason, actor = given(reason), actor_of(by).id
    with transaction.atomic():
        wait_for_lock()
        ready = Payout.objects.filter(state=PayoutState.READY)
        count = ready.count()
        payouts = list(ready.order_by("org", "id")[:MOST_PAYOUTS])
        if not payouts:
            raise Conflict("No payout is ready. Somebody may have exported them a moment ago.")
        payouts = list(
            Payout.objects.filter(pk__in=[p.pk for p in payouts]).order_by("pk").select_for_update()
        )
        lock_lines({each.node_id for each in payouts})
        take_debts([each.pk for each in payouts], at=at, actor=actor)
        judged = preview_of(payouts, at=at)
        going, why = _split_by_wallet(payouts, judged)
        back = [each for each in payouts if each.pk in why]
        take_back(back, why=why, at=at, by=actor)
        record_each(
            "payout.take_back",
            (subject(each, why=why[each.pk]) for each in back),
            by=actor_of(by),
            subject_kind="payout",
            reason=reason,
        )
        file = _write(going, judged, by=by, at=at, reason=reason) if going else None
    taken_back = tuple(TakenBack(each, why[each.pk]) for each in back)
    return Exported(file, taken_back, waiting=count - len(payouts))


def _split_by_wallet(
    payouts: Sequence[Payout], judged: dict[int, Preview]
) -> tuple[list[_ToWallet], dict[int, str]]:
    """The wallets that are paid, and why the other payouts are not."""
    wallets: dict[int, _ToWallet] = {}
    why: dict[int, str] = {}
    for payout in payouts:
        now = judged[payout.pk]
        candidate = now.candidate
        if now.failed or candidate.wallet_id is None:
            why[payout.pk] = sentence(now.failed)
            continue
        payout.amount_usd, payout.unconfirmed_usd = now.amount_usd, now.unconfirmed_usd
        to = wallets.setdefault(
            candidate.wallet_id,
            _ToWallet(
                candidate.wallet_id,
                payout.org_id,
                payout.node_id if candidate.wallet_of_node else None,
                candidate.chain,
                candidate.address,
            ),
        )
        to.payouts.append(payout)
    carried = _carried(wallets.values())
    going = []
    for to in sorted(wallets.values(), key=lambda each: each.wallet_id):
        to.split = split_payout(
            (each.amount_usd for each in to.payouts), carried.get((to.org_id, to.node_id), Decimal(0))
        )
        if to.split.paid_usd > 0:
            going.append(to)
        else:
            why |= {each.pk: "The wallet would get less than one cent." for each in to.payouts}
    return going, why


def _carried(wallets: Iterable[_ToWallet]) -> dict[tuple[UUID, str | None], Decimal]:
    """What each wallet's owner has carried from its last payment, locked."""
    owners = list(wallets)
    own = Q(node__isnull=True) | Q(node_id__in=[each.node_id for each in owners if each.node_id])
    rows = NodeBalance.objects.filter(own, org_id__in={each.org_id for each in owners})
    rows = rows.order_by("pk").select_for_update(of=("self",))
    return {(row.org_id, row.node_id): row.carried for row in rows}


def _write(
    wallets: Sequence[_ToWallet], judged: dict[int, Preview], *, by: User, at: datetime, reason: str
) -> ExportFile:
    number = (ExportFile.objects.aggregate(last=Max("number"))["last"] or 0) + 1  # nobody else exports now
    names = dict(Org.objects.filter(pk__in={each.org_id for each in wallets}).values_list("pk", "name"))
    payments = [_payment(each, number) for each in wallets]
    body = file_body(number, at, [PaymentLine.of(each, names[each.org_id]) for each in payments])
    file = ExportFile.objects.create(
        number=number,
        created_at=at,
        created_by=actor_of(by).id,
        body=body,
        sha256=hashlib.sha256(body).digest(),
        payments_count=len(payments),
        total_usd=sum((each.paid_usd for each in payments), Decimal(0)),
    )
    Payment.objects.bulk_create(payments)
    _post(wallets, payments, at=at, actor=actor_of(by).id)
    paid = [
        (payout, payment) for each, payment in zip(wallets, payments, strict=True) for payout in each.payouts
    ]
    exported = [payout for payout, _ in paid]
    with connection.cursor() as cursor:
        cursor.execute(
            _EXPORTED_SQL,
            {
                "payouts": [each.pk for each in exported],
                "payments": [payment.pk for _, payment in paid],
                "amounts": [each.amount_usd for each in exported],
                "unconfirmed": [each.unconfirmed_usd for each in exported],
            },
        )
    record(
        "payout.export",
        by=actor_of(by),
        subject_kind="export",
        subject_id=str(number),
        reason=reason,
        sha256=file.sha256.hex(),
        payments=len(payments),
        payouts=len(exported),
        total_usd=str(file.total_usd),
    )
    return file


def _payment(to: _ToWallet, number: int) -> Payment:
    assert to.split is not None  # noqa: S101 - only wallets that were split get here
    return Payment(
        export_id=number,
        org_id=to.org_id,
        node_id=to.node_id,
        chain=to.chain,
        address=to.address,
        sum_usd=to.split.sum_usd,
        carried_in_usd=to.split.carried_in_usd,
        paid_usd=to.split.paid_usd,
        carried_out_usd=to.split.carried_out_usd,
    )


# bulk_update would build an expression for each row
_EXPORTED_SQL = """
UPDATE earnings_payout p SET state = 'exported', payment_id = paid.payment_id, amount_usd = paid.amount_usd,
       unconfirmed_usd = paid.unconfirmed_usd
FROM unnest(%(payouts)s::bigint[], %(payments)s::bigint[], %(amounts)s::numeric[], %(unconfirmed)s::numeric[])
     AS paid (id, payment_id, amount_usd, unconfirmed_usd)
WHERE p.id = paid.id
"""
_READY_TO_PAYMENTS_SQL = """
WITH paid AS MATERIALIZED (  -- first the payouts, then the lines of each: new payouts have no statistics yet
    SELECT p.id, p.node_id, p.org_id, going.payment_id
    FROM unnest(%(payouts)s::bigint[], %(payments)s::bigint[]) AS going (payout_id, payment_id)
    JOIN earnings_payout p ON p.id = going.payout_id
)
SELECT b.line_id, b.ready, paid.id, paid.payment_id
FROM paid
JOIN earnings_line l ON l.node_id = paid.node_id AND l.org_id = paid.org_id
JOIN earnings_linebalance b ON b.line_id = l.id
WHERE b.ready <> 0
"""


def _post(wallets: Sequence[_ToWallet], payments: Sequence[Payment], *, at: datetime, actor: str) -> None:
    pairs = [
        (payout.pk, payment.pk)
        for to, payment in zip(wallets, payments, strict=True)
        for payout in to.payouts
    ]
    ledger.post_lines(
        ledger.EXPORT,
        _READY_TO_PAYMENTS_SQL,
        {"payouts": [payout for payout, _ in pairs], "payments": [payment for _, payment in pairs]},
        at=at,
        actor=actor,
    )
    carried_in = {each.pk: each.carried_in_usd for each in payments}
    carried_out = {each.pk: each.carried_out_usd for each in payments}
    ledger.post_carried(ledger.CARRY_IN, carried_in, at=at, actor=actor)
    ledger.post_carried(ledger.CARRY_OUT, carried_out, at=at, actor=actor)
