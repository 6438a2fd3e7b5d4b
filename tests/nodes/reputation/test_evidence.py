"""PostgreSQL's rows become evidence, and that a reputation, by the minute and without exemptions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jatevo.accounts.models import Role, User
from jatevo.audit.models import AuditEvent
from jatevo.audit.record import SYSTEM
from nodes.actions import Measurement, happen, recompute, recompute_days, recompute_reputation, record_probe
from nodes.actions.exemptions import declare, note_outage, start_maintenance, withdraw
from nodes.models import HeartbeatMinute, Node, NodeHour, ReputationDay
from nodes.reputation.days import as_day, days_of, evidence_of
from nodes.reputation.evidence import observe, roll_up_minutes
from nodes.reputation.formula import Observation, ObservationKind
from nodes.rules.lifecycle import PROBE_FAILURES_TO_QUARANTINE, Event, Status
from nodes.rules.probes import ProbeKind
from tests.factories import NodeFactory, ReceiptFactory, UserFactory, ValidatorFactory

pytestmark = pytest.mark.django_db
MIDNIGHT = datetime(2026, 6, 1, tzinfo=UTC)
AT = MIDNIGHT + timedelta(hours=6, minutes=2)  # six hours are settled
DAY = MIDNIGHT.date()
ALL_HOUR = (1 << 60) - 1
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def node() -> Node:
    return NodeFactory.create(status=Status.ACTIVE, region="ap-southeast")


@pytest.fixture
def admin() -> User:
    return UserFactory.create(role=Role.ADMIN)


def heard(node: Node, *, hours: range = range(6), mask: int = ALL_HOUR, **counts: int) -> None:
    """Writes hours of heartbeats. The first hour that a test names has the node's first heartbeat."""
    first = MIDNIGHT + HOUR * hours[0] + MINUTE * ((mask & -mask).bit_length() - 1)
    Node.objects.filter(pk=node.pk, first_heard_at=None).update(first_heard_at=first)
    NodeHour.objects.bulk_create(
        NodeHour(node=node, hour=MIDNIGHT + HOUR * number, heard=mask, **counts) for number in hours
    )


def seen(node: Node, kind: ObservationKind, at: datetime = AT) -> Observation | None:
    day = observe(DAY, at=at)[node.pk]
    return next((each for each in day.observations if each.kind is kind), None)


def test_minutes_that_were_not_heard_are_counted(node: Node) -> None:
    heard(node, hours=range(5))
    heard(node, hours=range(5, 6), mask=ALL_HOUR & ~0b111)
    assert seen(node, ObservationKind.SILENCE) == Observation(ObservationKind.SILENCE, 3, 360)


def test_hours_without_heartbeats_are_silence(node: Node) -> None:
    heard(node, hours=range(2))
    assert seen(node, ObservationKind.SILENCE) == Observation(ObservationKind.SILENCE, 240, 360)


def test_a_node_is_expected_from_the_minute_it_was_first_heard(node: Node) -> None:
    heard(node, hours=range(4, 5), mask=ALL_HOUR & ~((1 << 30) - 1))
    heard(node, hours=range(5, 6))
    assert seen(node, ObservationKind.SILENCE) == Observation(ObservationKind.SILENCE, 0, 90)


def test_a_node_that_was_never_heard_has_no_evidence(node: Node) -> None:
    assert observe(DAY, at=AT) == {}
    recompute(at=AT)
    node.refresh_from_db()
    assert node.reputation is None


def test_the_last_two_minutes_are_not_judged_yet(node: Node) -> None:
    heard(node)
    assert seen(node, ObservationKind.SILENCE, AT + 5 * MINUTE) == Observation(
        ObservationKind.SILENCE, 5, 365
    )


def test_heartbeat_minutes_become_bits_and_bits_stay(node: Node) -> None:
    Node.objects.filter(pk=node.pk).update(beat_minute=MIDNIGHT + 62 * MINUTE, beats=3)
    for minute in (0, 59, 60):
        HeartbeatMinute.objects.create(node=node, minute=MIDNIGHT + minute * MINUTE, beats=6)
    assert roll_up_minutes(since=MIDNIGHT) == 2
    assert roll_up_minutes(since=MIDNIGHT) == 0
    HeartbeatMinute.objects.all().delete()
    roll_up_minutes(since=MIDNIGHT)
    hours = dict(NodeHour.objects.values_list("hour", "heard"))
    assert hours == {MIDNIGHT: 1 | 1 << 59, MIDNIGHT + HOUR: 0b101}


