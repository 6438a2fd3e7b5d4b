"""Announced maintenance, declared incidents and the console's own outages: requirements and effects."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections
from procrastinate.contrib.django.models import ProcrastinateJob

from jatevo.accounts.models import Role, User
from jatevo.audit.models import AuditEvent
from nodes.actions import (
    NotPossible,
    end_maintenance,
    start_maintenance,
)
from nodes.actions.exemptions import declare, withdraw
from nodes.maintenance import current_maintenance, maintenance_left
from nodes.models import Exemption, ExemptionKind, HeartbeatMinute, Node, PendingJudgement, SweeperClock
from nodes.rules.lifecycle import Status
from nodes.sweeper import start_counting, sweep
from nodes.tasks import judge_again
from tests.factories import NodeFactory, UserFactory

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def node() -> Node:
    return NodeFactory.create(status=Status.ACTIVE, status_since=NOW - DAY, last_heartbeat_at=NOW)


@pytest.fixture
def owner(node: Node) -> User:
    return UserFactory.create(org=node.org)


def test_maintenance_is_announced_with_a_message_and_audited(node: Node, owner: User) -> None:
    start_maintenance(node=node, message=" new disk ", by=owner, at=NOW, until=NOW + HOUR)
    found = current_maintenance(node, at=NOW)
    assert found is not None
    assert (found.message, found.ends_at, found.created_by) == ("new disk", NOW + HOUR, owner.email)
    event = AuditEvent.objects.get(verb="node.start_maintenance")
    assert (event.subject_id, event.reason) == (node.pk, "new disk")
    assert current_maintenance(node, at=NOW + HOUR) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"starts_at": NOW - 5 * HOUR}, "in the past"),
        ({"until": NOW - HOUR}, "after it starts"),
        ({"message": "  "}, "Enter a description"),
        ({"until": NOW + 8 * DAY}, "Only 7 d 0 h"),
    ],
)
def test_what_maintenance_cannot_be(node: Node, owner: User, fields: dict[str, object], said: str) -> None:
    with pytest.raises(NotPossible, match=said):
        start_maintenance(**{"node": node, "message": "x", "by": owner, "at": NOW, **fields})  # type: ignore[arg-type]
    assert not Exemption.objects.exists()
    assert not AuditEvent.objects.filter(verb="node.start_maintenance").exists()


def test_one_maintenance_at_a_time_also_announced_ones(node: Node, owner: User) -> None:
    start_maintenance(node=node, message="x", by=owner, at=NOW, starts_at=NOW + DAY, until=NOW + 2 * DAY)
    with pytest.raises(NotPossible, match="already"):
        start_maintenance(node=node, message="y", by=owner, at=NOW)
    assert Exemption.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_announces_maintenance() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    owner = UserFactory.create(org=node.org)
    start = threading.Barrier(8)

    def one(number: int) -> bool:
        try:
            start.wait()
            start_maintenance(
                node=node,
                message=f"{number}",
                by=owner,
                at=NOW,
                starts_at=NOW + number * HOUR,
                until=NOW + 7 * DAY,
            )
        except NotPossible:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(8))) == 1
    assert Exemption.objects.count() == 1


def test_maintenance_without_an_end_lasts_as_long_as_is_left(node: Node, owner: User) -> None:
    assert maintenance_left(node, at=NOW) == 7 * DAY
    start_maintenance(node=node, message="x", by=owner, at=NOW)
    end_maintenance(node=node, by=owner, at=NOW + 5 * DAY)
    assert maintenance_left(node, at=NOW + 5 * DAY) == 2 * DAY
    assert start_maintenance(node=node, message="x", by=owner, at=NOW + 5 * DAY).ends_at == NOW + 7 * DAY
    with pytest.raises(NotPossible, match="has used its 7 days"):
        start_maintenance(node=node, message="x", by=owner, at=NOW + 8 * DAY)
    # the first days leave the window
    assert maintenance_left(node, at=NOW + 16 * DAY) == 2 * DAY


def test_ending_what_was_only_announced_withdraws_it(node: Node, owner: User) -> None:
    start_maintenance(node=node, message="x", by=owner, at=NOW, starts_at=NOW + DAY)
    end_maintenance(node=node, by=owner, at=NOW + HOUR)
    assert not Exemption.objects.exists()
    with pytest.raises(NotPossible, match="not in maintenance"):
        end_maintenance(node=node, by=owner, at=NOW + HOUR)


def test_silence_in_maintenance_is_offline_for_that_reason(node: Node, owner: User) -> None:
    SweeperClock.objects.create(last_run_at=NOW, counting_from=NOW - DAY)
    start_maintenance(node=node, message="new disk", by=owner, at=NOW)
    Node.objects.update(status_since=NOW)
    SweeperClock.objects.update(last_run_at=NOW + timedelta(minutes=6))
    sweep(at=NOW + timedelta(minutes=6))
    node.refresh_from_db()
    assert (node.status, node.status_reason) == (Status.OFFLINE, "maintenance")
    assert node.transitions.get().evidence["announced"] == "new disk"


def test_missed_heartbeats_do_not_quarantine_who_is_exempt(node: Node, owner: User) -> None:
    SweeperClock.objects.create(last_run_at=NOW, counting_from=NOW - DAY)
    blamed = NodeFactory.create(
        status=Status.ACTIVE, status_since=NOW - DAY, last_heartbeat_at=NOW, region=node.region
    )
    for each in (node, blamed):
        HeartbeatMinute.objects.create(
            node=each, minute=NOW.replace(second=0) - 30 * timedelta(minutes=1), beats=6
        )
    start_maintenance(node=node, message="x", by=owner, at=NOW - HOUR * 2 / 3)
    assert sweep(at=NOW).quarantined == 1
    blamed.refresh_from_db()
    node.refresh_from_db()
    assert (node.status, blamed.status) == (Status.ACTIVE, Status.QUARANTINE)


@pytest.mark.parametrize(("heard", "quarantined"), [(42, 1), (50, 0)])
def test_a_minute_of_maintenance_does_not_excuse_the_rest_of_the_hour(
    node: Node, owner: User, heard: int, quarantined: int
) -> None:
    """A fifth of the 58 counted minutes may be missed. Heartbeats in exempt minutes compensate for none."""
    SweeperClock.objects.create(last_run_at=NOW, counting_from=NOW - DAY)
    last = NOW.replace(second=0) - timedelta(minutes=2)
    HeartbeatMinute.objects.bulk_create(
        HeartbeatMinute(node=node, minute=last - timedelta(minutes=back), beats=6) for back in range(heard)
    )
    start_maintenance(
        node=node, message="x", by=owner, at=last - timedelta(minutes=9), until=last - timedelta(minutes=8)
    )
    Node.objects.filter(pk=node.pk).update(status_since=NOW - DAY, last_heartbeat_at=NOW)
    assert sweep(at=NOW).quarantined == quarantined


@pytest.mark.parametrize("come_back", ["sweep", "start"])
def test_a_gap_of_the_console_is_noted_once(come_back: str) -> None:
    SweeperClock.objects.create(last_run_at=NOW - HOUR, counting_from=NOW - DAY)
    if come_back == "start":
        start_counting(at=NOW)
    sweep(at=NOW)
    sweep(at=NOW + timedelta(seconds=5))
    outage = Exemption.objects.get()
    assert (outage.kind, outage.starts_at, outage.ends_at) == (ExemptionKind.OUTAGE, NOW - HOUR, NOW)


def test_the_first_start_ever_is_no_outage() -> None:
    start_counting(at=NOW)
    assert not Exemption.objects.exists()


def test_a_declared_incident_changes_and_goes_by_its_reference(owner: User) -> None:
    admin = UserFactory.create(role=Role.ADMIN)
    fields = {"reference": "incident:9", "region": "us-east", "message": "uplink", "by": admin, "at": NOW}
    declare(starts_at=NOW - 3 * HOUR, ends_at=None, **fields)  # type: ignore[arg-type]
    declare(starts_at=NOW - 2 * HOUR, ends_at=NOW - HOUR, **fields)  # type: ignore[arg-type]
    assert Exemption.objects.get().starts_at == NOW - 2 * HOUR
    # the second declaration concerns the window before and the window after
    assert PendingJudgement.objects.filter(region="us-east").count() == 3
    assert ProcrastinateJob.objects.filter(task_name="nodes.judge_again").exists()
    judge_again()  # what the worker does with it
    assert not PendingJudgement.objects.exists()
    assert withdraw(reference="incident:9", by=admin, at=NOW)
    assert not Exemption.objects.exists()
    assert AuditEvent.objects.filter(verb__startswith="exemption.").count() == 3


def test_an_exemption_declared_for_later_judges_no_node_yet() -> None:
    admin = UserFactory.create(role=Role.ADMIN)
    declare(
        reference="incident:8", region="", starts_at=NOW + DAY, ends_at=None, message="", by=admin, at=NOW
    )
    assert not PendingJudgement.objects.exists()
