"""An exemption excuses probes, outages and quarantines of its minutes, and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from jatevo.accounts.models import Role, User
from jatevo.audit.record import SYSTEM
from nodes.actions import Measurement, declare, happen, note_outage, record_probe, start_maintenance
from nodes.actions.exemptions import begin_outage, end_outage
from nodes.actions.reputation import recompute
from nodes.models import Exemption, ExemptionKind, Node, NodeHour, NodeTransition, ReputationDay
from nodes.reputation.evidence import observe
from nodes.reputation.formula import Observation, ObservationKind
from nodes.rules.common_silence import CommonSilence
from nodes.rules.lifecycle import Event, Phase, Reason, Status
from nodes.rules.probes import ProbeFault, ProbeKind
from tests.factories import NodeFactory, UserFactory, ValidatorFactory

pytestmark = pytest.mark.django_db
MIDNIGHT = datetime(2026, 6, 1, tzinfo=UTC)
AT = MIDNIGHT + timedelta(hours=6, minutes=2)
DAY = MIDNIGHT.date()
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ALL_HOUR = (1 << 60) - 1


@pytest.fixture
def node() -> Node:
    made: Node = NodeFactory.create(status=Status.ACTIVE, region="ap-southeast", first_heard_at=MIDNIGHT)
    NodeHour.objects.bulk_create(
        NodeHour(node=made, hour=MIDNIGHT + HOUR * number, heard=ALL_HOUR) for number in range(6)
    )
    return made


@pytest.fixture
def admin() -> User:
    return UserFactory.create(role=Role.ADMIN)


def seen(node: Node, kind: ObservationKind) -> Observation | None:
    day = observe(DAY, at=AT).get(node.pk)
    return next((each for each in day.observations if each.kind is kind), None) if day else None


def incident(admin: User, since: timedelta, until: timedelta, region: str = "") -> None:
    declare(
        reference=f"incident:{since}",
        region=region,
        starts_at=MIDNIGHT + since,
        ends_at=MIDNIGHT + until,
        message="uplink",
        by=admin,
        at=AT,
    )


def maintenance(
    node: Node, since: timedelta, until: timedelta, *, announced: timedelta | None = None
) -> None:
    Exemption.objects.create(
        kind=ExemptionKind.MAINTENANCE,
        node=node,
        starts_at=MIDNIGHT + since,
        ends_at=MIDNIGHT + until,
        created_by="owner@example.org",
        created_at=MIDNIGHT + (since if announced is None else announced),
    )


def probe_every_minute(node: Node, since: timedelta, until: timedelta, *, ok: bool) -> None:
    validator = ValidatorFactory.create()
    for number in range(int((until - since) / MINUTE)):
        at = MIDNIGHT + since + number * MINUTE
        for kind in (ProbeKind.HEALTH, ProbeKind.LATENCY):
            measurement = Measurement(node.pk, kind, ok, ts=at, p95_ms=100.0 if ok else None)
            record_probe(validator_id=validator.pk, measurement=measurement, at=at)


def fell(node: Node, at: timedelta, reason: Reason, to: Phase = Phase.QUARANTINE, detail: str = "") -> None:
    NodeTransition.objects.create(
        node=node,
        at=MIDNIGHT + at,
        from_status=Phase.ACTIVE,
        to_status=to,
        reason=reason,
        actor_kind="system",
        actor_id="console",
        evidence={"detail": detail},
    )


def breaches(node: Node) -> int:
    conduct = seen(node, ObservationKind.CONDUCT)
    assert conduct is not None
    return conduct.failed


# --- probes


@pytest.mark.parametrize("ok", [True, False])
def test_a_minute_of_maintenance_excuses_only_the_probes_of_that_minute(node: Node, ok: bool) -> None:
    probe_every_minute(node, HOUR, 2 * HOUR, ok=ok)
    maintenance(node, HOUR + 20 * MINUTE, HOUR + 21 * MINUTE)
    failed = 0 if ok else 59
    assert seen(node, ObservationKind.HEALTH) == Observation(ObservationKind.HEALTH, failed, 59)
    assert seen(node, ObservationKind.LATENCY) == Observation(ObservationKind.LATENCY, failed, 59)


def test_a_minute_of_maintenance_in_every_hour_does_not_hide_what_fails(node: Node) -> None:
    probe_every_minute(node, timedelta(0), 3 * HOUR, ok=False)
    for number in range(6):
        maintenance(node, number * HOUR, number * HOUR + MINUTE)
    health = seen(node, ObservationKind.HEALTH)
    assert health is not None
    assert (health.failed, health.total) == (3 * 59, 3 * 59)


def test_probes_of_hours_that_are_wholly_exempt_count_for_nothing(node: Node, admin: User) -> None:
    probe_every_minute(node, HOUR, 4 * HOUR, ok=False)
    incident(admin, HOUR + 30 * MINUTE, 3 * HOUR + 30 * MINUTE)
    assert seen(node, ObservationKind.HEALTH) == Observation(ObservationKind.HEALTH, 60, 60)


def test_a_slow_probe_stays_slow_in_an_hour_that_is_counted_one_by_one(
    node: Node, settings: Settings
) -> None:
    validator = ValidatorFactory.create()
    for number, p95_ms in enumerate(
        (settings.REPUTATION_P95_TARGET_MS, settings.REPUTATION_P95_TARGET_MS + 1)
    ):
        at = MIDNIGHT + HOUR + number * MINUTE
        measurement = Measurement(node.pk, ProbeKind.LATENCY, ok=True, ts=at, p95_ms=p95_ms)
        record_probe(validator_id=validator.pk, measurement=measurement, at=at)
    maintenance(node, HOUR + 20 * MINUTE, HOUR + 21 * MINUTE)
    assert seen(node, ObservationKind.LATENCY) == Observation(ObservationKind.LATENCY, 1, 2)


def test_probes_count_while_the_console_was_away_in_part_of_the_hour(node: Node) -> None:
    """No probe arrived while it was down. Those that arrived were measured by validators."""
    probe_every_minute(node, HOUR, HOUR + 30 * MINUTE, ok=False)
    note_outage(starts_at=MIDNIGHT + HOUR + 29 * MINUTE, ends_at=MIDNIGHT + HOUR + 40 * MINUTE, at=AT)
    assert seen(node, ObservationKind.HEALTH) == Observation(ObservationKind.HEALTH, 30, 30)


def test_probes_fail_for_nothing_while_most_of_the_network_is_silent(node: Node) -> None:
    """The console was up, but the path to the nodes was broken."""
    probe_every_minute(node, HOUR, HOUR + 30 * MINUTE, ok=False)
    silence = CommonSilence(MIDNIGHT + HOUR + 5 * MINUTE, silent=5, active=5, silent_orgs=5, orgs=5)
    outage = begin_outage(silence, at=MIDNIGHT + HOUR + 8 * MINUTE)
    assert seen(node, ObservationKind.HEALTH) == Observation(ObservationKind.HEALTH, 5, 5)
    end_outage(outage, at=MIDNIGHT + HOUR + 25 * MINUTE)
    assert seen(node, ObservationKind.HEALTH) == Observation(ObservationKind.HEALTH, 10, 10)


@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        (ProbeFault.TIMEOUT, False),
        (ProbeFault.BAD_STATUS, False),
        (ProbeFault.BAD_SIGNATURE, True),
        (ProbeFault.BAD_ANSWER, True),
        (ProbeFault.WRONG_OUTPUT, True),
        (None, False),  # a validator that does not say why
    ],
)
@pytest.mark.parametrize("whole_hour", [True, False])
def test_an_audit_that_was_answered_wrongly_is_never_exempt(
    node: Node, admin: User, fault: ProbeFault | None, counts: bool, whole_hour: bool
) -> None:
    at = MIDNIGHT + HOUR + 20 * MINUTE
    audit = Measurement(node.pk, ProbeKind.AUDIT, ok=False, ts=at, fault=fault, detail="wrong signature")
    record_probe(validator_id=ValidatorFactory.create().pk, measurement=audit, at=at)
    incident(admin, HOUR, 2 * HOUR if whole_hour else HOUR + 30 * MINUTE)
    assert seen(node, ObservationKind.AUDIT) == (Observation(ObservationKind.AUDIT, 1, 1) if counts else None)
    assert breaches(node) == (5 if counts else 0)


# --- outages and quarantines


@pytest.mark.parametrize(
    ("offline_at", "excused"),
    [
        (HOUR - SECOND, False),
        (HOUR + MINUTE, True),
        (HOUR + 30 * MINUTE, True),
        # the silence began in it: offline comes five minutes after the last heartbeat
        (HOUR + 34 * MINUTE + 59 * SECOND, True),
        (HOUR + 35 * MINUTE + SECOND, False),
        # an hour that is touched excuses nothing else
        (HOUR + 50 * MINUTE, False),
    ],
)
def test_an_outage_is_excused_if_its_silence_began_in_an_exempt_time(
    node: Node, admin: User, offline_at: timedelta, excused: bool
) -> None:
    fell(node, offline_at, Reason.NO_HEARTBEAT, Phase.OFFLINE)
    assert breaches(node) == 1
    incident(admin, HOUR, HOUR + 30 * MINUTE)
    assert breaches(node) == (0 if excused else 1)


def test_how_far_an_outage_looks_back_is_the_deadline_that_is_set(
    node: Node, admin: User, settings: Settings
) -> None:
    fell(node, HOUR + 34 * MINUTE, Reason.NO_HEARTBEAT, Phase.OFFLINE)
    incident(admin, HOUR, HOUR + 30 * MINUTE)
    settings.NODE_OFFLINE_AFTER_SECONDS = 60
    assert breaches(node) == 1


def test_an_outage_after_midnight_that_began_before_it_is_excused(node: Node, admin: User) -> None:
    fell(node, 3 * MINUTE, Reason.NO_HEARTBEAT, Phase.OFFLINE)
    incident(admin, -30 * MINUTE, -MINUTE)
    assert breaches(node) == 0


@pytest.mark.parametrize(("announced", "excused"), [(-10 * MINUTE, True), (30 * SECOND, False)])
def test_maintenance_excuses_what_comes_after_it_was_announced(
    node: Node, announced: timedelta, excused: bool
) -> None:
    fell(node, HOUR, Reason.NO_HEARTBEAT, Phase.OFFLINE)
    maintenance(node, HOUR - 30 * SECOND, HOUR + 30 * SECOND, announced=HOUR + announced)
    assert breaches(node) == (0 if excused else 1)


def test_maintenance_announced_after_the_fact_does_not_wipe_the_outage_of_its_hour(
    node: Node, admin: User
) -> None:
    fell(node, HOUR + 10 * MINUTE, Reason.NO_HEARTBEAT, Phase.OFFLINE)
    now = MIDNIGHT + HOUR + 40 * MINUTE
    start_maintenance(node=node, message="a minute", by=admin, at=now, until=now + MINUTE)
    assert breaches(node) == 1


@pytest.mark.parametrize(("until", "excused"), [(2 * SECOND, True), (-8 * SECOND, False)])
def test_three_failed_probes_are_excused_if_the_first_of_them_is(
    node: Node, admin: User, until: timedelta, excused: bool
) -> None:
    Node.objects.update(status=Status.PENDING, probing_since=MIDNIGHT)
    validator = ValidatorFactory.create()
    for number in range(3):
        at = MIDNIGHT + HOUR + 7 * number * SECOND
        failed = Measurement(node.pk, ProbeKind.HEALTH, ok=False, ts=at)
        record_probe(validator_id=validator.pk, measurement=failed, at=at)
    assert node.transitions.get().reason == Reason.PROBES_FAILED
    assert breaches(node) == 5
    incident(admin, 30 * MINUTE, HOUR + until)
    assert breaches(node) == (0 if excused else 5)


def test_policy_is_judged_on_a_wholly_exempt_day(node: Node, admin: User) -> None:
    incident(admin, timedelta(0), timedelta(days=1))
    happen(node.pk, Event.QUARANTINED_BY_ADMIN, by=SYSTEM, at=MIDNIGHT + HOUR, reason="fraud in the making")
    assert breaches(node) == 5


def test_policy_is_judged_of_a_node_of_which_nothing_else_is_known() -> None:
    node = NodeFactory.create(status=Status.PENDING)
    happen(node.pk, Event.QUARANTINED_BY_ADMIN, by=SYSTEM, at=MIDNIGHT + HOUR)
    assert breaches(node) == 5


def test_a_day_that_shows_nothing_any_more_is_forgotten(admin: User) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    fell(node, HOUR, Reason.NO_HEARTBEAT, Phase.OFFLINE)
    recompute(at=AT)
    assert ReputationDay.objects.filter(node=node).exists()
    incident(admin, timedelta(0), 2 * HOUR)
    recompute(at=AT)
    node.refresh_from_db()
    assert not ReputationDay.objects.filter(node=node).exists()
    assert node.reputation is None
