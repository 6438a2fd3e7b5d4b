"""What earnings register into the apps below: the payment state of receipts, and the earnings of nodes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.urls import reverse

from earnings.figures.as_of import NO_RATE
from earnings.figures.nodes import earnings_to_date
from earnings.figures.verdicts import newest_verdicts, sentence_of
from earnings.page.node_tab import TEMPLATE, tab_of
from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, allowed
from jatevo.web.templatetags.tones import CHIPS
from nodes.models import Node
from nodes.slots import (
    EarningsSource,
    NodeAction,
    TabContent,
    register_action,
    register_earnings,
)
from receipts.models import Receipt
from receipts.slots import PaymentState, register_payment


def payment_states(receipts: Sequence[Receipt]) -> dict[int, PaymentState]:
    """Whether each receipt is paid, and why. Receipts that are not judged yet are left out. One query."""
    verdicts = newest_verdicts((each.ts_end.astimezone(UTC).date(), each.id) for each in receipts)
    found = {}
    for receipt in receipts:
        verdict = verdicts.get(receipt.id)
        if verdict is None:
            continue
        chip = CHIPS[verdict.state]
        found[receipt.id] = PaymentState(
            verdict.state,  # type: ignore[arg-type]  # the database holds these three
            chip.label,
            chip.tone,
            sentence_of(verdict),
            reverse("earnings:item", args=[receipt.node_id, receipt.request_id]),
            verdict.rule,
        )
    return found


def node_tab(node: Node, reader: User, at: datetime) -> TabContent:
    return TabContent(TEMPLATE, tab_of(node, reader, at))


MARK_READY = NodeAction(
    label="Mark payout-ready",
    icon="receipts",
    open_to=lambda user: allowed(user, Permission.PAY_OUT),
    page=lambda node_id: f"{reverse('earnings_run:ask')}?{urlencode({'node': node_id})}",
    many=lambda: reverse("earnings_run:ask"),
)


def register() -> None:
    register_action(MARK_READY)
    register_payment(payment_states)
    register_earnings(EarningsSource(earnings_to_date, NO_RATE, node_tab))
