"""Each row of the node lifecycle that the PRD (§9) and the design specify, and no others."""

import itertools

import pytest

from nodes.rules.lifecycle import (
    Event,
    LifecycleState,
    Phase,
    Reason,
    Status,
    step,
)

REGISTERED, PROBING, ACTIVE, QUARANTINE, OFFLINE = Phase

# (from, event, to, reason): every single event that moves a node at once.
ROWS = [
    (REGISTERED, Event.HEARTBEAT, PROBING, Reason.FIRST_HEARTBEAT),
    (REGISTERED, Event.RECEIPT_FORGED, QUARANTINE, Reason.RECEIPT_FORGED),
    (REGISTERED, Event.FRAUD_SUSPECTED, QUARANTINE, Reason.FRAUD_SUSPECTED),
    (REGISTERED, Event.RELATED_TO_FRAUD, QUARANTINE, Reason.RELATED_TO_FRAUD),
    (REGISTERED, Event.AUDIT_FAILED, QUARANTINE, Reason.AUDIT_FAILED),
    (REGISTERED, Event.QUARANTINED_BY_ADMIN, QUARANTINE, Reason.ADMIN),
    (PROBING, Event.PROBE_PASSED, ACTIVE, Reason.PROBE_PASSED),
    (PROBING, Event.RECEIPT_FORGED, QUARANTINE, Reason.RECEIPT_FORGED),
    (PROBING, Event.FRAUD_SUSPECTED, QUARANTINE, Reason.FRAUD_SUSPECTED),
    (PROBING, Event.RELATED_TO_FRAUD, QUARANTINE, Reason.RELATED_TO_FRAUD),
    (PROBING, Event.AUDIT_FAILED, QUARANTINE, Reason.AUDIT_FAILED),
    (PROBING, Event.QUARANTINED_BY_ADMIN, QUARANTINE, Reason.ADMIN),
    (ACTIVE, Event.SILENT, OFFLINE, Reason.NO_HEARTBEAT),
    (ACTIVE, Event.SILENT_IN_MAINTENANCE, OFFLINE, Reason.MAINTENANCE),
    (ACTIVE, Event.HEARTBEATS_MISSED, QUARANTINE, Reason.HEARTBEATS_MISSED),
    (ACTIVE, Event.REPUTATION_LOW, QUARANTINE, Reason.REPUTATION_LOW),
    (ACTIVE, Event.SLO_BREACHED, QUARANTINE, Reason.SLO_BREACHED),
    (ACTIVE, Event.AUDIT_FAILED, QUARANTINE, Reason.AUDIT_FAILED),
    (ACTIVE, Event.RECEIPT_FORGED, QUARANTINE, Reason.RECEIPT_FORGED),
    (ACTIVE, Event.FRAUD_SUSPECTED, QUARANTINE, Reason.FRAUD_SUSPECTED),
    (ACTIVE, Event.RELATED_TO_FRAUD, QUARANTINE, Reason.RELATED_TO_FRAUD),
    (ACTIVE, Event.QUARANTINED_BY_ADMIN, QUARANTINE, Reason.ADMIN),
    (OFFLINE, Event.HEARTBEAT, PROBING, Reason.FIRST_HEARTBEAT),
    (OFFLINE, Event.RECEIPT_FORGED, QUARANTINE, Reason.RECEIPT_FORGED),
    (OFFLINE, Event.FRAUD_SUSPECTED, QUARANTINE, Reason.FRAUD_SUSPECTED),
    (OFFLINE, Event.RELATED_TO_FRAUD, QUARANTINE, Reason.RELATED_TO_FRAUD),
    (OFFLINE, Event.AUDIT_FAILED, QUARANTINE, Reason.AUDIT_FAILED),
    (OFFLINE, Event.QUARANTINED_BY_ADMIN, QUARANTINE, Reason.ADMIN),
    (QUARANTINE, Event.CLEARED_BY_ADMIN, REGISTERED, Reason.CLEARED),
]
MOVING = {(row[0], row[1]) for row in ROWS}
STAYING = [pair for pair in itertools.product(Phase, Event) if pair not in MOVING]


def after(state: LifecycleState, *events: Event) -> LifecycleState:
    for event in events:
        state = step(state, event).state
    return state


@pytest.mark.parametrize(("start", "event", "end", "reason"), ROWS)
def test_event_moves_the_node(start: Phase, event: Event, end: Phase, reason: Reason) -> None:
    outcome = step(LifecycleState(start), event)
    assert outcome.move is not None
    assert (outcome.state.phase, outcome.move.to, outcome.move.reason) == (end, end, reason)


@pytest.mark.parametrize(("phase", "event"), STAYING)
def test_every_other_single_event_moves_nothing(phase: Phase, event: Event) -> None:
    outcome = step(LifecycleState(phase), event)
    assert outcome.move is None
    assert outcome.state.phase is phase


