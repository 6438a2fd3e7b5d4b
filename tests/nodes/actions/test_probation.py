"""After a quarantine that was cleared while R was low, a node is on probation until R falls further."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jatevo.accounts.models import Org, Role
from jatevo.audit.record import SYSTEM
from nodes.actions import Beat, Measurement, clear, happen, heartbeat, quarantine, recompute, record_probe
from nodes.models import Node, NodeHour, SweeperClock
from nodes.reputation.evidence import observe
from nodes.reputation.formula import ObservationKind
from nodes.rules.lifecycle import REPUTATION_FLOOR, Event, Reason, Status, reputation_is_low
from nodes.rules.probes import ProbeKind
from nodes.sweeper import sweep
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, UserFactory, ValidatorFactory

NOW = datetime(2026, 6, 14, 12, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
HALF_HEARD = (1 << 30) - 1


@pytest.fixture
def bad() -> Node:
    """A node that was up half of four days and failed every probe. R is about 22."""
    node: Node = NodeFactory.create(
        status=Status.ACTIVE, status_since=NOW - 10 * MINUTE, first_heard_at=NOW - timedelta(days=4)
    )
    NodeHour.objects.bulk_create(
        NodeHour(
            node=node,
            hour=NOW.replace(minute=0) - HOUR * back,
            heard=HALF_HEARD,
            health_failed=60,
            audits_failed=1,
            latency_slow=60,
        )
        for back in range(95, -1, -1)
    )
    SweeperClock.objects.create(last_run_at=NOW, counting_from=NOW - timedelta(days=1))
    return node


def pass_time(node: Node, at: datetime, *, minutes: int) -> datetime:
    """Runs the worker's jobs every minute while the node is heard."""
    for _ in range(minutes):
        at += MINUTE
        Node.objects.filter(pk=node.pk).update(last_heartbeat_at=at)
        SweeperClock.objects.update(last_run_at=at)
        if at.minute % 5 == 0:
            recompute(at=at)
        sweep(at=at)
    node.refresh_from_db()
    return at


def fall(node: Node) -> None:
    """Turns heard minutes into silence, so that R falls further."""
    NodeHour.objects.filter(node=node).update(heard=1)


@pytest.mark.django_db
@pytest.mark.parametrize("way", ["audits", "admin"])
def test_who_was_cleared_stays_in_service_until_r_falls_further(bad: Node, way: str) -> None:
    at = pass_time(bad, NOW, minutes=5)
    assert (bad.status, bad.status_reason) == (Status.QUARANTINE, Reason.REPUTATION_LOW)
    cleared_at = bad.reputation
    assert cleared_at is not None
    assert cleared_at < REPUTATION_FLOOR
    validator = ValidatorFactory.create()
    if way == "audits":
        for number in range(3):
            audit = Measurement(bad.pk, ProbeKind.AUDIT, ok=True, ts=at + number * MINUTE)
            record_probe(validator_id=validator.pk, measurement=audit, at=at)
        bad.refresh_from_db()
        assert bad.status == Status.ACTIVE
    else:
        clear(node=bad, by=UserFactory.create(role=Role.ADMIN), reason="We know the machine", at=at)
        heartbeat(node_id=bad.pk, beat=Beat(ts=at.timestamp(), metrics={}), at=at)
        health = Measurement(bad.pk, ProbeKind.HEALTH, ok=True, ts=at)
        record_probe(validator_id=validator.pk, measurement=health, at=at)
    bad.refresh_from_db()
    pardoned = bad.pardoned_reputation
    assert pardoned is not None
    assert abs(pardoned - cleared_at) < 1

    at = pass_time(bad, at, minutes=30)
    assert bad.status == Status.ACTIVE
    assert bad.transitions.filter(to_status="quarantine").count() == 1

    fall(bad)
    at = pass_time(bad, at, minutes=6)
    assert (bad.status, bad.status_reason) == (Status.QUARANTINE, Reason.REPUTATION_LOW)
    last = bad.transitions.filter(to_status="quarantine").order_by("-id")[0]
    assert last.evidence["pardoned_at"] == str(pardoned)
    # and out again, at the R of now
    for _ in range(3):
        happen(bad.pk, Event.AUDIT_PASSED, by=SYSTEM, at=at)
    pass_time(bad, at, minutes=20)
    assert bad.status == Status.ACTIVE
    assert bad.pardoned_reputation is not None
    assert bad.pardoned_reputation < pardoned - 1


