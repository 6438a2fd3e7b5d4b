"""What a node's owner is told about reachability, and when a challenge is due. Pure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nodes.rules.challenges import (
    AUDIT_EVERY,
    HEALTH_EVERY,
    PENDING_EVERY,
    VALIDATORS_AWAY,
    VALIDATORS_FIRST,
    AskedNode,
    ChallengeKind,
    due_challenge,
)
from nodes.rules.explanations import explain
from nodes.rules.lifecycle import Phase
from nodes.rules.reachability import Reachability, endpoint_advice, reachability

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
BEYOND = AskedNode(
    phase=Phase.ACTIVE,
    fraud=False,
    endpoint="https://node.example.org",
    reachable=False,
    probing_since=None,
    probed_at=None,
    audited_at=NOON,
    challenged_at=NOON,
    proof_waiting=False,
)
MOMENT = timedelta(milliseconds=1)


def due(node: AskedNode, after: timedelta) -> ChallengeKind | None:
    return due_challenge(node, at=NOON + after)


def test_the_stored_fact_and_the_word_are_each_others_inverse() -> None:
    assert [reachability(each.stored) for each in Reachability] == list(Reachability)


def test_in_service_a_challenge_is_due_a_minute_after_the_last() -> None:
    assert due(BEYOND, HEALTH_EVERY - MOMENT) is None
    assert due(BEYOND, HEALTH_EVERY) is ChallengeKind.HEALTH
    assert due(BEYOND, AUDIT_EVERY) is ChallengeKind.AUDIT


def test_a_node_that_validators_reach_is_due_only_what_its_owner_asked_for() -> None:
    reached = replace(BEYOND, reachable=True, challenged_at=None, audited_at=None)
    assert due(reached, AUDIT_EVERY) is None
    assert due(replace(reached, proof_waiting=True), timedelta(0)) is ChallengeKind.PROOF


@pytest.mark.parametrize("phase", [Phase.ACTIVE, Phase.QUARANTINE])
def test_a_node_of_unknown_reach_is_left_to_validators_that_have_come_lately(phase: Phase) -> None:
    """So are all nodes after an update, and one that has just moved to another endpoint."""
    unknown = replace(BEYOND, phase=phase, reachable=None, audited_at=None, challenged_at=None)
    assert due(replace(unknown, probed_at=NOON), VALIDATORS_AWAY - MOMENT) is None
    assert due(replace(unknown, probed_at=NOON), VALIDATORS_AWAY) is ChallengeKind.AUDIT
    assert due(unknown, timedelta(0)) is ChallengeKind.AUDIT  # none ever came


def test_a_pending_node_waits_for_validators_first() -> None:
    pending = replace(BEYOND, phase=Phase.PROBING, reachable=None, probing_since=NOON, challenged_at=None)
    assert due(pending, VALIDATORS_FIRST - MOMENT) is None
    assert due(pending, VALIDATORS_FIRST) is ChallengeKind.HEALTH
    came = replace(pending, probed_at=NOON + timedelta(seconds=3))
    assert due(came, VALIDATORS_FIRST) is None


def test_a_pending_node_out_of_reach_is_asked_at_once_and_then_every_ten_seconds() -> None:
    pending = replace(BEYOND, phase=Phase.PROBING, probing_since=NOON, challenged_at=None)
    assert due(pending, timedelta(0)) is ChallengeKind.HEALTH
    again = replace(pending, challenged_at=NOON)
    assert due(again, PENDING_EVERY - MOMENT) is None
    assert due(again, PENDING_EVERY) is ChallengeKind.HEALTH


@pytest.mark.parametrize("phase", [Phase.REGISTERED, Phase.OFFLINE])
def test_a_node_that_is_not_heard_is_not_asked(phase: Phase) -> None:
    assert due(replace(BEYOND, phase=phase, challenged_at=None, audited_at=None), AUDIT_EVERY) is None


def test_advice_names_what_validators_met() -> None:
    told = endpoint_advice(Phase.ACTIVE, reachable=False, endpoint="http://192.0.2.1:1", fault="Timed out")
    assert told is not None
    assert told.what.endswith("Validators do not reach http://192.0.2.1:1: timed out.")
    assert told.what.startswith("Online, but it receives no requests")
    assert endpoint_advice(Phase.ACTIVE, reachable=True, endpoint="http://192.0.2.1:1") is None


@pytest.mark.parametrize(
    ("phase", "says"),
    [
        (Phase.PROBING, "Validators do not reach the node, so the console asks it"),
        (Phase.ACTIVE, "In service, but not reachable"),
    ],
)
def test_the_explanation_of_a_status_knows_of_it(phase: Phase, says: str) -> None:
    told = explain(phase, "", offline_after=timedelta(minutes=5), reachable=False)
    assert says in told.what


def test_only_a_validators_confirmation_is_called_one() -> None:
    words = {
        reachable: explain(Phase.ACTIVE, "", offline_after=timedelta(minutes=5), reachable=reachable).what
        for reachable in (True, None)
    }
    assert words == {
        True: "In service. A validator has confirmed it.",
        None: "In service. It has passed its probe.",
    }
