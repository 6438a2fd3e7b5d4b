"""The search has every receipt and every verdict once, whatever the order in which they come and whatever fails."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.utils import timezone

from jatevo.metrics.facts import ReceiptFact
from jatevo.metrics.models import Outbox, ReceiptGap, SearchOrigin
from jatevo.metrics.partitions import empty
from jatevo.metrics.queries import search_origin
from jatevo.metrics.search_rows import write_search_rows
from jatevo.metrics.shipper import Shipped, ship
from jatevo.metrics.store import MetricsUnavailable, QueryRefused, Store
from jatevo.metrics.transport import TYPE_MISMATCH, Cell, Row, Transport
from nodes.models import Node
from nodes.rules.lifecycle import Status
from receipts import slots
from receipts.models import Receipt
from receipts.search.as_of import completeness
from receipts.search.filling import Filled, fill, rebuild
from receipts.search.rows import judged_rows, of_range
from receipts.search.verdicts import deliver_verdicts
from receipts.slots import JudgedReceipt, State
from tests.factories import NodeFactory, ReceiptFactory, signed_receipt
from tests.machines import SignedSender
from tests.metrics.conftest import clickhouse_server, cluster_migrated, native_migrated, store, two_shards
from tests.metrics.wrappers import Intercepted

__all__ = ["clickhouse_server", "cluster_migrated", "native_migrated", "store", "two_shards"]
pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 10, 12, 0, 0, 250_000, tzinfo=UTC)
COLUMNS = (
    "accepted_at, id, micros, node_id, request_id, org_id, region, model, tokens_input_low, tokens_output_low, p95_ms, hedged,"
    " cache_hit, toString(outcome), toString(signed_with), toString(payment), fee_usd, version"
)

# of a receipt and of its fact
SHARED = (
    "request_id", "model_id", "ts_start", "ts_end", "tokens_input", "tokens_output", "p95_ms", "hedged", "cache_hit",
)  # fmt: skip


class Feed:
    """Verdicts that a test gives, to be delivered in the order of `queue`."""

    def __init__(self) -> None:
        self.queue: list[list[JudgedReceipt]] = []
        self.newest: dict[int, JudgedReceipt] = {}

    def judge(self, receipt: Receipt, state: State, fee: str, version: int) -> None:
        judged = JudgedReceipt(receipt.id, receipt.accepted_at, state, Decimal(fee), version)
        self.queue.append([judged])
        if receipt.id not in self.newest or self.newest[receipt.id].version < version:
            self.newest[receipt.id] = judged

    def take(self) -> list[JudgedReceipt] | None:
        return self.queue.pop(0) if self.queue else None

    def forget(self) -> None:
        self.queue.clear()

    def waiting_since(self) -> datetime | None:
        return NOW - timedelta(minutes=3) if self.queue else None

    def of(self, receipts: Sequence[tuple[date, int]]) -> list[JudgedReceipt]:
        return [self.newest[number] for _, number in receipts if number in self.newest]


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setattr(slots, "_feeds", [])
    made = Feed()
    slots.register_payment_feed(made)
    return made


@pytest.fixture
def node() -> Node:
    return NodeFactory.create(id="macbook-001", status=Status.ACTIVE)


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def rows(store: Transport) -> list[Row]:
    return store.execute(f"SELECT {COLUMNS} FROM receipt_search FINAL ORDER BY id")  # noqa: S608 - a constant


def rows_as_they_should_be() -> list[Row]:
    """PostgreSQL's receipts and the verdicts that hold, as rows."""
    found = judged_rows(
        of_range(
            NOW - timedelta(days=900), NOW + timedelta(days=1), (NOW - timedelta(days=999), 0), limit=1000
        )
    )
    return [
        (
            datetime.fromtimestamp(row.accepted_at, UTC), row.id, row.micros, row.node_id, row.request_id, row.org_id,
            row.region, row.model, row.tokens_input, row.tokens_output, row.p95_ms, row.hedged, row.cache_hit,
            row.outcome, str(row.signed_with), row.payment, row.fee_usd, row.version,
        )
        for row in sorted(found, key=lambda row: row.id)
    ]  # fmt: skip


