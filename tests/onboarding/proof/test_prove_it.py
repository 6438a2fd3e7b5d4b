"""Prove it, through the front door: one request through a node, and its receipt on the page."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from jatevo.accounts.models import Org, Role
from jatevo.audit.models import AuditEvent
from jatevo.metrics.retention_policy import rules
from nodes.models import Challenge, Node
from nodes.rules.challenges import ChallengeOutcome
from nodes.rules.lifecycle import Status
from nodes.tokens import node_gateway_key
from onboarding.models import Proof, ProofState
from onboarding.proof import actions
from onboarding.proof.actions import CRASHED, MOST_A_DAY, ProofRefused, ask_for_proof, carry_out
from onboarding.proof.exchange import PROMPT, Answer
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory
from tests.onboarding.proof.fake_node import FakeNode, running
from tests.onboarding.test_run_a_node import POLL, enrol, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def node(org: Org, settings: Any) -> Node:
    settings.EMBEDDED = True  # which may ask private addresses
    return NodeFactory.create(id="macbook-001", org=org, status=Status.ACTIVE, models_offered=["llama3.1"])


@pytest.fixture
def wizard(operator: Browser, node: Node) -> str:
    """The address of the enrolment with which the node registered."""
    enrollment, _, _ = enrol(operator, node_id="macbook-002")
    enrollment.last_node = node
    enrollment.save()
    return f"/run-a-node/{enrollment.pk}/"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proofs are carried out in the request, not in a thread."""
    monkeypatch.setattr("onboarding.views.carry_out_in_background", carry_out)


def prove(operator: Browser, wizard: str) -> str:
    answer = operator.post(f"{wizard}prove", headers=operator.csrf)
    assert answer.status_code == 302, answer.content
    return text_of(operator.get(answer["Location"]))


@pytest.mark.usefixtures("here")
def test_the_answer_and_the_verified_receipt_are_shown(operator: Browser, wizard: str, node: Node) -> None:
    with running(FakeNode()) as gateway:
        Node.objects.filter(pk=node.pk).update(endpoint=gateway.url)
        shown = prove(operator, wizard)
    proof = Proof.objects.get()
    [(_, headers, _)] = gateway.asked
    assert headers["Authorization"] == f"Bearer {node_gateway_key(node)}"
    assert headers["X-Jatevo-Request-Id"] == proof.request_id
    assert proof.state == ProofState.ANSWERED
    assert "llama3.1, 5 tokens" in shown
    assert "signs and delivers it within seconds" in shown
    ReceiptFactory(node=node, request_id=proof.request_id, at=timezone.now() + timedelta(seconds=1))
    shown = text_of(operator.get(wizard, headers=POLL))
    assert "Receipt verified" in shown
    assert f'href="/receipts/macbook-001/{proof.request_id}/"' in shown
    assert AuditEvent.objects.filter(verb="node.prove").exists()


@pytest.mark.usefixtures("here")
def test_a_node_that_does_not_answer_says_why(operator: Browser, wizard: str, node: Node) -> None:
    with running(FakeNode(status=401)) as gateway:
        Node.objects.filter(pk=node.pk).update(endpoint=gateway.url)
        shown = prove(operator, wizard)
    assert "does not know this console&#x27;s key" in shown
    assert Proof.objects.get().state == ProofState.FAILED


def test_a_node_behind_nat_is_asked_through_its_heartbeats(
    operator: Browser, wizard: str, node: Node
) -> None:
    now = timezone.now()
    Node.objects.filter(pk=node.pk).update(reachable=False, reachable_since=now, last_heartbeat_at=now)
    shown = prove(operator, wizard)
    assert "its next heartbeat takes the request along" in shown
    proof = Proof.objects.get()
    challenge = Challenge.objects.get(node=node, request_id=proof.request_id)
    assert challenge.prompt == PROMPT
    Challenge.objects.update(
        outcome=ChallengeOutcome.PASSED,
        asked_at=now,
        settled_at=now,
        answer_ms=840.0,
        first_token_ms=120.0,
        tokens_output=12,
    )
    shown = text_of(operator.get(wizard, headers=POLL))
    assert "12 tokens" in shown
    assert "120 ms" in shown
    ReceiptFactory(node=node, request_id=proof.request_id, at=timezone.now() + timedelta(seconds=1))
    assert "Receipt verified" in text_of(operator.get(wizard, headers=POLL))


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (ChallengeOutcome.EXPIRED, "did not answer in time"),
        (ChallengeOutcome.VOID, "sent no heartbeat"),
        (ChallengeOutcome.FAILED, "its runtime did not"),
    ],
)
def test_a_node_behind_nat_that_does_not_serve_says_why(
    operator: Browser, wizard: str, node: Node, outcome: ChallengeOutcome, sentence: str
) -> None:
    now = timezone.now()
    Node.objects.filter(pk=node.pk).update(reachable=False, reachable_since=now, last_heartbeat_at=now)
    prove(operator, wizard)
    Challenge.objects.update(outcome=outcome, asked_at=now, settled_at=now)
    assert sentence in text_of(operator.get(wizard, headers=POLL))


