"""Answers to challenges that come at the same time: judged each alone, and stored together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection
from django.forms.models import model_to_dict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from psycopg.errors import DeadlockDetected

from jatevo.web.errors import ApiError
from jatevo.web.gathering import Later
from nodes import actions
from nodes.actions import ChallengeAnswer, SentAnswer
from nodes.ingress.challenges import CHALLENGES
from nodes.ingress.signed import Answer, SignedRequest
from nodes.models import Challenge, Node, Probe
from nodes.rules.lifecycle import Status
from tests.factories import signing_key_of
from tests.lane import signed
from tests.machines import SignedSender
from tests.nodes.challenged import OUTPUT, answer_to, asked_surely, unreachable
from tests.nodes.ingress.test_probes import hour_of

pytestmark = pytest.mark.django_db


def answers_of(challenges: Sequence[tuple[Node, dict[str, Any]]], **said: Any) -> list[SignedRequest]:
    """Signed answers that come at the same time, each with its output."""
    return [
        signed(SignedSender.node(node), answer_to(node, challenge, **OUTPUT, **said))
        for node, challenge in challenges
    ]


def answered(requests: Sequence[SignedRequest]) -> list[Answer | ApiError]:
    """The answers, those that were left to be taken alone included."""
    return [each.answer() if isinstance(each, Later) else each for each in CHALLENGES.answer(requests)]


def statuses(answers: Sequence[Answer | ApiError]) -> list[int]:
    return [each.status for each in answers]


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.PENDING])
def test_many_answers_that_pass_take_as_many_statements_as_few(
    clock: time_machine.Traveller, status: Status
) -> None:
    def statements_for(count: int) -> int:
        nodes = [unreachable() for _ in range(count)]
        since = timezone.now() if status is Status.PENDING else None
        Node.objects.filter(pk__in=[node.pk for node in nodes]).update(status=status, probing_since=since)
        sent = answers_of([(node, asked_surely(node)) for node in nodes])
        clock.shift(1.5)
        with CaptureQueriesContext(connection) as made:
            assert statuses(answered(sent)) == [200] * count
        found = Node.objects.filter(pk__in=[node.pk for node in nodes])
        assert set(found.values_list("status", flat=True)) == {Status.ACTIVE}
        return len(made)

    assert statements_for(20) == statements_for(2)


def test_what_passes_together_is_stored_as_what_passes_alone(clock: time_machine.Traveller) -> None:
    together = unreachable(challenge_audited_at=timezone.now())
    audited, alone = unreachable(), unreachable(challenge_audited_at=timezone.now())
    asked_ones = [(node, asked_surely(node)) for node in (together, audited, alone)]
    clock.shift(1.5)
    assert statuses(answered(answers_of(asked_ones[:2]))) == [200, 200]
    (node, challenge), at = asked_ones[2], timezone.now()
    answer = ChallengeAnswer(challenge["id"], answer_to(node, challenge)["signature"], **OUTPUT)
    key = bytes(signing_key_of(node.pk).verify_key)
    actions.answer_challenge(sent=SentAnswer(node.pk, answer, at, key), at=at)

    def stored(node: Node) -> tuple[Any, ...]:
        challenge, probe = Challenge.objects.get(node=node), Probe.objects.get(node=node)
        node.refresh_from_db()
        assert challenge.probe == probe
        own = {"id", "node", "nonce", "probe"}
        return (
            {name: value for name, value in model_to_dict(challenge).items() if name not in own},
            {name: value for name, value in model_to_dict(probe).items() if name not in own},
            node.challenge_passed_at,
            hour_of(node),
        )

    assert stored(together) == stored(alone)
    assert (Probe.objects.get(node=audited).kind, hour_of(audited)) == ("audit", {"audits_passed": 1})


def test_deadlock_of_many_ends_with_none_of_them_refused(
    clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [unreachable() for _ in range(4)]
    sent = answers_of([(node, asked_surely(node)) for node in nodes])
    passing = actions.pass_challenges

    def deadlocked(*, sent: Sequence[SentAnswer], at: datetime) -> list[actions.TakenAnswer | None]:
        if len(sent) > 2:
            raise OperationalError("deadlock detected") from DeadlockDetected()
        return passing(sent=sent, at=at)

    monkeypatch.setattr(actions, "pass_challenges", deadlocked)
    assert statuses(answered(sent)) == [200] * 4


def test_answer_that_is_taken_alone_locks_its_node_before_the_nodes_hour(
    clock: time_machine.Traveller,
) -> None:
    node = unreachable()
    (request,) = answers_of([(node, asked_surely(node))], signature="A" * 86 + "==")
    with CaptureQueriesContext(connection) as made:
        assert statuses(answered([request])) == [422]
    said = [each["sql"] for each in made.captured_queries]
    (lock, *_) = [n for n, sql in enumerate(said) if 'FROM "nodes_node"' in sql and "NO KEY UPDATE" in sql]
    (hour,) = [n for n, sql in enumerate(said) if "INTO nodes_nodehour" in sql]
    assert lock < hour


def test_answer_that_waits_for_others_is_not_late(clock: time_machine.Traveller) -> None:
    node = unreachable()
    (request,) = answers_of([(node, asked_surely(node))])
    clock.shift(60)
    assert statuses(answered([request])) == [200]


def test_each_of_many_answers_is_judged_alone(clock: time_machine.Traveller) -> None:
    pending, _, twice, late, strange, _ = nodes = [unreachable() for _ in range(6)]
    Node.objects.filter(pk=pending.pk).update(status=Status.PENDING, probing_since=timezone.now())
    sent = [(node, asked_surely(node)) for node in nodes]
    Challenge.objects.filter(node=late).update(expires_at=timezone.now())
    clock.shift(1.5)
    requests = [
        *answers_of([sent[0]]),
        *answers_of([sent[1]], signature="A" * 86 + "=="),
        *answers_of([sent[2], sent[2], sent[3]]),
        *answers_of([(strange, sent[5][1]), sent[5]]),
    ]
    assert statuses(answered(requests)) == [200, 422, 200, 409, 422, 404, 200]
    outcomes = dict(Challenge.objects.values_list("node_id", "outcome"))
    assert [outcomes[node.pk] for node in nodes] == ["passed", "failed", "passed", "open", "open", "passed"]
    pending.refresh_from_db()
    assert pending.status == Status.ACTIVE
    assert Probe.objects.filter(node=twice).count() == 1