def test_an_accepted_receipt_is_found_as_postgresql_has_it(store: Store, node: Node, feed: Feed) -> None:
    machine = SignedSender.node(node)
    now = int(NOW.timestamp())
    stated: list[dict[str, object]] = [
        {"outcome": "cancelled", "model_id": "QWEN3:latest"},
        {"outcome": "error", "region": "mars"},
        {"hedged": True},
    ]
    for number, changes in enumerate(stated):
        payload = signed_receipt(
            node.pk, **{"request_id": f"r_{number}", "ts_start": now - 9, "ts_end": now - 5, **changes}
        )
        assert machine.send("/v1/receipts", payload).status_code == 201
    shipped = ship(at=NOW, store=store)
    assert (shipped.receipts, shipped.poisoned) == (3, 0)
    assert not ReceiptGap.objects.exists()
    assert rows(store) == rows_as_they_should_be()
    assert [row[13] for row in rows(store)] == ["cancelled", "error", "ok"]
    assert rows(store)[1][6] == "mars"
    assert rows(store)[0][7] == "qwen3"


def test_a_fact_of_the_release_before_leaves_a_gap_that_is_filled(
    store: Store, node: Node, feed: Feed
) -> None:
    payload = signed_receipt(node.pk, ts_start=int(NOW.timestamp()) - 9, ts_end=int(NOW.timestamp()) - 5)
    assert SignedSender.node(node).send("/v1/receipts", payload).status_code == 201
    said = ReceiptFact(
        node_id=node.pk,
        region=node.region,
        accepted_at=int(NOW.timestamp()),
        failed=False,
        **{name: payload[name] for name in SHARED},
    )
    body = {name: value for name, value in said.to_body().items() if name != "search"}
    assert Outbox.objects.update(source_at=None, source_id=None, body=body) == 1
    ship(at=NOW, store=store)
    assert rows(store) == []
    (gap,) = ReceiptGap.objects.all()
    assert gap.first_at <= NOW < gap.until_at
    origin = SearchOrigin.objects.create(origin="7b1f3cb4-9a4b-4d5b-b3f0-000000000001")
    store.insert("receipt_search_origin", ["origin", "noted_at"], [(str(origin.origin), NOW)])
    assert fill(at=NOW, store=store) == Filled(1)
    assert rows(store) == rows_as_they_should_be()


def test_a_receipt_that_is_gone_is_set_aside_and_holds_nothing_up(
    store: Store, node: Node, feed: Feed
) -> None:
    Outbox.objects.create(kind="receipt", body={}, source_at=NOW, source_id=77)
    payload = signed_receipt(node.pk, ts_start=int(NOW.timestamp()) - 9, ts_end=int(NOW.timestamp()) - 5)
    assert SignedSender.node(node).send("/v1/receipts", payload).status_code == 201
    assert ship(at=NOW, store=store) == Shipped(receipts=1, poisoned=1)
    assert Outbox.objects.get().poisoned == "no receipt 77 is on record"
    assert rows(store) == rows_as_they_should_be()


def test_verdicts_may_come_twice_before_the_receipt_and_in_any_order(
    store: Store, node: Node, feed: Feed
) -> None:
    first, second, third = (ReceiptFactory(node=node, at=NOW - timedelta(minutes=each)) for each in (1, 2, 3))
    feed.judge(first, "excluded", "0.0000000000000001", 9)
    feed.judge(first, "held", "0.0000000000000001", 4)
    feed.judge(second, "payable", "1234567890123456789.0000000000000001", 5)
    feed.queue *= 2
    assert deliver_verdicts(store=store) == 6
    rebuild(at=NOW)
    assert fill(at=NOW, store=store, at_once=2) == Filled(3)
    feed.judge(third, "payable", "2", 11)
    feed.judge(second, "held", "1234567890123456789.0000000000000001", 10)
    feed.queue.append(feed.queue[0])
    deliver_verdicts(store=store)
    assert rows(store) == rows_as_they_should_be()
    assert [(row[15], row[17]) for row in rows(store)] == [("excluded", 9), ("held", 10), ("payable", 11)]


