"""What the database refuses about earnings, whoever asks."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from earnings.accrual.months import ensure_months
from earnings.models import Line, LineBalance, ModelLimit, Movement, NodeBalance, Policy, Rate
from nodes.models import Node
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def rate(holds_from: datetime = LONG_AGO, **changes: object) -> Rate:
    values = {"model": "", "input_usd": Decimal("0.1"), "output_usd": Decimal("0.4"), **changes}
    made: Rate = Rate.objects.create(holds_from=holds_from, created_by="test", **values)
    return made


@pytest.fixture
def node() -> Node:
    made: Node = NodeFactory.create()
    return made


@pytest.fixture
def line(node: Node) -> Line:
    return Line.objects.create(
        node=node, org=node.org, day=date(2026, 1, 1), model="m", rate=rate(), final_at=timezone.now()
    )


def move(line: Line, kind: str, source: str, target: str, amount: str) -> Movement:
    return Movement.objects.create(
        at=timezone.now(), kind=kind, from_account=source, to_account=target, amount_usd=Decimal(amount),
        line=line, node=line.node, org=line.org, actor="console",
    )  # fmt: skip


def refused(sql: str, *values: UUID) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)


def an_item(line: Line) -> None:
    now = timezone.now()
    ensure_months([now.astimezone(UTC).date()])
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO earnings_item VALUES (%(day)s, 1, %(now)s, %(node)s, %(org)s, 'r', %(sha)s, %(line)s, 'm', %(now)s,"
            " %(now)s, 1, 1, false, false, false, %(rate)s, 1, %(now)s, NULL, NULL, true, false, 0, NULL, 1, 0, 4, 1, 1,"
            " false)",
            {
                "day": now.astimezone(UTC).date(), "now": now, "node": line.node_id, "org": line.org_id, "sha": b"s" * 32,
                "line": line.pk, "rate": line.rate_id,
            },
        )  # fmt: skip


def test_movements_are_never_changed_or_deleted(line: Line) -> None:
    move(line, "accrue", "network", "accrued", "1")
    refused("UPDATE earnings_movement SET amount_usd = 2")
    refused("DELETE FROM earnings_movement")
    refused("TRUNCATE earnings_movement CASCADE")


def test_items_are_never_changed_or_deleted(line: Line) -> None:
    an_item(line)
    refused("UPDATE earnings_item SET fee_usd = 2")
    refused("DELETE FROM earnings_item")


@pytest.mark.parametrize(
    ("kind", "source", "target"),
    [
        ("accrue", "network", "ready"),
        ("release", "network", "accrued"),
        ("export", "accrued", "exported"),
        ("nonsense", "network", "accrued"),
    ],
)
def test_a_movement_takes_a_known_route(line: Line, kind: str, source: str, target: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        move(line, kind, source, target, "1")


@pytest.mark.parametrize("amount", ["0", "-1"])
def test_a_movement_moves_something(line: Line, amount: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        move(line, "accrue", "network", "accrued", amount)


def test_balances_follow_the_movements(line: Line) -> None:
    move(line, "accrue", "network", "accrued", "1.0000000000000001")
    move(line, "hold", "network", "held", "0.25")
    move(line, "ready", "accrued", "ready", "1")
    balance = LineBalance.objects.get(line=line)
    assert (balance.accrued, balance.held, balance.ready) == (
        Decimal("0.0000000000000001"),
        Decimal("0.25"),
        Decimal(1),
    )
    of_node = NodeBalance.objects.get(node=line.node)
    assert (of_node.accrued, of_node.held, of_node.ready, of_node.exported) == (
        balance.accrued,
        balance.held,
        balance.ready,
        0,
    )


def test_nobody_writes_balances_but_the_ledger(line: Line) -> None:
    move(line, "accrue", "network", "accrued", "1")
    refused("UPDATE earnings_linebalance SET accrued = 1000")
    refused("UPDATE earnings_nodebalance SET accrued = 1000")
    refused("INSERT INTO earnings_nodebalance (org_id, node_id) VALUES (%s, NULL)", line.org_id)


def test_a_rate_is_never_changed(line: Line) -> None:
    refused("UPDATE earnings_rate SET input_usd = 9")
    refused("DELETE FROM earnings_rate")


def test_two_rates_of_a_model_cannot_hold_from_one_date() -> None:
    rate()
    with pytest.raises(DatabaseError), transaction.atomic():
        rate()


@pytest.mark.parametrize("price", ["-0.000001", "10000.01"])
def test_a_negative_or_absurd_price_is_refused(price: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        rate(input_usd=Decimal(price))


def test_a_default_that_is_earlier_than_all_others_may_lie_in_the_past(line: Line) -> None:
    """It prices only what waits without a rate. Nothing else helps receipts from before the first rate."""
    an_item(line)
    rate(LONG_AGO - timedelta(days=1))
    for changes in ({"holds_from": LONG_AGO + timedelta(days=1)}, {"holds_from": LONG_AGO, "model": "m"}):
        with pytest.raises(DatabaseError), transaction.atomic():
            rate(**changes)
    assert Rate.objects.count() == 2


def test_once_receipts_are_itemised_rows_hold_from_the_future_only(line: Line) -> None:
    an_item(line)
    soon = timezone.now() + timedelta(minutes=9)
    later = timezone.now() + timedelta(minutes=11)
    with pytest.raises(DatabaseError), transaction.atomic():
        rate(soon, model="m")
    with pytest.raises(DatabaseError), transaction.atomic():
        Policy.objects.create(holds_from=soon, created_by="test")
    with pytest.raises(DatabaseError), transaction.atomic():
        ModelLimit.objects.create(
            holds_from=soon, created_by="test", output_per_second=1, context_tokens=1, model="m"
        )
    taken_back = rate(later, model="m")
    taken_back.delete()
    assert not Rate.objects.filter(model="m").exists()
