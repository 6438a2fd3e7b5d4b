"""The invented fleet of benchmarks is complete, reproducible, and refused where it would do harm."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F, Max, Sum
from pytest_django import Settings

from bench.load.command import Command
from jatevo.metrics.store import Store
from jatevo.overview.models import Incident, RegionHour
from nodes.models import Node, NodeHour, NodeStanding, NodeTransition, ReputationDay
from nodes.rules.lifecycle import Status
from receipts.models import Receipt, ReceiptIdentity, UnjudgedReceipt
from receipts.verify import verify
from tests.factories import NodeFactory
from tests.metrics.conftest import chdb_store

__all__ = ["chdb_store"]

NODES, DAYS = 40, 2


def seed(**options: Any) -> str:
    said = io.StringIO()
    call_command(
        Command(), **{"nodes": NODES, "days": DAYS, "receipts_per_node_day": 3.0, **options}, stdout=said
    )
    return said.getvalue()


@pytest.fixture
def home(settings: Settings, tmp_path: Any) -> None:
    settings.EMBEDDED = True
    settings.HOME = tmp_path


@pytest.mark.timeout(900)
@pytest.mark.django_db(transaction=True)
def test_every_place_that_pages_read_is_filled(home: None, chdb_store: Store) -> None:
    said = seed()
    assert "Done after" in said
    assert Node.objects.count() == NODES
    assert Node.objects.filter(status=Status.ACTIVE).exists()
    assert Node.objects.filter(shared=True).exists()
    assert Node.objects.filter(reputation__isnull=False).count() > NODES // 2
    for model in (NodeHour, NodeStanding, NodeTransition, ReputationDay, Receipt, RegionHour, Incident):
        assert model.objects.exists(), model
    assert NodeStanding.objects.filter(p95_ms__isnull=False, uptime_7d__isnull=False).exists()
    for table in (
        "node_uptime_minute",
        "node_uptime_hour",
        "node_latency_hour",
        "requests_hour",
        "receipt_facts",
    ):
        ((count,),) = chdb_store.execute(f"SELECT count() FROM {table}")  # noqa: S608
        assert count, table
    _history_is_plausible()
    with pytest.raises(CommandError, match="There are nodes already"):
        seed()


@pytest.mark.timeout(300)
@pytest.mark.django_db(transaction=True)
def test_receipts_of_all_days_verify_and_are_the_same_in_both_stores(home: None, chdb_store: Store) -> None:
    before = _indexes()
    seed(signed_days=DAYS)
    assert _indexes() == before
    found = list(Receipt.objects.order_by("id").select_related("node"))
    assert len({receipt.accepted_at.date() for receipt in found}) > DAYS
    for receipt in found:
        verification = verify(receipt)
        assert verification.valid, verification.checks
    identities = ReceiptIdentity.objects.values_list("node_id", "request_id", "sha256", "accepted_at")
    assert {(each[0], each[1], bytes(each[2]), each[3]) for each in identities} == {
        (receipt.node_id, receipt.request_id, bytes(receipt.sha256), receipt.accepted_at) for receipt in found
    }
    assert set(UnjudgedReceipt.objects.values_list("id", flat=True)) == {receipt.id for receipt in found}
    in_clickhouse = chdb_store.execute("SELECT node_id, request_id, accepted_at FROM receipt_facts FINAL")
    assert sorted(in_clickhouse) == sorted(
        (receipt.node_id, receipt.request_id, receipt.accepted_at) for receipt in found
    )
    last_day = [receipt for receipt in found if receipt.id > found[-1].id - 10]
    assert [receipt.accepted_at for receipt in last_day] == sorted(
        receipt.accepted_at for receipt in last_day
    )


def _indexes() -> set[tuple[str, str]]:
    """The indexes of the tables of receipts with their definitions. Those of partitions get other names."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename, replace(indexdef, indexname, '') FROM pg_indexes WHERE tablename ~ '^receipts_' AND"
            " tablename !~ '[0-9]$'"
        )
        return set(cursor.fetchall())


def _history_is_plausible() -> None:
    """Nodes have no history from before they joined, and receipts do not pile up at the moment of seeding."""
    assert not RegionHour.objects.filter(minutes_up__gt=F("minutes_expected")).exists()
    assert not RegionHour.objects.filter(region="", active_nodes=None).exists()
    minutes = RegionHour.objects.filter(region="").aggregate(
        up=Sum("minutes_up"), expected=Sum("minutes_expected")
    )
    assert 0.9 < minutes["up"] / minutes["expected"] < 1
    last = Receipt.objects.aggregate(Max("ts_end"))["ts_end__max"]
    assert Receipt.objects.filter(ts_end=last).count() < NODES // 4


@pytest.mark.django_db
def test_it_refuses_what_may_be_production(home: None, settings: Settings) -> None:
    settings.EMBEDDED = settings.DEBUG = False
    with pytest.raises(CommandError, match="production"):
        seed()
    assert not Node.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": 1}, "at least 10"),
        ({"extend": True}, "no nodes"),
        ({"signed_days": DAYS + 1}, "--signed-days"),
    ],
)
def test_what_makes_no_sense_is_refused(home: None, options: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        seed(**options)


@pytest.mark.django_db
def test_a_fleet_that_is_there_is_not_mixed_with_an_invented_one(home: None) -> None:
    NodeFactory.create()
    with pytest.raises(CommandError, match="--yes"):
        seed()
    assert Node.objects.count() == 1