def test_probes_count_by_what_they_found(node: Node) -> None:
    validator = ValidatorFactory.create()
    for number, (kind, ok, p95_ms) in enumerate(
        [
            (ProbeKind.HEALTH, True, None),
            (ProbeKind.HEALTH, False, None),
            (ProbeKind.AUDIT, True, None),
            (ProbeKind.LATENCY, True, 300.0),
            (ProbeKind.LATENCY, True, 9000.0),
            (ProbeKind.LATENCY, False, None),
        ]
    ):
        at = MIDNIGHT + number * MINUTE
        record_probe(
            validator_id=validator.pk,
            measurement=Measurement(node.pk, kind, ok, ts=at, p95_ms=p95_ms),
            at=at,
        )
    heard(node, hours=range(1, 2))
    Node.objects.filter(pk=node.pk).update(status=Status.ACTIVE)
    assert (
        seen(node, ObservationKind.HEALTH) is None
    )  # before the node was first heard nothing is held against it
    Node.objects.update(first_heard_at=MIDNIGHT)
    assert seen(node, ObservationKind.HEALTH) == Observation(ObservationKind.HEALTH, 1, 2)
    assert seen(node, ObservationKind.AUDIT) == Observation(ObservationKind.AUDIT, 0, 1)
    assert seen(node, ObservationKind.LATENCY) == Observation(ObservationKind.LATENCY, 2, 3)


def test_receipts_and_forgeries_are_evidence(node: Node) -> None:
    heard(node)
    ReceiptFactory(node=node, at=MIDNIGHT + HOUR)
    ReceiptFactory(node=node, at=MIDNIGHT + HOUR, outcome="error")
    ReceiptFactory(node=node, at=MIDNIGHT - HOUR, outcome="error")  # another day's
    node.refused_receipts.create(
        reason="invalid_signature",
        request_id="r",
        raw=b"{}",
        sha256=b"1" * 32,
        public_key=b"2" * 32,
        received_at=MIDNIGHT + HOUR,
    )
    assert seen(node, ObservationKind.RECEIPT) == Observation(ObservationKind.RECEIPT, 1, 2)
    forged = seen(node, ObservationKind.FORGERY)
    assert forged is not None
    assert (forged.failed, forged.sentence) == (1, "1 receipt with a forged signature")


def test_quarantines_and_unannounced_outages_are_conduct(node: Node) -> None:
    heard(node)
    happen(node.pk, Event.SILENT, by=SYSTEM, at=MIDNIGHT + HOUR)
    assert seen(node, ObservationKind.CONDUCT) == Observation(
        ObservationKind.CONDUCT, 1, 10, note="Offline without announced maintenance once"
    )
    Node.objects.filter(pk=node.pk).update(status=Status.ACTIVE)
    happen(node.pk, Event.AUDIT_FAILED, by=SYSTEM, at=MIDNIGHT + 2 * HOUR)
    conduct = seen(node, ObservationKind.CONDUCT)
    assert conduct is not None
    assert (conduct.failed, conduct.total) == (6, 10)


@pytest.mark.parametrize(
    ("event", "at", "excused"),
    [
        (Event.PROBE_FAILED, 3 * HOUR + 20 * MINUTE, True),
        (Event.PROBE_FAILED, 4 * HOUR + 5 * MINUTE, False),
        (Event.HEARTBEATS_MISSED, 4 * HOUR + 5 * MINUTE, True),  # the hour that it looked back on
        (Event.HEARTBEATS_MISSED, 5 * HOUR + 5 * MINUTE, False),
        (Event.AUDIT_FAILED, 3 * HOUR + 20 * MINUTE, False),
        (Event.QUARANTINED_BY_ADMIN, 3 * HOUR + 20 * MINUTE, False),
    ],
)
def test_an_incident_excuses_a_quarantine_for_being_out_of_reach_and_no_other(
    node: Node, admin: User, event: Event, at: timedelta, excused: bool
) -> None:
    heard(node)
    window = {"starts_at": MIDNIGHT + 3 * HOUR, "ends_at": MIDNIGHT + 3 * HOUR + 50 * MINUTE}
    if event is Event.PROBE_FAILED:  # the last of a row
        Node.objects.filter(pk=node.pk).update(
            status=Status.PENDING, probing_since=MIDNIGHT, failed_probes=PROBE_FAILURES_TO_QUARANTINE - 1
        )
    assert happen(node.pk, event, by=SYSTEM, at=MIDNIGHT + at).move is not None
    before = seen(node, ObservationKind.CONDUCT)
    assert before is not None
    assert before.failed == 5
    declare(reference="incident:3", region=node.region, message="uplink", by=admin, at=AT, **window)
    after = seen(node, ObservationKind.CONDUCT)
    assert after is not None
    assert after.failed == (0 if excused else 5)


def test_a_quarantine_after_midnight_is_excused_by_an_incident_before(node: Node, admin: User) -> None:
    heard(node)
    happen(node.pk, Event.HEARTBEATS_MISSED, by=SYSTEM, at=MIDNIGHT + 10 * MINUTE)
    recompute(at=AT)
    late = {"starts_at": MIDNIGHT - 40 * MINUTE, "ends_at": MIDNIGHT - 5 * MINUTE}
    declare(reference="incident:4", region="", message="uplink", by=admin, at=AT, **late)
    conduct = seen(node, ObservationKind.CONDUCT)
    assert conduct is not None
    assert conduct.failed == 0


