"""What earnings register into the apps below: the payment state of receipts and which months of them they still need,
the earnings of nodes, and flags on both.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from earnings.accrual.delivering import Verdicts
from earnings.accrual.needed import why_needed
from earnings.figures.as_of import NO_RATE
from earnings.figures.flags import FLAG_RULES, plausibility_of
from earnings.figures.nodes import earnings_to_date
from earnings.figures.receipts_in_state import receipts_in_state
from earnings.figures.scope import NotYours, scope_for
from earnings.figures.verdicts import newest_verdicts, sentence_of
from earnings.page.node_tab import TEMPLATE, tab_of
from earnings.review.queue import group_rows, held_rows, with_examples
from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, allowed
from jatevo.web.templatetags.tones import CHIPS
from nodes.models import Node
from nodes.slots import (
    EarningsSource,
    FlaggedReceipts,
    NodeAction,
    TabContent,
    register_action,
    register_earnings,
    register_flags,
)
from receipts.models import Receipt
from receipts.slots import (
    PaymentState,
    Plausibility,
    register_need,
    register_payment,
    register_payment_feed,
    register_plausibility,
)


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


def receipt_plausibility(receipt: Receipt) -> Plausibility | None:
    """How plausible a receipt is. A few queries, for one receipt's page."""
    return plausibility_of(receipt, at=timezone.now())


def node_flags(node: Node, reader: object) -> list[FlaggedReceipts]:
    """The implausible receipts of a node that are held, by cause. Nothing for those who may not see its earnings."""
    try:
        scope = scope_for(reader)
    except NotYours:
        return []
    rows = scope.own(held_rows().filter(node=node, rule__in=FLAG_RULES))
    return [
        FlaggedReceipts(
            label=group.cause.label,
            receipts=group.receipts,
            example=group.example_request,
            sentence=group.example,
            url=reverse("earnings:item", args=[node.pk, group.example_request]),
            all_url=group.receipts_url,
        )
        for group in with_examples(list(group_rows(rows)))
    ]


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
    register_plausibility(receipt_plausibility)
    register_flags(node_flags)
    register_need(why_needed)
    register_payment(payment_states, receipts_in_state)
    register_payment_feed(Verdicts())
    register_earnings(EarningsSource(earnings_to_date, NO_RATE, node_tab))
