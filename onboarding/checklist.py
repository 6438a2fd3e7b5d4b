"""The checklist of a new node: from the enrolment to the first receipt. Pure.

`checklist(signals, at=)` returns the steps, each with the time it was done, or with a hint while it is not. The steps
are not a chain: a node can be active while its runtime is down. Waiting times are relative to `at`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nodes.rules.lifecycle import Phase, Reason
from onboarding import hints
from onboarding.hints import Hint, Machine

SLOW_START = timedelta(seconds=90)  # from the command to the registration: installing takes a while
SLOW_STEP = timedelta(seconds=30)  # heartbeats come every 10 s, a probe within 5 s of the first


class StepState(StrEnum):
    DONE = "done"
    CURRENT = "current"  # can happen now
    TODO = "todo"  # another step comes first
    FAILED = "failed"
    ATTENTION = "attention"  # done, but not as one would wish


@dataclass(frozen=True)
class LastProbe:
    """The newest probe of the node."""

    ok: bool
    at: datetime
    detail: str


@dataclass(frozen=True)
class NodeSignals:
    """The state of the node that registered. What its agent does not say is None."""

    registered_at: datetime
    phase: Phase
    status_reason: str
    first_heartbeat_at: datetime | None = None
    last_heartbeat_at: datetime | None = None
    runtime_up: bool | None = None
    models: tuple[str, ...] = ()
    models_at: datetime | None = None  # when it first offered one
    reachable: bool | None = None
    reachable_since: datetime | None = None
    last_probe: LastProbe | None = None
    probe_passed_at: datetime | None = None  # first
    active_at: datetime | None = None  # first
    first_receipt_at: datetime | None = None
    first_receipt_id: str = ""
    endpoint: str = ""


@dataclass(frozen=True)
class Signals:
    """The state of an enrolment."""

    created_at: datetime
    expires_at: datetime
    machine: Machine
    node: NodeSignals | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class ChecklistStep:
    """One step. `at` is when it was done, and `after` how long after the enrolment that was.

    `hint` says what to do while it is not done. `note` adds to a step that is.
    """

    name: str
    state: StepState
    at: datetime | None = None
    after: timedelta | None = None
    hint: Hint | None = None
    note: str = ""
    last_at: datetime | None = None  # the newest heartbeat


ENROLLED = "Enrolled"
REGISTERED = "Registered"
FIRST_HEARTBEAT = "First heartbeat"
RUNTIME = "Runtime answers"
MODELS = "Models found"
REACHABLE = "Reachable"
BEHIND_NAT = "Behind NAT"
PROBED = "Probe passed"
ACTIVE = "Active"
FIRST_RECEIPT = "First receipt"


def checklist(signals: Signals, *, at: datetime) -> list[ChecklistStep]:
    """The steps in order. Of a node that was quarantined, the first open step of its probes has failed."""
    enrolled = _done(ENROLLED, signals, signals.created_at)
    node = signals.node
    if node is None:
        later = (FIRST_HEARTBEAT, RUNTIME, MODELS, REACHABLE, PROBED, ACTIVE, FIRST_RECEIPT)
        return [enrolled, _unregistered(signals, at), *(_todo(name) for name in later)]
    return [
        enrolled,
        _done(REGISTERED, signals, node.registered_at),
        _heartbeat(signals, node, at),
        *_runtime(signals, node),
        _models(signals, node, at),
        _reached(signals, node, at),
        _probed(signals, node, at),
        _active(signals, node, at),
        _receipt(signals, node),
    ]


def finished(steps: list[ChecklistStep]) -> bool:
    """Whether all steps are done, if not all as one would wish."""
    return all(step.state in (StepState.DONE, StepState.ATTENTION) for step in steps)


def _done(name: str, signals: Signals, at: datetime | None, *, note: str = "") -> ChecklistStep:
    after = None if at is None or at < signals.created_at else at - signals.created_at
    return ChecklistStep(name, StepState.DONE, at=at, after=after, note=note)


def _todo(name: str) -> ChecklistStep:
    return ChecklistStep(name, StepState.TODO)


def _current(name: str, hint: Hint) -> ChecklistStep:
    return ChecklistStep(name, StepState.CURRENT, hint=hint)


def _failed(name: str, hint: Hint) -> ChecklistStep:
    return ChecklistStep(name, StepState.FAILED, hint=hint)


def _unregistered(signals: Signals, at: datetime) -> ChecklistStep:
    if signals.ended_at is not None:
        return _failed(REGISTERED, Hint("The command was revoked or replaced. Create a new one."))
    if at >= signals.expires_at:
        return _failed(REGISTERED, Hint("The command expired before it was run. Create a new one."))
    if at - signals.created_at > SLOW_START:
        return _current(REGISTERED, hints.not_registered(signals.machine))
    return _current(REGISTERED, Hint("Run the command on the machine. Installing takes about a minute."))


def _heard(node: NodeSignals) -> datetime | None:
    return node.first_heartbeat_at or node.active_at or node.last_heartbeat_at


def _heartbeat(signals: Signals, node: NodeSignals, at: datetime) -> ChecklistStep:
    heard = _heard(node)
    if heard is None:
        slow = at - node.registered_at > SLOW_STEP
        wait = Hint("The agent sends one every 10 seconds.")
        return _current(FIRST_HEARTBEAT, hints.no_heartbeat(signals.machine) if slow else wait)
    done = _done(FIRST_HEARTBEAT, signals, heard)
    silent = node.phase is Phase.OFFLINE
    return ChecklistStep(
        done.name,
        StepState.ATTENTION if silent else StepState.DONE,
        at=done.at,
        after=done.after,
        last_at=node.last_heartbeat_at,
        hint=hints.gone_offline(signals.machine) if silent else None,
    )


def _runtime(signals: Signals, node: NodeSignals) -> list[ChecklistStep]:
    """No step for an agent that does not say, such as one that simulates."""
    if _heard(node) is None:
        return [_todo(RUNTIME)]
    if node.runtime_up is None:
        return []
    if not node.runtime_up:
        return [_failed(RUNTIME, hints.runtime_down(signals.machine))]
    return [_done(RUNTIME, signals, node.models_at)]  # which it was asked for


def _models(signals: Signals, node: NodeSignals, at: datetime) -> ChecklistStep:
    heard = _heard(node)
    if node.models:
        return _done(MODELS, signals, node.models_at, note=", ".join(node.models))
    if heard is None or node.runtime_up is False:
        return _todo(MODELS)
    if at - heard > SLOW_STEP:
        return _failed(MODELS, hints.no_models(signals.machine))
    return _current(MODELS, Hint("The agent asks its runtime which models it has."))


def _reached(signals: Signals, node: NodeSignals, at: datetime) -> ChecklistStep:
    if node.reachable:
        return _done(REACHABLE, signals, node.reachable_since, note=node.endpoint)
    if node.reachable is False:
        done = _done(BEHIND_NAT, signals, node.reachable_since)
        hint = hints.unreachable(signals.machine, node.endpoint)
        return ChecklistStep(BEHIND_NAT, StepState.ATTENTION, at=done.at, after=done.after, hint=hint)
    heard = _heard(node)
    if heard is None:
        return _todo(REACHABLE)
    if at - heard > SLOW_STEP:
        return _current(REACHABLE, hints.not_probed(signals.machine, node.endpoint))
    return _current(REACHABLE, Hint("A validator tries the address within seconds."))


def _probed(signals: Signals, node: NodeSignals, at: datetime) -> ChecklistStep:
    passed = node.probe_passed_at or node.active_at
    if passed is not None:
        return _done(PROBED, signals, passed)
    if node.phase is Phase.QUARANTINE:
        return _failed(PROBED, _quarantined(node))
    heard = _heard(node)
    if heard is None:
        return _todo(PROBED)
    probe = node.last_probe
    if probe is not None and not probe.ok:
        why = probe.detail or "no reason was given"
        again = "It will be tried again. Three failures in a row quarantine the node."
        return _current(PROBED, Hint(f"The last probe failed: {why}. {again}", _check(signals)))
    if at - heard > SLOW_STEP:
        return _current(
            PROBED, Hint("No probe has come yet. See what the agent says about it:", _check(signals))
        )
    return _current(PROBED, Hint("The agent proves that it holds the node's key, within seconds."))


def _active(signals: Signals, node: NodeSignals, at: datetime) -> ChecklistStep:
    if node.active_at is None:
        return _todo(ACTIVE)
    done = _done(ACTIVE, signals, node.active_at)
    if node.phase is Phase.QUARANTINE:
        return ChecklistStep(
            ACTIVE,
            StepState.ATTENTION,
            at=done.at,
            after=done.after,
            hint=Hint("The node is in quarantine now. Its page says why and what to do."),
        )
    return done


def _receipt(signals: Signals, node: NodeSignals) -> ChecklistStep:
    if node.first_receipt_at is not None:
        return _done(FIRST_RECEIPT, signals, node.first_receipt_at)
    if node.active_at is None:
        return _todo(FIRST_RECEIPT)
    return _current(FIRST_RECEIPT, hints.no_receipt())


def _check(signals: Signals) -> str:
    return hints.chore(signals.machine, "Find out what is wrong")


def _quarantined(node: NodeSignals) -> Hint:
    if node.status_reason == Reason.PROBES_FAILED:
        detail = node.last_probe.detail if node.last_probe and not node.last_probe.ok else ""
        why = f" The last one said: {detail}." if detail else ""
        mend = "Fix the endpoint, then ask an admin to clear the node."
        return Hint(f"Quarantined: three probes in a row failed.{why} {mend}")
    return Hint("The node is quarantined. Its page says why and what to do.")
