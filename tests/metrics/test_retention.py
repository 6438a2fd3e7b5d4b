"""Expired data is deleted, and nothing else. A dry run only reports it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from procrastinate.contrib.django import app
from pytest_django import Settings

from jatevo.audit.models import AuditEvent
from jatevo.metrics import retention_policy, tasks
from jatevo.metrics.models import Outbox
from jatevo.metrics.partitions import Partition, partitions_of
from jatevo.metrics.queries import requests_count, traffic_by_hour, uptime_ratio
from jatevo.metrics.retention import RAW_TABLES, RECEIPT_TABLES, ROLLUP_TABLES
from jatevo.metrics.retention_policy import RuleOutcome, apply, rules
from jatevo.metrics.store import MetricsUnavailable, Store
from nodes.models import HeartbeatMinute, NodeHour, NodeOffer, Probe, ReputationDay, Validator
from nodes.rules.probes import ProbeKind
from receipts.models import (
    Dispatch,
    DispatchConflict,
    DispatchWinner,
    Receipt,
    ReceiptIdentity,
    RefusalReason,
    RefusedReceipt,
    UnjudgedReceipt,
    UnkeptRefusals,
)
from receipts.partitions import ensure_partitions, months
from tests.earnings.rows import earn, finalise
from tests.factories import GatewayFactory, NodeFactory, ReceiptFactory
from tests.metrics.wrappers import HOUR, NOON, Intercepted, deliver, latency, receipt, uptime

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
AT = datetime(2026, 11, 20, 3, 47, tzinfo=UTC)


@pytest.fixture
def in_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Applies the policy to either engine."""
    monkeypatch.setattr("jatevo.metrics.retention.get_store", lambda: store)
    return store


def fill(store: Store, *days_ago: float) -> None:
    for days in days_ago:
        seconds = int((AT - days * DAY).timestamp())
        deliver(
            store,
            receipt(f"r_{days}", ts_end=seconds, accepted_at=seconds),
            latency(f"p_{days}", ts=seconds),
            uptime(AT - days * DAY),
            times=1,
        )


def days_left(store: Store, *tables: str) -> list[int]:
    """The numbers of the remaining partitions."""
    return sorted({partition.number for table in tables for partition in partitions_of(store, table)})


def ours(applied: Iterator[RuleOutcome]) -> dict[str, list[str]]:
    return {line.rule.name: [dropped.partition for dropped in line.dropped] for line in applied}