def test_verdicts_wait_while_clickhouse_is_down(store: Store, node: Node, feed: Feed) -> None:
    def refuse(table: str, rows: Sequence[Sequence[Cell]]) -> None:
        raise MetricsUnavailable("down")

    feed.judge(ReceiptFactory(node=node, at=NOW), "held", "1", 1)
    waiting = list(feed.queue)
    with pytest.raises(MetricsUnavailable):
        deliver_verdicts(store=Intercepted(store, before=refuse))
    feed.queue = waiting  # as the database does when a transaction is rolled back
    assert deliver_verdicts(store=store) == 1


def test_refused_verdicts_leave_a_gap_and_not_a_wrong_figure(store: Store, node: Node, feed: Feed) -> None:
    def refuse(table: str, rows: Sequence[Sequence[Cell]]) -> None:
        raise QueryRefused("no such value", TYPE_MISMATCH)

    receipt = ReceiptFactory(node=node, at=NOW - timedelta(minutes=1))
    feed.judge(receipt, "held", "1", 1)
    assert deliver_verdicts(store=Intercepted(store, before=refuse)) == 1
    gap = completeness(
        at=NOW, since=receipt.accepted_at, until=receipt.accepted_at + timedelta(seconds=1)
    ).gap
    assert gap is not None
    assert completeness(at=NOW, since=NOW, until=None).gap is None


def test_an_emptied_clickhouse_is_noticed_and_filled_anew(store: Store, node: Node, feed: Feed) -> None:
    for minutes in range(1, 6):
        ReceiptFactory(node=node, at=NOW - timedelta(minutes=minutes))
    assert fill(at=NOW, store=store) == Filled(5)
    before = SearchOrigin.objects.get().origin
    empty(store, "receipt_search")
    empty(store, "receipt_search_origin")
    store.insert("receipt_search", ["accepted_at", "id"], [(NOW, 77)])  # of nobody knows where
    assert fill(at=NOW, store=store, at_once=2) == Filled(5)
    assert SearchOrigin.objects.get().origin != before
    assert search_origin(store) == str(SearchOrigin.objects.get().origin)
    assert rows(store) == rows_as_they_should_be()


def test_a_receipt_that_was_shipped_just_before_the_table_was_emptied_is_filled_again(
    store: Store, node: Node, feed: Feed
) -> None:
    ReceiptFactory(node=node, at=NOW + timedelta(seconds=2))  # while the job was on its way
    day = timedelta(days=1)
    shipped = judged_rows(of_range(NOW - day, NOW + day, (NOW - 2 * day, 0), limit=10))
    write_search_rows(store, shipped)
    assert len(shipped) == len(rows(store)) == 1
    fill(at=NOW, store=store)
    assert rows(store) == rows_as_they_should_be() != []


def test_filling_goes_on_where_it_was_stopped_newest_first(store: Store, node: Node, feed: Feed) -> None:
    same = NOW - timedelta(minutes=9)
    made = [ReceiptFactory(node=node, at=same) for _ in range(4)]
    newest = ReceiptFactory(node=node, at=NOW - timedelta(minutes=1))
    assert fill(at=NOW, seconds=0, at_once=2, store=store) == Filled(2, left=True)
    assert {row[1] for row in rows(store)} == {newest.id, made[3].id}
    gap = completeness(at=NOW).gap
    assert gap is not None
    assert (gap.until_at, gap.filled) == (same, 2)
    assert completeness(at=NOW, since=same + timedelta(microseconds=1)).gap is None
    assert fill(at=NOW, at_once=2, store=store) == Filled(3)
    assert rows(store) == rows_as_they_should_be()
    assert completeness(at=NOW).gap is None


def test_the_as_of_is_settled_and_stops_at_what_was_not_shipped(feed: Feed) -> None:
    assert completeness(at=NOW).as_of == datetime(2026, 11, 10, 11, 59, 55, tzinfo=UTC)
    Outbox.objects.create(kind="receipt", body={}, created_at=timezone.now() - timedelta(minutes=2))
    waiting = completeness(at=NOW)
    assert waiting.as_of == datetime(2026, 11, 10, 11, 57, 55, tzinfo=UTC)
    assert waiting.judged_as_of == waiting.as_of
    feed.queue.append([])
    assert completeness(at=NOW).judged_as_of == NOW - timedelta(minutes=3)
