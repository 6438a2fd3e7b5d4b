"""The steps of a new node, at given moments."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nodes.rules.lifecycle import Phase, Reason
from onboarding.agent_config import Platform
from onboarding.checklist import (
    ChecklistStep,
    LastProbe,
    NodeSignals,
    Signals,
    StepState,
    checklist,
    finished,
)
from onboarding.hints import Machine

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MAC = Machine(Platform.MAC, runtime="ollama")
WAITING = Signals(created_at=NOON, expires_at=NOON + timedelta(hours=24), machine=MAC)
REGISTERED = NodeSignals(
    registered_at=NOON + 5 * SECOND,
    phase=Phase.REGISTERED,
    status_reason="",
    endpoint="http://203.0.113.7:11435",
)
PROBING = replace(
    REGISTERED,
    phase=Phase.PROBING,
    status_reason=Reason.FIRST_HEARTBEAT,
    first_heartbeat_at=NOON + 6 * SECOND,
    last_heartbeat_at=NOON + 6 * SECOND,
    runtime_up=True,
    models=("llama3.1",),
    models_at=NOON + 6 * SECOND,
)
ACTIVE = replace(
    PROBING,
    phase=Phase.ACTIVE,
    status_reason=Reason.PROBE_PASSED,
    reachable=True,
    reachable_since=NOON + 9 * SECOND,
    probe_passed_at=NOON + 9 * SECOND,
    active_at=NOON + 9 * SECOND,
)
SERVING = replace(ACTIVE, first_receipt_at=NOON + 20 * SECOND, first_receipt_id="r_1")
DONE, CURRENT, TODO, FAILED, ATTENTION = (
    StepState.DONE,
    StepState.CURRENT,
    StepState.TODO,
    StepState.FAILED,
    StepState.ATTENTION,
)


def steps_of(node: NodeSignals | None, at: datetime, machine: Machine = MAC) -> list[ChecklistStep]:
    return checklist(replace(WAITING, node=node, machine=machine), at=at)


def states(node: NodeSignals | None, at: datetime) -> list[StepState]:
    return [step.state for step in steps_of(node, at)]


def step_named(name: str, node: NodeSignals | None, at: datetime, machine: Machine = MAC) -> ChecklistStep:
    return next(step for step in steps_of(node, at, machine) if step.name == name)


def hint_of(name: str, node: NodeSignals | None, at: datetime, machine: Machine = MAC) -> tuple[str, str]:
    hint = step_named(name, node, at, machine).hint
    assert hint is not None
    return hint.text, hint.command


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (None, [DONE, CURRENT, TODO, TODO, TODO, TODO, TODO, TODO, TODO]),
        (REGISTERED, [DONE, DONE, CURRENT, TODO, TODO, TODO, TODO, TODO, TODO]),
        (PROBING, [DONE, DONE, DONE, DONE, DONE, CURRENT, CURRENT, TODO, TODO]),
        (ACTIVE, [DONE] * 8 + [CURRENT]),
        (SERVING, [DONE] * 9),
    ],
)
def test_each_stage_has_its_open_steps(node: NodeSignals | None, expected: list[StepState]) -> None:
    assert states(node, NOON + 30 * SECOND) == expected
    assert finished(steps_of(node, NOON)) == (node is SERVING)


def test_done_steps_say_when_and_after_how_long() -> None:
    steps = steps_of(SERVING, NOON + timedelta(days=3))
    assert [step.at for step in steps] == [NOON + n * SECOND for n in (0, 5, 6, 6, 6, 9, 9, 9, 20)]
    assert [step.after for step in steps] == [n * SECOND for n in (0, 5, 6, 6, 6, 9, 9, 9, 20)]


def test_the_age_of_the_newest_heartbeat_is_shown_with_the_first() -> None:
    later = replace(SERVING, last_heartbeat_at=NOON + 50 * SECOND)
    assert step_named("First heartbeat", later, NOON + 55 * SECOND).last_at == NOON + 50 * SECOND


def test_an_expired_command_fails_the_registration() -> None:
    at = WAITING.expires_at
    assert states(None, at)[:3] == [DONE, FAILED, TODO]
    assert "expired" in hint_of("Registered", None, at)[0]
    assert states(None, at - SECOND)[:3] == [DONE, CURRENT, TODO]


def test_a_revoked_command_fails_the_registration() -> None:
    steps = checklist(replace(WAITING, ended_at=NOON + SECOND), at=NOON + 2 * SECOND)
    assert steps[1].state is FAILED
    assert steps[1].hint is not None
    assert "revoked" in steps[1].hint.text


@pytest.mark.parametrize(
    ("platform", "command"),
    [(Platform.MAC, "tail -f ~/.jatevo/agent.log"), (Platform.LINUX, "journalctl --user -u jatevo-agent -f")],
)
def test_a_slow_installation_gets_the_command_for_the_log(platform: Platform, command: str) -> None:
    machine = Machine(platform, runtime="ollama")
    assert "about a minute" in hint_of("Registered", None, NOON + 90 * SECOND, machine)[0]
    text, shown = hint_of("Registered", None, NOON + 91 * SECOND, machine)
    assert "Nothing has registered yet" in text
    assert shown == command


def test_a_missing_heartbeat_gets_a_hint_after_a_while() -> None:
    assert "every 10 seconds" in hint_of("First heartbeat", REGISTERED, NOON + 20 * SECOND)[0]
    text, command = hint_of("First heartbeat", REGISTERED, NOON + 40 * SECOND)
    assert "sends no heartbeats" in text
    assert command.startswith("launchctl kickstart")


@pytest.mark.parametrize(
    ("machine", "command"),
    [
        (MAC, "open -a Ollama"),
        (Machine(Platform.LINUX, runtime="ollama"), "sudo systemctl start ollama"),
        (Machine(Platform.NVIDIA, runtime="vllm"), "vllm serve <model> --host 127.0.0.1 --port 8000"),
        (Machine(Platform.LINUX, runtime=""), ""),
    ],
)
def test_a_runtime_that_is_down_gets_the_command_that_starts_it(machine: Machine, command: str) -> None:
    down = replace(PROBING, runtime_up=False, models=())
    assert step_named("Runtime answers", down, NOON + 8 * SECOND, machine).state is FAILED
    assert hint_of("Runtime answers", down, NOON + 8 * SECOND, machine)[1] == command
    assert step_named("Models found", down, NOON + 8 * SECOND, machine).state is TODO


def test_a_runtime_that_goes_down_later_is_said() -> None:
    assert step_named("Runtime answers", replace(SERVING, runtime_up=False), NOON).state is FAILED


def test_an_agent_that_says_nothing_of_a_runtime_has_no_such_step() -> None:
    names = [step.name for step in steps_of(replace(ACTIVE, runtime_up=None), NOON)]
    assert "Runtime answers" not in names
    assert "Models found" in names


def test_a_runtime_without_models_gets_the_command_that_downloads_one() -> None:
    empty = replace(PROBING, models=(), models_at=None)
    assert step_named("Models found", empty, NOON + 20 * SECOND).state is CURRENT
    assert step_named("Models found", empty, NOON + 40 * SECOND).state is FAILED
    assert hint_of("Models found", empty, NOON + 40 * SECOND)[1] == "ollama pull llama3.1:8b"


def test_a_node_behind_nat_is_active_and_told_how_to_get_traffic() -> None:
    nat = replace(ACTIVE, reachable=False, reachable_since=NOON + 9 * SECOND)
    step = step_named("Behind NAT", nat, NOON + 30 * SECOND)
    assert step.state is ATTENTION
    text, _ = hint_of("Behind NAT", nat, NOON + 30 * SECOND)
    for word in ("No gateway can send", "Forward a port", "IPv6", "tunnel"):
        assert word in text
    assert step_named("Active", nat, NOON + 30 * SECOND).state is DONE
    assert finished(steps_of(replace(nat, first_receipt_at=NOON + 20 * SECOND), NOON + 30 * SECOND))


def test_a_failed_probe_says_why() -> None:
    node = replace(PROBING, last_probe=LastProbe(False, NOON + 10 * SECOND, "connection refused"))
    text, command = hint_of("Probe passed", node, NOON + 12 * SECOND)
    assert "The last probe failed: connection refused." in text
    assert "doctor" in command


def test_the_operator_of_an_unprobed_node_is_told_what_to_check() -> None:
    assert "within seconds" in hint_of("Reachable", PROBING, NOON + 20 * SECOND)[0]
    text, command = hint_of("Reachable", PROBING, NOON + 60 * SECOND)
    assert "No validator has reached http://203.0.113.7:11435" in text
    assert "doctor" in command


def test_a_quarantine_fails_the_probe_with_its_reason() -> None:
    node = replace(
        PROBING,
        phase=Phase.QUARANTINE,
        status_reason=Reason.PROBES_FAILED,
        last_probe=LastProbe(False, NOON, "connection refused"),
    )
    assert step_named("Probe passed", node, NOON).state is FAILED
    text = hint_of("Probe passed", node, NOON)[0]
    assert "three probes in a row failed. The last one said: connection refused." in text
    forged = replace(node, status_reason=Reason.RECEIPT_FORGED)
    assert "Its page says why" in hint_of("Probe passed", forged, NOON)[0]


def test_a_later_quarantine_is_shown_at_active() -> None:
    assert step_named("Active", replace(SERVING, phase=Phase.QUARANTINE), NOON).state is ATTENTION


def test_the_operator_of_a_silent_node_is_told_to_start_it_again() -> None:
    text, command = hint_of("First heartbeat", replace(PROBING, phase=Phase.OFFLINE), NOON + 400 * SECOND)
    assert "Start it again" in text
    assert "lid is closed" in text
    assert command.startswith("launchctl kickstart")


def test_what_was_once_done_stays_done_when_the_node_goes_offline() -> None:
    later = states(replace(SERVING, phase=Phase.OFFLINE), NOON + timedelta(hours=1))
    assert later == [DONE, DONE, ATTENTION, *([DONE] * 6)]
