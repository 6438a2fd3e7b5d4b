"""A payment that came back: its amount is available again."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from earnings import ledger
from earnings.accrual.locking import wait_for_lock
from earnings.models import Payment, PayoutState
from earnings.payouts.errors import Conflict
from earnings.payouts.marking import given
from jatevo.accounts.models import User
from jatevo.audit.record import actor_of, record

# What the payment took from each line, less the part of a cent that it left to be carried (`kept`). The part
# stays where it is, because the wallet's next payment may have taken it up by now. It is kept from the last
# lines, which have what is exported of it for good.
_PAID_SQL = """
WITH taken AS (
    SELECT line_id, payout_id,
           sum(CASE WHEN from_account = 'ready' THEN amount_usd ELSE -amount_usd END) AS amount_usd
    FROM earnings_movement
    WHERE payment_id = %(payment)s AND kind = 'export'
    GROUP BY line_id, payout_id
), kept AS (
    SELECT *, sum(GREATEST(amount_usd, 0)) OVER (ORDER BY line_id DESC, payout_id DESC)
                  - GREATEST(amount_usd, 0) AS before
    FROM taken
)
SELECT line_id,
       amount_usd - LEAST(GREATEST(amount_usd, 0), GREATEST(%(kept)s::numeric - before, 0)),
       payout_id, %(payment)s::bigint
FROM kept
"""


def return_payment(*, payment: Payment, by: User, at: datetime, reason: str) -> Payment:
    """Books back a payment that did not arrive. Raises Conflict if it was already, and ReasonMissing."""
    reason, actor = given(reason), actor_of(by).id
    with transaction.atomic():
        wait_for_lock()
        payment = Payment.objects.select_for_update().get(pk=payment.pk)
        if payment.returned_at is not None:
            raise Conflict(f"This payment was already returned, by {payment.returned_by}.")
        carried = payment.carried_out_usd - payment.carried_in_usd
        ledger.post_lines(
            ledger.RETURN,
            _PAID_SQL,
            {"payment": payment.pk, "kept": max(carried, Decimal(0))},
            at=at,
            actor=actor,
            reason=reason,
        )
        if carried < 0:  # the payment took up more than it left
            ledger.post_carried(ledger.CARRY_OUT, {payment.pk: -carried}, at=at, actor=actor)
        payment.payouts.update(state=PayoutState.RETURNED, ended_at=at, ended_by=actor, end_reason=reason)
        payment.returned_at, payment.returned_by, payment.return_reason = at, actor, reason
        payment.save(update_fields=["returned_at", "returned_by", "return_reason"])
        record(
            "payout.return",
            by=actor_of(by),
            subject_kind="payment",
            subject_id=str(payment.pk),
            org_id=payment.org_id,
            reason=reason,
            export=payment.export_id,
            paid_usd=str(payment.paid_usd),
        )
    return payment
