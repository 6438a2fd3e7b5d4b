"""A node's lifecycle as one table (PRD §9, design "Node lifecycle"). Pure: no clock, no database.

`step(state, event)` looks up what an event does to a node in a state. An event that is not in the table for
the state changes nothing. REGISTERED and PROBING share the stored status `pending`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

PROBE_FAILURES_TO_QUARANTINE = 3
AUDITS_TO_CLEAR = 3
MISSED_WINDOW = timedelta(hours=1)
MISSED_SHARE_TO_QUARANTINE = 0.20  # of the heartbeats expected in the window
SLO_WINDOW = timedelta(hours=6)  # over the target in more than half of its latency probes
REPUTATION_FLOOR = 40
REPUTATION_FALL = 1  # how far below its R at the last quarantine's end a node is quarantined again


class Status(StrEnum):
    """A node's status as it is stored and shown."""

    PENDING = "pending"
    ACTIVE = "active"
    QUARANTINE = "quarantine"
    OFFLINE = "offline"

    @property
    def label(self) -> str:
        return self.value.capitalize()


class Phase(StrEnum):
    """A node's status, with `pending` split into REGISTERED and PROBING."""

    REGISTERED = "registered"
    PROBING = "probing"
    ACTIVE = "active"
    QUARANTINE = "quarantine"
    OFFLINE = "offline"

    @property
    def status(self) -> Status:
        return Status.PENDING if self in (Phase.REGISTERED, Phase.PROBING) else Status(self.value)


class Event(StrEnum):
    """What can happen to a node."""

    REGISTERED_AGAIN = "registered_again"
    HEARTBEAT = "heartbeat"
    PROBE_PASSED = "probe_passed"
    PROBE_FAILED = "probe_failed"
    AUDIT_PASSED = "audit_passed"
    AUDIT_FAILED = "audit_failed"
    SILENT = "silent"  # no heartbeat within the deadline
    SILENT_IN_MAINTENANCE = "silent_in_maintenance"  # the same, during announced maintenance
    HEARTBEATS_MISSED = "heartbeats_missed"  # more than the share above, within an hour
    REPUTATION_LOW = "reputation_low"  # see `reputation_is_low`
    SLO_BREACHED = "slo_breached"  # too slow in most latency probes of the window
    FAILED_WHILE_EXEMPT = "failed_while_exempt"  # a probe or audit did not reach the node while it was exempt
    RECEIPT_FORGED = "receipt_forged"
    FRAUD_SUSPECTED = "fraud_suspected"  # an admin opened a finding of fraud about it
    RELATED_TO_FRAUD = "related_to_fraud"  # a finding about another node of its org concerns it
    QUARANTINED_BY_ADMIN = "quarantined_by_admin"
    CLEARED_BY_ADMIN = "cleared_by_admin"


class Reason(StrEnum):
    """Why a node has its status. Shown to its operator."""

    FIRST_HEARTBEAT = "first_heartbeat"
    PROBE_PASSED = "probe_passed"
    PROBES_FAILED = "probes_failed"
    AUDIT_FAILED = "audit_failed"
    AUDITS_PASSED = "audits_passed"
    NO_HEARTBEAT = "no_heartbeat"
    MAINTENANCE = "maintenance"
    HEARTBEATS_MISSED = "heartbeats_missed"
    REPUTATION_LOW = "reputation_low"
    SLO_BREACHED = "slo_breached"
    RECEIPT_FORGED = "receipt_forged"
    FRAUD_SUSPECTED = "fraud_suspected"
    RELATED_TO_FRAUD = "related_to_fraud"
    ADMIN = "admin"
    CLEARED = "cleared"


# Events of fraud, with the reason shown while the quarantine lasts. Audits do not end such a quarantine.
FRAUD: Mapping[Event, Reason] = {
    Event.RECEIPT_FORGED: Reason.RECEIPT_FORGED,
    Event.FRAUD_SUSPECTED: Reason.FRAUD_SUSPECTED,
    Event.RELATED_TO_FRAUD: Reason.RELATED_TO_FRAUD,
}


@dataclass(frozen=True)
class LifecycleState:
    """A node's phase and counts. `fraud` marks a quarantine that audits do not end."""

    phase: Phase
    failed_probes: int = 0
    passed_audits: int = 0
    fraud: bool = False


