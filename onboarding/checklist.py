"""The checklist of a new node: registered → first heartbeat → active → first receipt. Pure.

`checklist(signals, at=)` returns the four steps, each with the time it was done, or with a hint while it is
not. Waiting times are relative to `at`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nodes.rules.lifecycle import Phase, Reason

SLOW_START = timedelta(seconds=60)  # from the token to the registration: installing takes a while
SLOW_STEP = timedelta(seconds=30)  # heartbeats come every 10 s, a probe within 5 s of the first


class StepState(StrEnum):
    DONE = "done"
    CURRENT = "current"  # the next step to happen
    TODO = "todo"
    FAILED = "failed"


@dataclass(frozen=True)
class LastProbe:
    """The newest probe of the node."""

    ok: bool
    at: datetime
    detail: str


@dataclass(frozen=True)
class NodeSignals:
    """The state of the node that registered with the token."""

    registered_at: datetime
    phase: Phase
    status_reason: str
    first_heartbeat_at: datetime | None = None
    last_heartbeat_at: datetime | None = None
    active_at: datetime | None = None  # when it first became active
    first_receipt_at: datetime | None = None
    last_probe: LastProbe | None = None
    endpoint: str = ""


@dataclass(frozen=True)
class Signals:
    """The state of an enrolment."""

    created_at: datetime
    expires_at: datetime
    node: NodeSignals | None = None


@dataclass(frozen=True)
class ChecklistStep:
    """One step of the checklist. `at` is when it was done. `hint` says what to do while it is not."""

    name: str
    state: StepState
    at: datetime | None = None
    hint: str = ""


def checklist(signals: Signals, *, at: datetime) -> list[ChecklistStep]:
    """The four steps in order. At most one is current or failed, and all after it are to do."""
    done_at = _done_at(signals.node)
    steps: list[ChecklistStep] = []
    for name, moment in done_at.items():
        if moment is not None:
            steps.append(ChecklistStep(name, StepState.DONE, at=moment))
        elif any(step.state is not StepState.DONE for step in steps):
            steps.append(ChecklistStep(name, StepState.TODO))
        else:
            steps.append(_open_step(name, signals, at))
    return steps


def finished(steps: list[ChecklistStep]) -> bool:
    """Whether all steps are done."""
    return all(step.state is StepState.DONE for step in steps)


def _done_at(node: NodeSignals | None) -> dict[str, datetime | None]:
    """When each step was done. If a later step is done, the steps that it requires count as done too."""
    if node is None:
        return dict.fromkeys((REGISTERED, FIRST_HEARTBEAT, ACTIVE, FIRST_RECEIPT))
    active_at = node.active_at
    return {
        REGISTERED: node.registered_at,
        FIRST_HEARTBEAT: node.first_heartbeat_at or active_at,
        ACTIVE: active_at,
        # a receipt may come before the node is active, but is only shown after that step
        FIRST_RECEIPT: node.first_receipt_at if active_at else None,
    }


REGISTERED = "Registered"
FIRST_HEARTBEAT = "First heartbeat"
ACTIVE = "Active"
FIRST_RECEIPT = "First receipt"


def _open_step(name: str, signals: Signals, at: datetime) -> ChecklistStep:
    node = signals.node
    if node is None:
        return _unregistered(name, signals, at)
    if node.phase is Phase.QUARANTINE:
        return ChecklistStep(name, StepState.FAILED, hint=_quarantined(node))
    if name == FIRST_HEARTBEAT:
        slow = at - node.registered_at > SLOW_STEP
        hint = (
            "The agent has registered but sends no heartbeats. Check that it is running, and check its log."
        )
        return ChecklistStep(
            name, StepState.CURRENT, hint=hint if slow else "The agent sends one every 10 seconds."
        )
    if name == ACTIVE:
        return ChecklistStep(name, StepState.CURRENT, hint=_unprobed(node, at))
    hint = (
        "Any completed request counts. If `simulate` is above 0 in agent.yaml, the agent generates its own."
    )
    return ChecklistStep(name, StepState.CURRENT, hint=hint)


def _unregistered(name: str, signals: Signals, at: datetime) -> ChecklistStep:
    if at >= signals.expires_at:
        return ChecklistStep(
            name, StepState.FAILED, hint="The token expired before an agent used it. Create a new one."
        )
    if at - signals.created_at > SLOW_START:
        hint = "Nothing has registered yet. Start the agent. If it is refused, it prints the reason."
        return ChecklistStep(name, StepState.CURRENT, hint=hint)
    return ChecklistStep(name, StepState.CURRENT, hint="Install the agent and start it with the file above.")


def _unprobed(node: NodeSignals, at: datetime) -> str:
    if node.phase is Phase.OFFLINE:
        return "The node went offline before it passed a probe. Start the agent again."
    probe = node.last_probe
    if probe is not None and not probe.ok:
        where = node.endpoint or "your endpoint"
        why = probe.detail or "no reason was given"
        again = "It will try again. Three failures in a row quarantine the node."
        return f"The validator could not confirm {where}: {why}. {again}"
    since = node.first_heartbeat_at or node.last_heartbeat_at or node.registered_at
    if at - since > SLOW_STEP and not node.endpoint:
        return "The agent has no endpoint set, so no validator can probe it. Add one to agent.yaml."
    if at - since > SLOW_STEP:
        return f"No validator has probed {node.endpoint} yet. It must be reachable from outside your network."
    return "A validator probes the agent's health endpoint within seconds."


def _quarantined(node: NodeSignals) -> str:
    if node.status_reason == Reason.PROBES_FAILED:
        detail = node.last_probe.detail if node.last_probe and not node.last_probe.ok else ""
        why = f" The last one said: {detail}." if detail else ""
        mend = "Fix the endpoint, then ask an admin to clear the node."
        return f"Quarantined: three probes in a row failed.{why} {mend}"
    return "The node is quarantined. Its page says why and what to do."
