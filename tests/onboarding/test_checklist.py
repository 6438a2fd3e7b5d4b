"""The four steps of a new node, at given moments."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nodes.rules.lifecycle import Phase, Reason
from onboarding.checklist import LastProbe, NodeSignals, Signals, StepState, checklist, finished

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WAITING = Signals(created_at=NOON, expires_at=NOON + timedelta(hours=24))
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
)
ACTIVE = replace(PROBING, phase=Phase.ACTIVE, status_reason=Reason.PROBE_PASSED, active_at=NOON + 9 * SECOND)
SERVING = replace(ACTIVE, first_receipt_at=NOON + 20 * SECOND)
DONE, CURRENT, TODO, FAILED = StepState.DONE, StepState.CURRENT, StepState.TODO, StepState.FAILED


def states(node: NodeSignals | None, at: datetime) -> list[StepState]:
    return [step.state for step in checklist(replace(WAITING, node=node), at=at)]


def open_hint(node: NodeSignals | None, at: datetime) -> str:
    steps = checklist(replace(WAITING, node=node), at=at)
    return next(step.hint for step in steps if step.state in (CURRENT, FAILED))


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (None, [CURRENT, TODO, TODO, TODO]),
        (REGISTERED, [DONE, CURRENT, TODO, TODO]),
        (PROBING, [DONE, DONE, CURRENT, TODO]),
        (ACTIVE, [DONE, DONE, DONE, CURRENT]),
        (SERVING, [DONE, DONE, DONE, DONE]),
    ],
)
def test_each_stage_has_one_open_step(node: NodeSignals | None, expected: list[StepState]) -> None:
    assert states(node, NOON + 30 * SECOND) == expected
    assert finished(checklist(replace(WAITING, node=node), at=NOON)) == (node is SERVING)


def test_done_steps_say_when() -> None:
    steps = checklist(replace(WAITING, node=SERVING), at=NOON + timedelta(days=3))
    assert [step.at for step in steps] == [NOON + n * SECOND for n in (5, 6, 9, 20)]


def test_an_expired_token_fails_the_first_step() -> None:
    at = WAITING.expires_at
    assert states(None, at) == [FAILED, TODO, TODO, TODO]
    assert "expired" in open_hint(None, at)
    assert states(None, at - SECOND) == [CURRENT, TODO, TODO, TODO]


def test_a_slow_installation_gets_another_hint() -> None:
    assert "Install the agent" in open_hint(None, NOON + 60 * SECOND)
    assert "Nothing has registered yet" in open_hint(None, NOON + 61 * SECOND)


def test_a_missing_heartbeat_gets_a_hint_after_a_while() -> None:
    assert "every 10 seconds" in open_hint(REGISTERED, NOON + 20 * SECOND)
    assert "sends no heartbeats" in open_hint(REGISTERED, NOON + 40 * SECOND)


def test_a_failed_probe_says_where_and_why() -> None:
    node = replace(PROBING, last_probe=LastProbe(False, NOON + 10 * SECOND, "connection refused"))
    hint = open_hint(node, NOON + 12 * SECOND)
    assert "could not confirm http://203.0.113.7:11435: connection refused." in hint


def test_the_operator_of_an_unprobed_node_is_asked_to_make_it_reachable() -> None:
    assert "within seconds" in open_hint(PROBING, NOON + 20 * SECOND)
    assert "reachable from outside" in open_hint(PROBING, NOON + 60 * SECOND)
    assert "no endpoint" in open_hint(replace(PROBING, endpoint=""), NOON + 60 * SECOND)


def test_a_quarantine_fails_the_step_with_its_reason() -> None:
    node = replace(
        PROBING,
        phase=Phase.QUARANTINE,
        status_reason=Reason.PROBES_FAILED,
        last_probe=LastProbe(False, NOON, "connection refused"),
    )
    assert states(node, NOON) == [DONE, DONE, FAILED, TODO]
    assert "three probes in a row failed. The last one said: connection refused." in open_hint(node, NOON)
    forged = replace(node, status_reason=Reason.RECEIPT_FORGED)
    assert "Its page says why" in open_hint(forged, NOON)


def test_the_operator_of_a_node_silent_before_its_probe_is_asked_to_restart_it() -> None:
    assert "Start the agent again" in open_hint(replace(PROBING, phase=Phase.OFFLINE), NOON + 400 * SECOND)


def test_a_receipt_before_the_node_is_active_waits_for_its_turn() -> None:
    early = replace(PROBING, first_receipt_at=NOON + 7 * SECOND)
    assert states(early, NOON + 8 * SECOND) == [DONE, DONE, CURRENT, TODO]


def test_what_was_once_done_stays_done_when_the_node_goes_offline() -> None:
    assert states(replace(SERVING, phase=Phase.OFFLINE), NOON + timedelta(hours=1)) == [DONE] * 4
