"""Quarantine for an SLO breach: too slow in most latency probes of six hours."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from jatevo.audit.record import SYSTEM
from nodes.actions import Measurement, happen, record_probe
from nodes.models import Exemption, ExemptionKind, Node, SweeperClock, Validator
from nodes.reputation.evidence import observe
from nodes.reputation.formula import ObservationKind
from nodes.rules.explanations import explain
from nodes.rules.lifecycle import Event, Phase, Reason, Status
from nodes.rules.probes import ProbeFault, ProbeKind
from nodes.sweeper import sweep
from tests.factories import NodeFactory, ValidatorFactory

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
FAST, SLOW = 500.0, 2500.0


@pytest.fixture(autouse=True)
def console_that_judges_no_heartbeats_yet() -> None:
    SweeperClock.objects.create(last_run_at=NOW, counting_from=NOW - 30 * MINUTE)


@pytest.fixture
def validator() -> Validator:
    return ValidatorFactory.create()


def active(**fields: Any) -> Node:
    values = {"status_since": NOW - timedelta(days=1), "first_heard_at": NOW - timedelta(days=1), **fields}
    return NodeFactory.create(status=Status.ACTIVE, last_heartbeat_at=NOW, **values)


def probed(
    node: Node, validator: Validator, p95s: Sequence[float | None], *, until: datetime = NOW - MINUTE
) -> None:
    """Writes a latency probe every ten minutes, the last one at `until`. None is a failed probe."""
    for number, p95_ms in enumerate(reversed(p95s)):
        at = until - number * 10 * MINUTE
        fault = ProbeFault.TIMEOUT if p95_ms is None else None
        told = Measurement(
            node.pk, ProbeKind.LATENCY, ok=p95_ms is not None, ts=at, fault=fault, p95_ms=p95_ms
        )
        record_probe(validator_id=validator.pk, measurement=told, at=at)


def test_too_slow_in_most_probes_of_six_hours_quarantines_with_its_figures(validator: Validator) -> None:
    node = active()
    probed(node, validator, [SLOW] * 16 + [FAST] * 14)
    assert sweep(at=NOW).quarantined == 1
    node.refresh_from_db()
    assert (node.status, node.status_reason) == (Status.QUARANTINE, Reason.SLO_BREACHED)
    assert node.transitions.get().evidence == {
        "target_ms": 2000.0,
        "probes": 30,
        "over_target": 16,
        "median_p95_ms": SLOW,
        "worst_p95_ms": SLOW,
        "from": (NOW - 6 * HOUR).isoformat(),
        "to": NOW.isoformat(),
    }
    told = explain(Phase.QUARANTINE, node.status_reason, offline_after=5 * MINUTE)
    assert "in most latency probes over 6 hours" in told.what
    assert "3 passed audits" in told.next


@pytest.mark.parametrize(
    ("p95s", "quarantined"),
    [
        ([SLOW] * 15 + [FAST] * 15, False),  # half is not most
        ([SLOW] * 29, False),  # too few to judge by
        ([2000.0] * 30, False),  # within the target
        ([SLOW] * 15 + [None] * 15, False),  # what was not measured is judged by health, not by speed
        ([SLOW] * 30, True),
    ],
)
def test_most_of_enough_probes(validator: Validator, p95s: Sequence[float | None], quarantined: bool) -> None:
    probed(active(), validator, p95s)
    assert bool(sweep(at=NOW).quarantined) is quarantined


def test_older_probes_do_not_count(validator: Validator) -> None:
    probed(active(), validator, [SLOW] * 30, until=NOW - 2 * HOUR)
    assert sweep(at=NOW).quarantined == 0


@pytest.mark.parametrize("kind", list(ExemptionKind))
def test_exempt_times_do_not_count(validator: Validator, kind: ExemptionKind, settings: Settings) -> None:
    settings.SLO_LEAST_PROBES = 10
    node = active()
    probed(node, validator, [FAST] * 14 + [SLOW] * 20)
    Exemption.objects.create(
        kind=kind,
        node=node if kind is ExemptionKind.MAINTENANCE else None,
        starts_at=NOW - HOUR,
        ends_at=NOW,
        created_by="somebody",
    )
    assert sweep(at=NOW).quarantined == 0  # of 28 that are left 14 are slow
    Exemption.objects.update(starts_at=NOW - MINUTE / 2)
    assert sweep(at=NOW).quarantined == 1


def test_a_runtime_may_have_its_own_target(validator: Validator, settings: Settings) -> None:
    settings.P95_TARGETS_MS = {"vllm": 300.0, "ollama": 4000.0}
    settings.SLO_LEAST_PROBES = 5
    ollama, vllm, tgi = (active(runtime=runtime) for runtime in ("ollama", "vllm", "tgi"))
    for node in (ollama, vllm, tgi):
        probed(node, validator, [FAST] * 4 + [SLOW] * 2)
    assert sweep(at=NOW).quarantined == 1
    vllm.refresh_from_db()
    assert vllm.status_reason == Reason.SLO_BREACHED
    assert vllm.transitions.get().evidence["target_ms"] == 300.0
    # the reputation goes by the same target, also where probes are counted one by one
    Exemption.objects.create(
        kind=ExemptionKind.INCIDENT,
        starts_at=NOW - 28 * MINUTE,
        ends_at=NOW - 27 * MINUTE - MINUTE / 2,
        created_by="x",
    )
    day = observe(NOW.date(), at=NOW + HOUR)
    slow = {
        pk: each.failed
        for pk, seen in day.items()
        for each in seen.observations
        if each.kind is ObservationKind.LATENCY
    }
    assert slow == {ollama.pk: 0, vllm.pk: 6, tgi.pk: 2}


def test_three_passed_audits_end_it_and_old_probes_do_not_bring_it_back(validator: Validator) -> None:
    node = active()
    probed(node, validator, [SLOW] * 30)
    sweep(at=NOW)
    for number in range(3):
        at = NOW + number * MINUTE
        audit = Measurement(node.pk, ProbeKind.AUDIT, ok=True, ts=at)
        record_probe(validator_id=validator.pk, measurement=audit, at=at)
    node.refresh_from_db()
    assert (node.status, node.status_reason) == (Status.ACTIVE, Reason.AUDITS_PASSED)
    Node.objects.update(last_heartbeat_at=NOW + 10 * MINUTE)
    SweeperClock.objects.update(last_run_at=NOW + 10 * MINUTE)
    assert sweep(at=NOW + 10 * MINUTE).quarantined == 0


def test_only_active_nodes_are_judged(validator: Validator) -> None:
    node = active()
    probed(node, validator, [SLOW] * 30)
    happen(node.pk, Event.SILENT, by=SYSTEM, at=NOW)
    assert sweep(at=NOW).quarantined == 0