@pytest.mark.parametrize(
    ("number", "ends_at"),
    [
        (20260304, datetime(2026, 3, 5, tzinfo=UTC)),
        (20261231, datetime(2027, 1, 1, tzinfo=UTC)),
        (202603, datetime(2026, 4, 1, tzinfo=UTC)),
        (202612, datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_partition_ends_with_its_day_or_month(number: int, ends_at: datetime) -> None:
    assert Partition("any", number, 1).ends_at == ends_at


def test_a_raw_day_goes_when_all_of_it_has_had_its_time(in_store: Store) -> None:
    fill(in_store, 0, 29, 30, 31, 100)
    before = days_left(in_store, *RAW_TABLES)
    # of the day before which 30 days lie, hours are left
    assert ours(apply(at=AT))["node_uptime_minute"] == [
        "20260812",
        "20261020",
    ]
    assert days_left(in_store, *RAW_TABLES) == before[2:] == [20261021, 20261022, 20261120]
    assert ours(apply(at=AT + 21 * HOUR))["node_latency_minute"] == ["20261021"]


def test_rollups_outlive_the_raw_minutes_and_go_by_whole_months(in_store: Store) -> None:
    fill(in_store, 10, 100, 364, 385, 396, 500)
    list(apply(at=AT))
    assert days_left(in_store, *RAW_TABLES) == [20261110]
    # 365 days ago was in November 2025, which stays whole: 385 days ago was October, and goes
    assert days_left(in_store, *ROLLUP_TABLES) == [202511, 202608, 202611]
    # 400 days ago was in October: receipts of that month stay
    assert days_left(in_store, *RECEIPT_TABLES) == [202510, 202511, 202608, 202611]
    year = AT - 380 * DAY, AT
    assert requests_count(in_store, AT - 365 * DAY - 2 * HOUR, AT + HOUR) == 3
    assert [line.requests for line in traffic_by_hour(in_store, *year)] == [1, 1, 1]
    assert uptime_ratio(in_store, None, AT - 100 * DAY, AT - 100 * DAY + HOUR) != {}


def test_a_dry_run_says_the_same_and_drops_nothing(in_store: Store) -> None:
    fill(in_store, 1, 40, 500)
    tables = (*RAW_TABLES, *ROLLUP_TABLES, *RECEIPT_TABLES)
    before = days_left(in_store, *tables)
    said = list(apply(at=AT, dry_run=True))
    assert days_left(in_store, *tables) == before
    assert list(apply(at=AT)) == said
    assert days_left(in_store, *tables) != before
    assert not any(line.dropped for line in apply(at=AT))


def test_every_table_that_grows_has_a_rule_and_audit_rows_have_none(chdb_store: Store) -> None:
    names = {rule.name for rule in rules()}
    assert names >= {*RAW_TABLES, *ROLLUP_TABLES, *RECEIPT_TABLES}
    assert names >= {
        "receipts_receipt",
        "nodes_probe",
        "nodes_heartbeatminute",
        "nodes_nodehour",
        "nodes_reputationday",
        "nodes_nodeoffer",
        "nodes_challenge",
        "onboarding_proof",
        "receipts_dispatch",
        "receipts_dispatchwinner",
        "receipts_dispatchconflict",
        "receipts_refusedreceipt",
        "receipts_unkeptrefusals",
        "receipts_receiptexport",
    }
    assert not {name for name in names if "audit" in name or "identity" in name}
    assert {rule.name: rule.keep_days for rule in rules()}["node_uptime_hour"] == 365


def test_settings_say_how_long(chdb_store: Store, settings: Settings) -> None:
    settings.RETENTION_DAYS = {**settings.RETENTION_DAYS, "raw_minutes": 5}
    fill(chdb_store, 2, 10)
    assert ours(apply(at=AT))["requests_minute"] == ["20261110"]


def test_rows_of_nodes_go_by_their_age(chdb_store: Store) -> None:
    node, other = NodeFactory.create(), NodeFactory.create()
    validator = Validator.objects.create(id="v-1")
    for days in (1, 15, 17, 29, 31):
        at = AT - days * DAY
        Probe.objects.create(
            node=node, validator=validator, kind=ProbeKind.HEALTH, ok=True, ts=at, received_at=at
        )
        HeartbeatMinute.objects.create(node=node, minute=at, beats=1)
        NodeHour.objects.create(node=other, hour=at)
        ReputationDay.objects.create(node=other, day=at.date(), computed_at=at)
    dry = {line.rule.name: line.dropped for line in apply(at=AT, dry_run=True)}
    done = {line.rule.name: line.dropped for line in apply(at=AT)}
    assert dry == done
    assert {name: dropped[0].rows for name, dropped in done.items() if dropped} == {
        "nodes_probe": 1,
        "nodes_heartbeatminute": 4,
        "nodes_nodehour": 3,
        "nodes_reputationday": 3,
    }
    assert sorted(Probe.objects.values_list("received_at", flat=True))[0] == AT - 29 * DAY
    assert list(ReputationDay.objects.order_by("day").values_list("day", flat=True)) == [
        date(2026, 11, 5),
        date(2026, 11, 19),
    ]


def test_a_table_of_many_blocks_is_deleted_stretch_by_stretch(
    chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_policy, "_BLOCKS_AT_ONCE", 1)
    node = NodeFactory.create()
    HeartbeatMinute.objects.bulk_create(
        HeartbeatMinute(node=node, minute=AT - number * timedelta(minutes=10), beats=1)
        for number in range(1000)
    )
    (line,) = [line for line in apply(at=AT) if line.rule.name == "nodes_heartbeatminute"]
    assert [dropped.rows for dropped in line.dropped] == [1000 - 289]
    assert HeartbeatMinute.objects.count() == 289


def test_old_dispatches_and_ended_offers_go(chdb_store: Store) -> None:
    gateway, node = GatewayFactory.create(), NodeFactory.create()
    old, kept = AT - 401 * DAY, AT - 399 * DAY
    for at in (old, kept):
        statement = {"gateway": gateway, "request_id": f"r_{at:%j}", "node_id": "n", "received_at": at}
        Dispatch.objects.create(**statement, model="m", model_id="m", ts=at)
        DispatchWinner.objects.create(**statement)
        DispatchConflict.objects.create(**statement, before={}, now={})
    NodeOffer.objects.create(node=node, model="gone", offered_from=old - DAY, offered_until=old)
    list(apply(at=AT))
    assert [row.received_at for row in DispatchConflict.objects.all()] == [kept]
    assert Dispatch.objects.count() == DispatchWinner.objects.count() == 2
    # as long as there can be items of earnings, which a finding of fraud judges again
    list(apply(at=old + (1827 + 40) * DAY + timedelta(seconds=1)))
    for model in (Dispatch, DispatchWinner):
        assert [row.received_at for row in model.objects.all()] == [kept]
    assert [offer.offered_until for offer in NodeOffer.objects.all()] == [None]


def test_old_refused_receipts_go_but_forged_ones_stay(chdb_store: Store) -> None:
    node = NodeFactory.create()
    old, kept = AT - 91 * DAY, AT - 89 * DAY
    for at in (old, kept):
        UnkeptRefusals.objects.create(
            node_id=node.pk, org_id=node.org_id, day=at.date(), reason=RefusalReason.INVALID, count=1
        )
        for reason in RefusalReason:
            RefusedReceipt.objects.create(
                node=node, reason=reason, raw=b"{}", sha256=f"{at:%j}".encode(), detail="", received_at=at
            )
    dry = {line.rule.name: line.dropped for line in apply(at=AT, dry_run=True)}
    done = {line.rule.name: line.dropped for line in apply(at=AT)}
    assert dry["receipts_refusedreceipt"] == done["receipts_refusedreceipt"]
    assert [dropped.rows for dropped in done["receipts_refusedreceipt"]] == [3]
    assert RefusedReceipt.objects.filter(received_at=kept).count() == len(RefusalReason)
    assert RefusedReceipt.objects.get(received_at=old).reason == RefusalReason.FORGED
    assert UnkeptRefusals.objects.get().day == kept.date()


def outcome_of_receipts(at: datetime, *, dry_run: bool) -> RuleOutcome:
    (found,) = [line for line in apply(at=at, dry_run=dry_run) if line.rule.name == "receipts_receipt"]
    return found


def test_months_of_receipts_go_whole_and_their_identities_stay(chdb_store: Store) -> None:
    node = NodeFactory.create()
    old, kept = datetime(2024, 2, 29, 23, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
    unplaced = datetime(2023, 12, 31, tzinfo=UTC)
    ensure_partitions(at=datetime(2024, 1, 15, tzinfo=UTC))
    for at in (old, kept, unplaced):
        earn(node, at, accepted_at=at)
        finalise(at.date())
    identities = ReceiptIdentity.objects.count()
    limit = datetime(2024, 4, 1, tzinfo=UTC) + 400 * DAY - timedelta(seconds=1)
    dry = outcome_of_receipts(limit, dry_run=True)
    done = outcome_of_receipts(limit, dry_run=False)
    assert dry == done
    assert done.kept == ()
    assert [(dropped.partition, dropped.rows) for dropped in done.dropped] == [
        ("receipts_receipt_2024_01", 0),
        ("receipts_receipt_2024_02", 1),
    ]
    assert str(done.dropped[1]) == "receipts_receipt_2024_02 (1 row)"
    # the month that ends a second too late stays, and so does what waits in the default partition
    assert sorted(Receipt.objects.values_list("accepted_at", flat=True)) == [unplaced, kept]
    assert months()[0].name == "receipts_receipt_2024_03"
    assert ReceiptIdentity.objects.count() == identities
    event = AuditEvent.objects.filter(verb="receipts.month_dropped").latest("pk")
    assert (event.subject_id, event.actor_kind, event.details["rows"]) == (
        "receipts_receipt_2024_02",
        "system",
        1,
    )


def test_a_month_that_earnings_need_is_kept_and_both_runs_say_why(chdb_store: Store) -> None:
    node = NodeFactory.create()
    ensure_partitions(at=datetime(2024, 1, 15, tzinfo=UTC))
    at = datetime(2024, 2, 29, 23, tzinfo=UTC)
    limit = datetime(2024, 3, 1, tzinfo=UTC) + 400 * DAY
    # its period is that of its ts_end, which may be a week before its month, or minutes after it
    early = earn(node, datetime(2024, 1, 26, tzinfo=UTC), accepted_at=datetime(2024, 2, 1, tzinfo=UTC))
    late = earn(
        node, datetime(2024, 3, 1, 0, 2, tzinfo=UTC), accepted_at=datetime(2024, 2, 29, 23, 59, tzinfo=UTC)
    )
    waiting = ReceiptFactory(node=node, at=at)

    def reasons() -> dict[str, str]:
        said = {dry_run: outcome_of_receipts(limit, dry_run=dry_run) for dry_run in (True, False)}
        assert said[True] == said[False]
        return {kept.partition[-7:]: kept.reason for kept in said[False].kept}

    assert (
        reasons()["2024_02"]
        == "1 receipt waits for earnings; 1 receipt is not itemised; 2024-01-26 is not final"
    )
    UnjudgedReceipt.objects.filter(pk=waiting.id).delete()
    assert reasons()["2024_02"] == "1 receipt is not itemised; 2024-01-26 is not final"
    Outbox.objects.create(
        kind="receipt", body={}, source_at=waiting.accepted_at, source_id=waiting.id, poisoned="no"
    )
    assert reasons()["2024_02"].startswith("1 receipt waits for the metrics store; 1 receipt is not itemised")
    Outbox.objects.all().delete()
    Receipt.objects.filter(id=waiting.id).delete()
    finalise(early.day)
    assert reasons() == {"2024_02": "2024-03-01 is not final"}
    with time_machine.travel(limit, tick=False):
        assert "receipts_receipt: keeps receipts_receipt_2024_02: 2024-03-01 is not final" in run_command(
            "--dry-run"
        )
    finalise(late.day)
    assert [dropped.partition for dropped in outcome_of_receipts(limit, dry_run=False).dropped] == [
        "receipts_receipt_2024_02"
    ]


def test_a_store_that_is_down_is_the_problem_of_its_own_rules(
    chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down(Intercepted):
        def execute(self, sql: str, params: object = None) -> list[tuple[object, ...]]:
            raise MetricsUnavailable("down")

    monkeypatch.setattr("jatevo.metrics.retention.get_store", lambda: Down(chdb_store))
    HeartbeatMinute.objects.create(node=NodeFactory.create(), minute=AT - 10 * DAY, beats=1)
    lines = list(apply(at=AT))
    assert {line.rule.name for line in lines if line.problem == "down"} == {
        *RAW_TABLES,
        *ROLLUP_TABLES,
        *RECEIPT_TABLES,
    }
    assert not HeartbeatMinute.objects.exists()
    with pytest.raises(CommandError, match="7 of the rules"):
        call_command("retention", stdout=StringIO())


def test_the_command_says_what_it_did_line_by_line(chdb_store: Store) -> None:
    fill(chdb_store, 1, 40)
    with time_machine.travel(AT, tick=False):
        said = [run_command("--dry-run"), run_command(), run_command()]
    assert "node_uptime_minute: would drop 20261011 (1 row)" in said[0]
    assert "node_uptime_minute: dropped 20261011 (1 row)" in said[1]
    assert "node_uptime_minute: nothing is older than 30 days" in said[2]
    assert "node_uptime_hour: nothing is older than 365 days" in said[0]


def run_command(*arguments: str) -> list[str]:
    output = StringIO()
    call_command("retention", *arguments, stdout=output)
    return output.getvalue().splitlines()


def test_the_worker_does_it_every_night(chdb_store: Store) -> None:
    fill(chdb_store, 1, 40)
    with time_machine.travel(AT, tick=False):
        tasks.forget_old(timestamp=0)
    assert days_left(chdb_store, "requests_minute") == [20261119]
    periodic = app.periodic_registry.periodic_tasks["metrics.retention", "retention"]
    assert (periodic.cron, periodic.task.queueing_lock) == ("47 3 * * *", "retention")
    assert requests_count(chdb_store, NOON, NOON + HOUR) == 0