@pytest.mark.django_db
def test_a_pardon_is_forgotten_once_r_is_good_again(bad: Node) -> None:
    at = pass_time(bad, NOW, minutes=5)
    for _ in range(3):
        happen(bad.pk, Event.AUDIT_PASSED, by=SYSTEM, at=at)
    NodeHour.objects.filter(node=bad).update(
        heard=(1 << 60) - 1, health_failed=0, health_passed=60, audits_failed=0, audits_passed=1
    )
    recompute(at=at)
    bad.refresh_from_db()
    assert bad.reputation is not None
    assert bad.reputation >= REPUTATION_FLOOR
    assert bad.pardoned_reputation is None


@pytest.mark.django_db
def test_a_quarantine_that_ends_with_a_good_r_leaves_no_pardon() -> None:
    node = NodeFactory.create(status=Status.QUARANTINE, reputation="40.00", pardoned_reputation="12.00")
    for _ in range(3):
        happen(node.pk, Event.AUDIT_PASSED, by=SYSTEM, at=NOW)
    node.refresh_from_db()
    assert (node.status, node.pardoned_reputation) == (Status.ACTIVE, None)


@pytest.mark.django_db
def test_what_an_admin_clears_is_what_is_known_by_then(bad: Node) -> None:
    """R was last computed before the cause of the quarantine, which must not undo the clear."""
    admin = UserFactory.create(role=Role.ADMIN)
    Node.objects.filter(pk=bad.pk).update(reputation="70.00")
    bad.refresh_from_db()
    quarantine(node=bad, by=admin, reason="odd", at=NOW)
    clear(node=bad, by=admin, reason="explained", at=NOW)
    bad.refresh_from_db()
    assert bad.pardoned_reputation is not None
    assert bad.pardoned_reputation == bad.reputation


@pytest.mark.django_db
def test_a_quarantine_for_low_reputation_is_no_breach_of_policy(bad: Node) -> None:
    pass_time(bad, NOW, minutes=5)
    assert bad.transitions.get().reason == Reason.REPUTATION_LOW
    (conduct,) = [
        each
        for each in observe(NOW.date(), at=NOW + HOUR)[bad.pk].observations
        if each.kind is ObservationKind.CONDUCT
    ]
    assert conduct.failed == 0


@pytest.mark.parametrize(
    ("reputation", "pardoned", "low"),
    [
        (None, None, False),
        ("39.99", None, True),
        ("40.00", None, False),
        ("30.00", "30.00", False),
        ("29.00", "30.00", False),
        ("28.99", "30.00", True),
        ("39.00", "30.00", False),
        ("40.00", "45.00", False),
    ],
)
def test_only_a_fall_is_judged(reputation: str | None, pardoned: str | None, low: bool) -> None:
    r = None if reputation is None else Decimal(reputation)
    assert reputation_is_low(r, pardoned=None if pardoned is None else Decimal(pardoned)) is low


hundredths = st.decimals(0, 100, places=2)


@given(hundredths, hundredths)
def test_a_pardon_never_makes_it_worse_and_the_r_that_was_pardoned_is_never_low(
    r: Decimal, at: Decimal
) -> None:
    assert reputation_is_low(r, pardoned=None) or not reputation_is_low(r, pardoned=at)
    assert not reputation_is_low(r, pardoned=r)


@pytest.mark.django_db
def test_the_page_says_that_it_is_on_probation(org: Org) -> None:
    node = NodeFactory.create(org=org, status=Status.ACTIVE, reputation="30.50", pardoned_reputation="30.00")
    browser = Browser().hold_session(make_user(Role.OPERATOR, org=org))
    page = text_of(browser.get(f"/nodes/{node.pk}/"))
    assert "In service, on probation. It was cleared at R 30.00, and a further fall quarantines it." in page
    Node.objects.update(pardoned_reputation=None)
    assert "on probation" not in text_of(browser.get(f"/nodes/{node.pk}/"))