@dataclass(frozen=True)
class Move:
    """One cell of the table: where an event leads, and the reason that is recorded."""

    to: Phase
    reason: Reason
    after: int = 1  # how many such events in a row are needed


_TO_QUARANTINE: Mapping[Event, Move] = {
    **{event: Move(Phase.QUARANTINE, reason) for event, reason in FRAUD.items()},
    Event.AUDIT_FAILED: Move(Phase.QUARANTINE, Reason.AUDIT_FAILED),
    Event.QUARANTINED_BY_ADMIN: Move(Phase.QUARANTINE, Reason.ADMIN),
}

TABLE: Mapping[Phase, Mapping[Event, Move]] = {
    Phase.REGISTERED: {
        **_TO_QUARANTINE,
        Event.HEARTBEAT: Move(Phase.PROBING, Reason.FIRST_HEARTBEAT),
    },
    Phase.PROBING: {
        **_TO_QUARANTINE,
        Event.PROBE_PASSED: Move(Phase.ACTIVE, Reason.PROBE_PASSED),
        Event.PROBE_FAILED: Move(Phase.QUARANTINE, Reason.PROBES_FAILED, after=PROBE_FAILURES_TO_QUARANTINE),
    },
    Phase.ACTIVE: {
        **_TO_QUARANTINE,
        Event.SILENT: Move(Phase.OFFLINE, Reason.NO_HEARTBEAT),
        Event.SILENT_IN_MAINTENANCE: Move(Phase.OFFLINE, Reason.MAINTENANCE),
        Event.HEARTBEATS_MISSED: Move(Phase.QUARANTINE, Reason.HEARTBEATS_MISSED),
        Event.REPUTATION_LOW: Move(Phase.QUARANTINE, Reason.REPUTATION_LOW),
        Event.SLO_BREACHED: Move(Phase.QUARANTINE, Reason.SLO_BREACHED),
    },
    Phase.OFFLINE: {
        **_TO_QUARANTINE,
        Event.HEARTBEAT: Move(Phase.PROBING, Reason.FIRST_HEARTBEAT),
    },
    Phase.QUARANTINE: {
        Event.AUDIT_PASSED: Move(Phase.ACTIVE, Reason.AUDITS_PASSED, after=AUDITS_TO_CLEAR),
        Event.CLEARED_BY_ADMIN: Move(Phase.REGISTERED, Reason.CLEARED),
    },
}


@dataclass(frozen=True)
class StepOutcome:
    """The state after an event, and the move that was made (None: the phase did not change)."""

    state: LifecycleState
    move: Move | None


def step(state: LifecycleState, event: Event) -> StepOutcome:
    """Applies an event to a state. Counts consecutive failed probes and passed audits. Never raises."""
    counted = _count(state, event)
    move = TABLE[state.phase].get(event)
    if (
        move is None
        or not _run_complete(counted, event, move)
        or (counted.fraud and move.reason is Reason.AUDITS_PASSED)
    ):
        return StepOutcome(counted, None)
    return StepOutcome(LifecycleState(move.to, fraud=event in FRAUD), move)


def reputation_is_low(reputation: Decimal | None, *, pardoned: Decimal | None) -> bool:
    """Whether R quarantines a node: it is under the floor and, on probation, has fallen further (`pardoned`).

    If a quarantine ended while R was under the floor, that decision took R into account. Without probation
    the node would be quarantined again at once, because what lowered R takes fourteen days to expire.
    """
    if reputation is None or reputation >= REPUTATION_FLOOR:
        return False
    return pardoned is None or reputation < pardoned - REPUTATION_FALL


def _count(state: LifecycleState, event: Event) -> LifecycleState:
    if state.phase is Phase.PROBING and event is Event.PROBE_FAILED:
        return replace(state, failed_probes=state.failed_probes + 1)
    if state.phase is Phase.QUARANTINE:
        if event is Event.AUDIT_PASSED:
            return replace(state, passed_audits=min(state.passed_audits + 1, AUDITS_TO_CLEAR))
        if event is Event.AUDIT_FAILED:
            return replace(state, passed_audits=0)
        if event in FRAUD:
            return replace(state, fraud=True, passed_audits=0)
    return state


def _run_complete(state: LifecycleState, event: Event, move: Move) -> bool:
    run = state.failed_probes if event is Event.PROBE_FAILED else state.passed_audits
    return move.after == 1 or run >= move.after
