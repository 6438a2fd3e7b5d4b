"""`manage.py metrics_rebuild`: ClickHouse has what PostgreSQL has, whatever it had before, and once."""

from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from jatevo.metrics import queries
from jatevo.metrics.facts import UptimeFact
from jatevo.metrics.models import Outbox
from jatevo.metrics.queries import receipt_totals
from jatevo.metrics.shipper import ship
from jatevo.metrics.store import Store
from jatevo.metrics.writer import write
from nodes.models import HeartbeatMinute, Node, Probe
from receipts import rebuilding
from receipts.models import Receipt
from receipts.rebuilding import rebuild_metrics, requests_counted
from tests.factories import NodeFactory, ReceiptFactory, ValidatorFactory, signed_receipt
from tests.machines import SignedSender
from tests.metrics.conftest import chdb_store

__all__ = ["chdb_store"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def node() -> Node:
    return NodeFactory.create(id="macbook-001", status="active", region="eu")


def post(node: Node, **members: object) -> None:
    answer = SignedSender.node(node).send("/v1/receipts", signed_receipt(node.pk, **members))
    assert answer.status_code == 201, answer.content


def in_facts(store: Store) -> tuple[int, int]:
    totals = receipt_totals(store, timezone.now() - timedelta(days=30), timezone.now() + timedelta(days=1))
    return totals.count, totals.tokens_input


def test_what_clickhouse_has_too_much_goes_and_what_it_lacks_comes(chdb_store: Store, node: Node) -> None:
    for _ in range(3):
        post(node, tokens_input=100)
    ship(at=timezone.now(), store=chdb_store)
    Receipt.objects.filter(
        pk=Receipt.objects.order_by("pk")[0].pk
    ).delete()  # as a restore to before it would
    ReceiptFactory(node=node, tokens_input=7)  # which was never shipped
    for _ in range(2):  # harmless when run again
        list(rebuild_metrics(chdb_store, at=timezone.now(), at_once=2))
        assert in_facts(chdb_store) == (3, 207)
        assert requests_counted(chdb_store) == 3


def test_a_receipt_that_waits_in_the_outbox_is_counted_once(chdb_store: Store, node: Node) -> None:
    post(node)
    list(rebuild_metrics(chdb_store, at=timezone.now()))
    post(node)  # while the command ran
    assert Outbox.objects.count() == 1
    ship(at=timezone.now(), store=chdb_store)
    assert in_facts(chdb_store)[0] == requests_counted(chdb_store) == 2


def test_what_waits_is_found_without_comparing_all_with_all(chdb_store: Store, node: Node) -> None:
    for number in range(3):
        Outbox.objects.create(
            kind="receipt", body={"node_id": node.pk, "request_id": f"r_{number}"}
        )  # of an earlier release
    Outbox.objects.bulk_create(
        Outbox(kind="receipt", body={}, source_at=timezone.now(), source_id=number) for number in range(3000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE metrics_outbox")
        for sql, values in (
            (rebuilding._CLEAR_OUTBOX, [list(range(5000))]),
            (rebuilding._CLEAR_BODIES, [[node.pk] * 5000, [f"r_{number}" for number in range(5000)]]),
        ):
            cursor.execute(f"EXPLAIN {sql}", values)
            assert not any("Join Filter" in line for (line,) in cursor.fetchall())
            cursor.execute(sql, values)
    assert not Outbox.objects.exists()


def test_measurements_are_added_and_older_ones_are_kept(chdb_store: Store, node: Node) -> None:
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(hours=1)
    old = int((minute - timedelta(days=10)).timestamp())
    write(chdb_store, uuid4(), [(1, UptimeFact(node_id=node.pk, minute=old, up=True, beats=5))])
    HeartbeatMinute.objects.create(node=node, minute=minute, beats=6)
    Probe.objects.create(
        node=node, validator=ValidatorFactory.create(), kind="latency", ok=True, ts=minute, received_at=minute,
        p50_ms=1.0, p95_ms=2.0, p99_ms=3.0, tps=4.0,
    )  # fmt: skip
    for _ in range(2):
        list(rebuild_metrics(chdb_store, at=timezone.now()))
    minutes = chdb_store.execute(
        "SELECT toUnixTimestamp(ts), beats FROM node_uptime_minute FINAL ORDER BY ts"
    )
    assert minutes == [(old, 5), (int(minute.timestamp()), 6)]
    assert chdb_store.execute("SELECT p50, p95, p99, tps FROM node_latency_minute FINAL") == [
        (1.0, 2.0, 3.0, 4.0)
    ]


def test_searches_have_all_receipts_again(chdb_store: Store, node: Node) -> None:
    for _ in range(3):
        ReceiptFactory(node=node, at=timezone.now() - timedelta(minutes=5))
    *_, last = rebuild_metrics(chdb_store, at=timezone.now())
    assert (last.kind, last.rows) == ("receipts for searches", 3)
    assert chdb_store.execute("SELECT count() FROM receipt_search FINAL") == [(3,)]
    assert queries.search_origin(chdb_store)


def test_it_says_what_it_did_and_what_it_could_not(chdb_store: Store, node: Node) -> None:
    ReceiptFactory(node=node, at=timezone.now() - timedelta(minutes=5))
    said = StringIO()
    call_command("metrics_rebuild", stdout=said)
    lines = said.getvalue()
    assert "receipts: 1, done" in lines
    assert "PostgreSQL: Totals(receipts=1" in lines
    assert "ClickHouse: Totals(receipts=1" in lines
    assert "PostgreSQL does not have: latencies of probes and heartbeat minutes past their retention" in lines


def test_it_refuses_to_run_beside_a_worker(chdb_store: Store, node: Node) -> None:
    ReceiptFactory(node=node, at=timezone.now() - timedelta(days=20))
    list(rebuild_metrics(chdb_store, at=timezone.now()))
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
    with pytest.raises(CommandError, match="Stop all workers first"):
        call_command("metrics_rebuild")
    assert in_facts(chdb_store)[0] == 1, "nothing was emptied"