def test_third_failed_probe_in_a_row_quarantines() -> None:
    twice = after(LifecycleState(PROBING), Event.PROBE_FAILED, Event.PROBE_FAILED)
    assert twice.phase is PROBING
    third = step(twice, Event.PROBE_FAILED)
    assert third.move is not None
    assert (third.state, third.move.reason) == (LifecycleState(QUARANTINE), Reason.PROBES_FAILED)


def test_failed_probes_before_the_first_heartbeat_do_not_count() -> None:
    state = after(
        LifecycleState(REGISTERED), *[Event.PROBE_FAILED] * 5, Event.HEARTBEAT, *[Event.PROBE_FAILED] * 2
    )
    assert state.phase is PROBING


def test_heartbeats_between_failed_probes_do_not_restart_the_count() -> None:
    state = after(
        LifecycleState(PROBING),
        Event.PROBE_FAILED,
        Event.HEARTBEAT,
        Event.PROBE_FAILED,
        Event.HEARTBEAT,
        Event.PROBE_FAILED,
    )
    assert state.phase is QUARANTINE


def test_failed_probes_of_an_earlier_spell_are_forgotten() -> None:
    state = after(
        LifecycleState(PROBING),
        *[Event.PROBE_FAILED] * 2,
        Event.PROBE_PASSED,
        Event.SILENT,
        Event.HEARTBEAT,
        *[Event.PROBE_FAILED] * 2,
    )
    assert state.phase is PROBING


def test_third_passed_audit_in_a_row_ends_quarantine() -> None:
    twice = after(LifecycleState(QUARANTINE), Event.AUDIT_PASSED, Event.AUDIT_PASSED)
    assert twice.phase is QUARANTINE
    third = step(twice, Event.AUDIT_PASSED)
    assert third.move is not None
    assert (third.state, third.move.reason) == (LifecycleState(ACTIVE), Reason.AUDITS_PASSED)


def test_failed_audit_restarts_the_run() -> None:
    state = after(
        LifecycleState(QUARANTINE), *[Event.AUDIT_PASSED] * 2, Event.AUDIT_FAILED, *[Event.AUDIT_PASSED] * 2
    )
    assert state.phase is QUARANTINE
    assert after(state, Event.AUDIT_PASSED).phase is ACTIVE


def test_audits_passed_before_quarantine_do_not_count() -> None:
    state = after(
        LifecycleState(ACTIVE),
        *[Event.AUDIT_PASSED] * 5,
        Event.QUARANTINED_BY_ADMIN,
        *[Event.AUDIT_PASSED] * 2,
    )
    assert state.phase is QUARANTINE


def test_audits_do_not_end_a_quarantine_for_fraud() -> None:
    state = after(LifecycleState(ACTIVE), Event.RECEIPT_FORGED, *[Event.AUDIT_PASSED] * 10)
    assert (state.phase, state.fraud) == (QUARANTINE, True)


def test_forgery_while_in_quarantine_turns_it_into_one_for_fraud() -> None:
    state = after(
        LifecycleState(QUARANTINE),
        *[Event.AUDIT_PASSED] * 2,
        Event.RECEIPT_FORGED,
        *[Event.AUDIT_PASSED] * 10,
    )
    assert (state.phase, state.fraud) == (QUARANTINE, True)
    assert after(LifecycleState(QUARANTINE, passed_audits=2), Event.RECEIPT_FORGED).passed_audits == 0


def test_clear_by_an_admin_ends_even_fraud_and_starts_over() -> None:
    state = after(LifecycleState(ACTIVE), Event.RECEIPT_FORGED, Event.CLEARED_BY_ADMIN)
    assert state == LifecycleState(REGISTERED)
    assert after(state, Event.HEARTBEAT, Event.PROBE_PASSED) == LifecycleState(ACTIVE)


@pytest.mark.parametrize(
    "event", [Event.SILENT, Event.REGISTERED_AGAIN, Event.HEARTBEAT, Event.PROBE_PASSED, Event.PROBE_FAILED]
)
def test_quarantine_is_not_waited_out(event: Event) -> None:
    assert after(LifecycleState(QUARANTINE), *[event] * 20).phase is QUARANTINE


def test_happy_path_of_a_new_node() -> None:
    assert after(LifecycleState(REGISTERED), Event.HEARTBEAT, Event.PROBE_PASSED) == LifecycleState(ACTIVE)


def test_node_that_returns_is_probed_before_it_is_active_again() -> None:
    returned = after(LifecycleState(ACTIVE), Event.SILENT, Event.HEARTBEAT)
    assert returned == LifecycleState(PROBING)
    assert after(returned, Event.PROBE_PASSED) == LifecycleState(ACTIVE)


def test_stored_status_is_one_of_the_four_of_the_prd() -> None:
    assert [phase.status for phase in Phase] == [
        Status.PENDING,
        Status.PENDING,
        Status.ACTIVE,
        Status.QUARANTINE,
        Status.OFFLINE,
    ]
    assert [status.value for status in Status] == ["pending", "active", "quarantine", "offline"]