@pytest.mark.parametrize("of", ["node", "region", "network"])
def test_exempt_minutes_and_the_probes_of_their_hours_count_for_nothing(
    node: Node, admin: User, of: str
) -> None:
    heard(node, hours=range(2), health_passed=50)
    heard(node, hours=range(2, 6), mask=0, health_failed=60)
    since, until = MIDNIGHT + 2 * HOUR, MIDNIGHT + 5 * HOUR + 30 * MINUTE
    if of == "node":
        start_maintenance(node=node, message="new disk", by=admin, at=since, until=until)
    else:
        region = node.region if of == "region" else ""
        declare(
            reference="incident:1",
            region=region,
            starts_at=since,
            ends_at=until,
            message="uplink",
            by=admin,
            at=AT,
        )
    assert seen(node, ObservationKind.SILENCE) == Observation(ObservationKind.SILENCE, 30, 150, exempt=210)
    assert seen(node, ObservationKind.HEALTH) == Observation(ObservationKind.HEALTH, 0, 100)


def test_an_exemption_of_another_region_or_node_changes_nothing(node: Node, admin: User) -> None:
    heard(node, hours=range(2))
    rival = NodeFactory.create(region="us-east")
    start_maintenance(node=rival, message="x", by=admin, at=MIDNIGHT)
    declare(
        reference="incident:2", region="us-east", starts_at=MIDNIGHT, ends_at=AT, message="", by=admin, at=AT
    )
    assert seen(node, ObservationKind.SILENCE) == Observation(ObservationKind.SILENCE, 240, 360)


def test_the_consoles_own_outage_is_exempt(node: Node) -> None:
    heard(node, hours=range(2))
    note_outage(starts_at=MIDNIGHT + 2 * HOUR, ends_at=MIDNIGHT + 6 * HOUR, at=AT)
    assert seen(node, ObservationKind.SILENCE) == Observation(ObservationKind.SILENCE, 0, 120, exempt=240)


def test_recomputing_writes_r_and_the_days_and_twice_is_once(node: Node) -> None:
    heard(node, hours=range(3))
    assert recompute(at=AT) == 1
    day = ReputationDay.objects.get()
    node.refresh_from_db()
    assert day.day == DAY
    assert day.reliability is not None
    assert day.reliability == Decimal("50.00")
    assert day.correctness is None
    assert node.reputation is not None
    assert Decimal(60) < node.reputation < Decimal(75)
    computed_at = day.computed_at
    assert recompute(at=AT) == 0
    day.refresh_from_db()
    assert day.computed_at == computed_at


def test_some_nodes_are_recomputed_without_the_others(node: Node) -> None:
    other = NodeFactory.create()
    heard(node)
    heard(other)
    recompute(at=AT, node_ids=[node.pk])
    assert list(ReputationDay.objects.values_list("node_id", flat=True)) == [node.pk]


def test_shortly_after_midnight_yesterday_is_still_finished(node: Node) -> None:
    heard(node)
    recompute(at=MIDNIGHT + timedelta(days=1, hours=1))
    assert sorted(ReputationDay.objects.values_list("day", flat=True)) == [DAY, DAY + timedelta(days=1)]


def test_declaring_an_incident_afterwards_raises_r_and_withdrawing_takes_it_back(
    node: Node, admin: User
) -> None:
    heard(node, hours=range(2))
    heard(node, hours=range(2, 6), mask=0, health_failed=60)
    recompute(at=AT)
    node.refresh_from_db()
    before = node.reputation
    window = {"starts_at": MIDNIGHT + 2 * HOUR, "ends_at": MIDNIGHT + 6 * HOUR}
    declare(reference="incident:3", region=node.region, message="uplink", by=admin, at=AT, **window)
    recompute_days(since=window["starts_at"], until=AT, at=AT, node_ids=[node.pk])
    node.refresh_from_db()
    assert before is not None
    assert node.reputation is not None
    assert node.reputation > before
    assert withdraw(reference="incident:3", by=admin, at=AT)
    assert not withdraw(reference="incident:3", by=admin, at=AT)
    recompute_days(since=window["starts_at"], until=AT, at=AT, node_ids=[node.pk])
    node.refresh_from_db()
    assert node.reputation == before


def test_on_demand_it_is_audited(node: Node, admin: User) -> None:
    heard(node)
    assert recompute_reputation(node=node, by=admin, at=AT) == node.reputation
    assert AuditEvent.objects.get(verb="node.recompute_reputation").subject_id == node.pk


def test_a_day_survives_its_storage(node: Node) -> None:
    heard(node, hours=range(3), audits_failed=1, audits_passed=7)
    day = observe(DAY, at=AT)[node.pk]
    stored = as_day(DAY, evidence_of(day))
    assert sorted(stored.observations, key=str) == sorted(day.observations, key=str)
    recompute(at=AT)
    assert days_of(node.pk, today=DAY) == [stored]


def test_the_number_of_queries_does_not_depend_on_the_number_of_nodes() -> None:
    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            recompute(at=AT)
        return len(queries)

    heard(NodeFactory.create())
    recompute(at=AT)
    one = count()
    for _ in range(5):
        heard(NodeFactory.create())
    recompute(at=AT)
    assert count() == one
