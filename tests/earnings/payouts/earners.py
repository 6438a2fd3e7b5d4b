"""Nodes that can be paid: with a confirmed wallet, a good reputation, and amounts that are final."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count

from django.utils import timezone

from earnings.models import Line, Rate, Wallet
from jatevo.accounts.models import Org
from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.earnings.rows import MODEL, make_rate, move
from tests.factories import NodeFactory

ADDRESSES = (
    "4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T",
    "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin",
    "7dHbWXmci3dT8UFYWYZweBLXgycu7Y3iL6trKn1Y7ARj",
)
LONG_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
_days = count()


def wallet(
    org: Org, *, node: Node | None = None, address: str = ADDRESSES[0], payouts_from: datetime = LONG_SINCE
) -> Wallet:
    """A confirmed wallet, long past its 72 hours unless `payouts_from` says otherwise."""
    return Wallet.objects.create(
        org=org,
        node=node,
        chain="solana",
        address=address,
        state="confirmed",
        set_by="test",
        confirmed_at=payouts_from - timedelta(hours=72),
        confirmed_by="test",
        payouts_from=payouts_from,
    )


def earner(
    org: Org,
    amount: str | Decimal = "50",
    *,
    reputation: int | None = 90,
    confirmed: bool = True,
    **fields: object,
) -> Node:
    """A node whose final line has accrued the amount."""
    node: Node = NodeFactory.create(org=org, status=Status.ACTIVE, reputation=reputation, **fields)
    final_line(node, amount, confirmed=confirmed)
    return node


def final_line(
    node: Node,
    amount: str | Decimal,
    *,
    confirmed: bool = True,
    final_at: datetime | None = None,
    org: Org | None = None,
) -> Line:
    """A final line of a day of its own that has accrued the amount."""
    amount = Decimal(amount)
    rate = Rate.objects.filter(model="").first() or make_rate()
    at = final_at or timezone.now() - timedelta(days=1)
    line = Line.objects.create(
        node=node,
        org=org or node.org,
        day=date(2026, 1, 1) + timedelta(days=next(_days) % 300),
        model=f"{MODEL}-{next(_days)}",
        rate=rate,
        receipts=1,
        payable_receipts=1,
        payable_usd=amount,
        confirmed_usd=amount if confirmed else Decimal(0),
        final_at=at,
    )
    move(line, "accrue", "network", "accrued", amount, at=at)
    return line


def owes(node: Node, amount: str) -> Line:
    """A line of which everything was exported, and that was excluded afterwards."""
    line = final_line(node, amount)
    now = timezone.now()
    move(line, "ready", "accrued", "ready", amount, at=now)
    move(line, "export", "ready", "exported", amount, at=now)
    move(line, "exclude", "accrued", "network", amount, at=now)
    return line