def test_a_silent_node_behind_nat_is_not_asked_and_may_be_proved_at_once_later(
    operator: Browser, wizard: str, node: Node
) -> None:
    now = timezone.now()
    Node.objects.filter(pk=node.pk).update(
        reachable=False, reachable_since=now, last_heartbeat_at=now - timedelta(minutes=5)
    )
    assert "sends no heartbeats" in prove(operator, wizard)
    assert Proof.objects.count() == 0


@pytest.mark.usefixtures("here")
def test_once_a_minute(operator: Browser, wizard: str) -> None:
    prove(operator, wizard)
    shown = prove(operator, wizard)
    assert "once a minute" in shown
    assert Proof.objects.count() == 1


def test_twenty_times_a_day(node: Node, org: Org) -> None:
    person = make_user(Role.OPERATOR, org=org, email="second@example.org")
    now = timezone.now()
    for number in range(MOST_A_DAY):
        ask_for_proof(node=node, by=person, at=now - timedelta(minutes=2 * (MOST_A_DAY - number)))
    with pytest.raises(ProofRefused, match="20 times a day"):
        ask_for_proof(node=node, by=person, at=now)
    ask_for_proof(node=node, by=person, at=now + timedelta(days=1))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"status": Status.PENDING}, "not active yet"), ({"models_offered": []}, "offers no model yet")],
)
def test_a_node_that_could_not_answer_is_not_asked(
    operator: Browser, wizard: str, node: Node, changes: dict[str, Any], sentence: str
) -> None:
    Node.objects.filter(pk=node.pk).update(**changes)
    assert "Prove it</button>" not in text_of(operator.get(wizard)).replace("\n", "")
    assert sentence in prove(operator, wizard)
    assert Proof.objects.count() == 0


def test_outsiders_and_viewers_prove_nothing(wizard: str) -> None:
    outsider = Browser().hold_session(
        make_user(Role.OPERATOR, org=OrgFactory.create(), email="o@example.org")
    )
    assert outsider.post(f"{wizard}prove", headers=outsider.csrf).status_code == 404
    viewer = Browser().hold_session(make_user(Role.VIEWER))
    assert viewer.post(f"{wizard}prove", headers=viewer.csrf).status_code == 403
    assert Proof.objects.count() == 0


def test_a_node_that_moved_to_another_org_is_no_longer_asked(
    operator: Browser, wizard: str, node: Node
) -> None:
    Node.objects.filter(pk=node.pk).update(org=OrgFactory.create())
    assert operator.post(f"{wizard}prove", headers=operator.csrf).status_code == 404


def test_a_get_proves_nothing(operator: Browser, wizard: str) -> None:
    assert operator.get(f"{wizard}prove").status_code == 405


def test_one_that_was_lost_with_its_process_says_so(
    operator: Browser, wizard: str, node: Node, org: Org
) -> None:
    person = make_user(Role.OPERATOR, org=org, email="second@example.org")
    ask_for_proof(node=node, by=person, at=timezone.now() - timedelta(minutes=1))
    assert "Try again" in text_of(operator.get(wizard))


@pytest.mark.usefixtures("here")
def test_a_mistake_of_the_console_ends_the_proof_with_a_sentence(
    operator: Browser, wizard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the page would show it as under way until it counts as lost."""

    async def broken(*args: object) -> Answer:
        raise RuntimeError("a bug")

    monkeypatch.setattr(actions, "ask", broken)
    assert CRASHED in prove(operator, wizard)
    proof = Proof.objects.get()
    assert (proof.state, proof.finished_at is not None) == (ProofState.FAILED, True)


@pytest.mark.usefixtures("here")
def test_an_end_that_the_database_refuses_ends_the_proof_with_a_sentence(
    operator: Browser, wizard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def impossible(*args: object) -> Answer:
        return Answer(1.0, 2.0, tokens_output=-5)

    record = actions._finish

    def in_a_savepoint(*args: Any, **named: Any) -> None:
        with transaction.atomic():
            record(*args, **named)

    monkeypatch.setattr(actions, "ask", impossible)
    monkeypatch.setattr(actions, "_finish", in_a_savepoint)  # a test is a transaction of its own
    assert CRASHED in prove(operator, wizard)


def test_proofs_are_deleted_with_the_challenges_by_the_workers_retention(node: Node, org: Org) -> None:
    person = make_user(Role.OPERATOR, org=org, email="second@example.org")
    now = timezone.now()
    ages = [timedelta(days=days) for days in (40, 31, 29, 0)]
    made = [ask_for_proof(node=node, by=person, at=now - age) for age in ages]
    assert Proof.objects.count() == len(made)
    kept = {rule.name: rule for rule in rules()}
    rule = kept["onboarding_proof"]
    assert rule.keep_days == kept["nodes_challenge"].keep_days == 30
    assert [str(each) for each in rule.drop(rule.before(now), False)] == ["2 rows"]
    assert set(Proof.objects.all()) == set(made[2:])


def test_too_many_at_once_are_refused_and_not_queued(node: Node, org: Org) -> None:
    person = make_user(Role.OPERATOR, org=org, email="second@example.org")
    proof = ask_for_proof(node=node, by=person, at=timezone.now())
    places = [actions._places.acquire(blocking=False) for _ in range(actions.MOST_AT_ONCE)]
    try:
        assert all(places)
        actions.carry_out_in_background(proof)
    finally:
        for _ in places:
            actions._places.release()
    proof.refresh_from_db()
    assert "busy with other proofs" in proof.problem
