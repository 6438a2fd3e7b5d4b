"""The sweeper: silence, missed heartbeats, low reputation, and the console's own downtime."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings
from structlog.testing import capture_logs

from jatevo.audit.models import AuditEvent
from jatevo.metrics.models import Outbox
from nodes import sweeper
from nodes.actions import happen
from nodes.models import Exemption, ExemptionKind, HeartbeatMinute, Node, SweeperClock
from nodes.rules.lifecycle import Status
from nodes.sweeper import sweep
from tests.factories import NodeFactory, OrgFactory

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def long_running_console() -> None:
    SweeperClock.objects.create(last_run_at=NOW - timedelta(seconds=5), counting_from=NOW - timedelta(days=1))


def active(heard_ago: timedelta, **fields: object) -> Node:
    return NodeFactory.create(
        status=Status.ACTIVE,
        status_since=NOW - timedelta(minutes=10),
        last_heartbeat_at=NOW - heard_ago,
        **fields,
    )


def test_node_silent_for_five_minutes_goes_offline() -> None:
    silent, alive = active(timedelta(seconds=301)), active(timedelta(seconds=299))
    assert sweep(at=NOW).offline == 1
    silent.refresh_from_db()
    alive.refresh_from_db()
    assert (silent.status, silent.status_reason) == (Status.OFFLINE, "no_heartbeat")
    assert alive.status == Status.ACTIVE
    (transition,) = silent.transitions.all()
    assert transition.evidence["deadline_s"] == 300
    assert (transition.actor_kind, transition.actor_id) == ("system", "console")


def test_sweeping_again_changes_nothing_more() -> None:
    node = active(timedelta(minutes=6))
    assert [sweep(at=NOW).offline, sweep(at=NOW).offline] == [1, 0]
    assert node.transitions.count() == 1


@pytest.mark.parametrize("status", [Status.PENDING, Status.QUARANTINE, Status.OFFLINE])
def test_silence_moves_only_active_nodes(status: Status) -> None:
    node = NodeFactory.create(status=status, last_heartbeat_at=NOW - timedelta(days=1))
    sweep(at=NOW)
    node.refresh_from_db()
    assert node.status == status


def test_the_consoles_own_outage_takes_no_node_offline() -> None:
    node = active(timedelta(minutes=30))
    SweeperClock.objects.update(last_run_at=NOW - timedelta(minutes=30))
    assert sweep(at=NOW).offline == 0
    for seconds in range(5, 300, 5):
        assert sweep(at=NOW + timedelta(seconds=seconds)).offline == 0
    assert sweep(at=NOW + timedelta(seconds=300)).offline == 1
    node.refresh_from_db()
    assert node.status == Status.OFFLINE


def test_first_run_of_all_counts_from_itself() -> None:
    SweeperClock.objects.all().delete()
    active(timedelta(days=2))
    assert sweep(at=NOW).offline == 0
    assert SweeperClock.objects.get().counting_from == NOW


def test_deadline_is_a_setting(settings: Settings) -> None:
    settings.NODE_OFFLINE_AFTER_SECONDS = 20
    active(timedelta(seconds=21))
    assert sweep(at=NOW).offline == 1


def test_last_minute_of_a_silent_node_reaches_the_metrics_store() -> None:
    minute = NOW.replace(second=0) - timedelta(minutes=6)
    active(timedelta(minutes=6), beat_minute=minute, beats=4)
    sweep(at=NOW)
    assert Outbox.objects.get(kind="uptime").body["beats"] == 4


def beats(node: Node, per_minute: list[int]) -> None:
    first = NOW.replace(second=0) - timedelta(minutes=len(per_minute) + 1)
    HeartbeatMinute.objects.bulk_create(
        HeartbeatMinute(node=node, minute=first + timedelta(minutes=number), beats=count)
        for number, count in enumerate(per_minute)
    )


@pytest.mark.parametrize(
    ("per_minute", "quarantined"), [([6] * 48 + [0] * 12, 0), ([6] * 47 + [5] + [0] * 12, 1)]
)
def test_over_a_fifth_of_heartbeats_missed_in_an_hour_quarantines(
    per_minute: list[int], quarantined: int
) -> None:
    node = active(timedelta(seconds=5))
    Node.objects.update(status_since=NOW - timedelta(hours=2))
    beats(node, per_minute)
    assert sweep(at=NOW).quarantined == quarantined
    node.refresh_from_db()
    assert (node.status == Status.QUARANTINE) == bool(quarantined)


def test_bursts_do_not_make_up_for_silence() -> None:
    node = active(timedelta(seconds=5))
    Node.objects.update(status_since=NOW - timedelta(hours=2))
    beats(node, [24] * 15 + [0] * 45)
    assert sweep(at=NOW).quarantined == 1


def test_active_node_that_was_never_heard_goes_offline_too() -> None:
    node = NodeFactory.create(status=Status.ACTIVE, status_since=NOW - timedelta(minutes=6))
    assert sweep(at=NOW).offline == 1
    node.refresh_from_db()
    assert node.status == Status.OFFLINE


def test_heartbeat_that_comes_while_others_are_dealt_with_saves_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    active(timedelta(minutes=9))
    second = active(timedelta(minutes=8))

    def heard_meanwhile(*args: Any, **kwargs: Any) -> Any:
        Node.objects.filter(pk=second.pk).update(last_heartbeat_at=NOW)
        return happen(*args, **kwargs)

    monkeypatch.setattr(sweeper, "happen", heard_meanwhile)
    assert sweep(at=NOW).offline == 1
    second.refresh_from_db()
    assert second.status == Status.ACTIVE


def test_node_that_was_not_active_for_the_whole_hour_is_not_judged_by_it() -> None:
    node = active(timedelta(seconds=5))
    beats(node, [1] * 5)
    assert sweep(at=NOW).quarantined == 0


def test_missed_heartbeats_of_the_consoles_outage_count_for_nothing() -> None:
    node = active(timedelta(seconds=5))
    Node.objects.update(status_since=NOW - timedelta(hours=2))
    SweeperClock.objects.update(counting_from=NOW - timedelta(minutes=30))
    beats(node, [6] * 30)
    assert sweep(at=NOW).quarantined == 0


def test_reputation_under_40_quarantines() -> None:
    low, fair = active(timedelta(0), reputation="39.99"), active(timedelta(0), reputation="40")
    assert sweep(at=NOW).quarantined == 1
    low.refresh_from_db()
    fair.refresh_from_db()
    assert (low.status_reason, fair.status) == ("reputation_low", Status.ACTIVE)


@pytest.mark.parametrize(
    ("ended_ago", "reason"), [(-3600, "maintenance"), (0, "no_heartbeat"), (300, "no_heartbeat")]
)
def test_only_maintenance_that_still_lasts_is_the_reason_for_going_offline(
    ended_ago: int, reason: str
) -> None:
    """In the last case, the node was last heard a second before its maintenance ended."""
    node = active(timedelta(seconds=301))
    Exemption.objects.create(
        kind=ExemptionKind.MAINTENANCE,
        node=node,
        starts_at=NOW - timedelta(hours=1),
        ends_at=NOW - timedelta(seconds=ended_ago),
        created_by="owner@example.org",
    )
    sweep(at=NOW)
    node.refresh_from_db()
    assert (node.status, node.status_reason) == (Status.OFFLINE, reason)


def test_old_minutes_are_forgotten() -> None:
    node = active(timedelta(0))
    HeartbeatMinute.objects.create(node=node, minute=NOW - timedelta(days=3), beats=6)
    HeartbeatMinute.objects.create(node=node, minute=NOW - timedelta(days=1), beats=6)
    sweep(at=NOW)
    assert HeartbeatMinute.objects.count() == 1


def statuses() -> list[str]:
    return list(Node.objects.order_by("pk").values_list("status", flat=True))


def heartbeats(nodes: list[Node], at: datetime) -> None:
    Node.objects.filter(pk__in=[node.pk for node in nodes]).update(last_heartbeat_at=at)


def test_when_most_nodes_fall_silent_at_once_none_goes_offline() -> None:
    nodes = [active(timedelta(seconds=number)) for number in range(6)]
    for seconds in range(5, 900, 5):
        assert sweep(at=NOW + timedelta(seconds=seconds)) == sweeper.Swept(0, 0)
    assert set(statuses()) == {Status.ACTIVE}
    outage = Exemption.objects.get()
    assert (outage.kind, outage.region, outage.node, outage.ends_at) == (ExemptionKind.OUTAGE, "", None, None)
    assert outage.starts_at == NOW - timedelta(seconds=5)
    assert outage.message == "6 of 6 active nodes went silent at the same time."
    back = NOW + timedelta(seconds=900)
    heartbeats(nodes, back)
    sweep(at=back)
    outage.refresh_from_db()
    assert outage.ends_at == back
    assert [event.verb for event in AuditEvent.objects.order_by("pk")] == [
        "exemption.outage",
        "exemption.outage_ended",
    ]


def test_a_dead_minority_goes_offline_after_the_outage() -> None:
    living, dead = [active(timedelta(seconds=3)) for _ in range(4)], active(timedelta(seconds=200))
    for seconds in range(5, 600, 5):
        assert sweep(at=NOW + timedelta(seconds=seconds)).offline == 0
    end = NOW + timedelta(seconds=600)
    for seconds in range(0, 300, 5):
        heartbeats(living, end + timedelta(seconds=seconds))
        assert sweep(at=end + timedelta(seconds=seconds)).offline == 0
    heartbeats(living, end + timedelta(seconds=300))
    assert sweep(at=end + timedelta(seconds=300)).offline == 1
    dead.refresh_from_db()
    assert dead.status == Status.OFFLINE
    assert Exemption.objects.get().ends_at == end


def test_an_org_with_most_nodes_takes_itself_offline() -> None:
    org = OrgFactory.create()
    for _ in range(9):
        active(timedelta(seconds=0), org=org)
    others = [active(timedelta(seconds=0)) for _ in range(2)]
    offline = 0
    for seconds in range(5, 310, 5):
        heartbeats(others, NOW + timedelta(seconds=seconds))
        offline += sweep(at=NOW + timedelta(seconds=seconds)).offline
    assert offline == 9
    assert not Exemption.objects.exists()


def test_four_nodes_that_fall_silent_go_offline() -> None:
    for _ in range(4):
        active(timedelta(seconds=0))
    assert sum(sweep(at=NOW + timedelta(seconds=seconds)).offline for seconds in range(5, 310, 5)) == 4


def test_after_a_day_of_silence_the_majority_has_left() -> None:
    for _ in range(5):
        active(timedelta(seconds=90))
    sweep(at=NOW)
    SweeperClock.objects.update(last_run_at=NOW + timedelta(days=1))
    assert sweep(at=NOW + timedelta(days=1)).offline == 0
    assert Exemption.objects.filter(ends_at=None).count() == 0
    later = NOW + timedelta(days=1, minutes=5)
    SweeperClock.objects.update(last_run_at=later)
    # the same majority is no new outage: it fell silent long ago
    assert sweep(at=later).offline == 5


def test_what_goes_wrong_with_one_node_keeps_none_of_the_others_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, *others = [active(timedelta(minutes=6)) for _ in range(4)]

    def fail_for_the_bad(node_id: str, *args: Any, **kwargs: Any) -> Any:
        if node_id == bad.pk:
            raise ValueError("nonsense")
        return happen(node_id, *args, **kwargs)

    monkeypatch.setattr(sweeper, "happen", fail_for_the_bad)
    with capture_logs() as said:
        assert sweep(at=NOW).offline == 3
    assert [each["node_id"] for each in said if each["log_level"] == "error"] == [bad.pk]
    assert {node.pk for node in Node.objects.filter(status=Status.OFFLINE)} == {node.pk for node in others}
