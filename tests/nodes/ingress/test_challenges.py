"""Challenges through heartbeats: who is asked, and what an answer counts for. Through the front door."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from nacl.signing import SigningKey
from structlog.testing import capture_logs

from jatevo.audit.record import SYSTEM
from nodes.actions import add_key, challenges
from nodes.actions.challenges import expire_challenges
from nodes.models import Challenge, Exemption, ExemptionKind, Node, Probe
from nodes.rules.challenges import AUDIT_EVERY, HEALTH_EVERY, QUARANTINE_AUDIT_EVERY, VALIDATORS_AWAY
from nodes.rules.lifecycle import Status
from nodes.sweeper import start_counting, sweep
from tests.factories import NodeFactory, ValidatorFactory
from tests.machines import SignedSender
from tests.nodes.challenged import OUTPUT, asked, asked_surely, reply, unreachable
from tests.nodes.ingress.test_probes import hour_of, probe

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("both_adapters")]

NOT_REACHED = ["unreachable", "timeout", "refused", "bad_status"]


def test_a_node_without_an_endpoint_becomes_active_by_its_answer(clock: time_machine.Traveller) -> None:
    node = NodeFactory.create(endpoint="")
    challenge = asked_surely(node)
    assert set(challenge) == {"id", "nonce", "prompt", "expires_at"}
    clock.shift(1.5)
    answer = reply(node, challenge, **OUTPUT)
    assert answer.status_code == 200
    assert answer.json() == {"id": challenge["id"], "status": "active", "passed": True, "answer_ms": 1500.0}
    node.refresh_from_db()
    assert (node.status, node.reachable) == (Status.ACTIVE, False)
    passed = Probe.objects.get()
    assert (passed.kind, passed.ok, passed.validator, passed.counts_as) == ("health", True, None, "health")
    assert "1500 ms" in passed.detail
    kept = Challenge.objects.get()
    assert (kept.probe, kept.tokens_output, kept.first_token_ms) == (passed, 5, 210.5)
    transition = node.transitions.get(to_status="active")
    assert (transition.actor_kind, transition.actor_id) == ("system", "console")


@pytest.mark.parametrize("fault", NOT_REACHED)
def test_a_node_that_no_validator_reaches_is_asked_instead_of_quarantined(
    clock: time_machine.Traveller, fault: str
) -> None:
    node = NodeFactory.create()
    validator = SignedSender.validator(ValidatorFactory.create())
    assert asked(node) is None  # validators come first
    for _ in range(4):
        clock.shift(1)
        assert probe(validator, node, ok=False, fault=fault).json()["status"] == "pending"
    clock.shift(6)
    challenge = asked_surely(node)
    assert reply(node, challenge).json()["status"] == "active"
    assert hour_of(node) == {"health_passed": 1}


def test_a_pending_node_is_asked_when_no_validator_comes(clock: time_machine.Traveller) -> None:
    node = NodeFactory.create()
    assert asked(node) is None
    clock.shift(10)
    assert asked(node) is None
    clock.shift(10)
    assert reply(node, asked_surely(node)).json()["status"] == "active"
    node.refresh_from_db()
    assert node.reachable is None  # nobody has tried


def test_a_reachable_node_is_not_asked(clock: time_machine.Traveller) -> None:
    node = NodeFactory.create(status=Status.ACTIVE, reachable=True, reachable_since=timezone.now())
    for _ in range(3):
        assert asked(node) is None
        clock.shift(HEALTH_EVERY)


def test_three_unanswered_challenges_in_a_row_quarantine_a_pending_node(
    clock: time_machine.Traveller,
) -> None:
    node = NodeFactory.create(endpoint="")
    statuses: list[str] = []
    while (node.status == Status.PENDING) and len(statuses) < 20:
        asked(node)
        clock.shift(11)
        sweep(at=timezone.now())
        node.refresh_from_db()
        statuses.append(node.status)
    assert node.status == Status.QUARANTINE
    assert Challenge.objects.filter(outcome="expired").count() == 3
    evidence = node.transitions.get(to_status="quarantine").evidence
    assert (evidence["fault"], evidence["kind"]) == ("timeout", "health")
    assert hour_of(node) == {"health_failed": 3}


def test_an_answer_in_between_starts_the_count_again(clock: time_machine.Traveller) -> None:
    node = unreachable()
    for number in range(5):
        challenge = asked_surely(node)
        if number == 2:
            reply(node, challenge)
        clock.shift(30)
        asked(node)
        sweep(at=timezone.now())
        clock.shift(31)
    node.refresh_from_db()
    assert node.status == Status.ACTIVE


def test_in_service_it_is_asked_once_a_minute_and_audited_each_hour(clock: time_machine.Traveller) -> None:
    node = unreachable()
    kinds = []
    for _ in range(int(AUDIT_EVERY / timedelta(seconds=30)) + 4):
        if (challenge := asked(node)) is not None:
            kinds.append(Challenge.objects.get(pk=challenge["id"]).kind)
            assert ("prompt" in challenge) == (kinds[-1] == "audit")  # the runtime is asked once an hour
            assert reply(node, challenge, **OUTPUT).status_code == 200
        clock.shift(30)
    assert kinds == ["audit", *["health"] * 59, "audit", "health"]
    assert hour_of(node).get("audits_failed") is None


def test_an_audit_without_an_output_is_a_failed_health_probe(clock: time_machine.Traveller) -> None:
    node = unreachable()
    challenge = asked_surely(node)
    answer = reply(node, challenge)
    assert (answer.status_code, answer.json()["passed"], answer.json()["status"]) == (200, False, "active")
    assert hour_of(node) == {"health_failed": 1}


def test_three_answered_audits_end_a_quarantine(clock: time_machine.Traveller) -> None:
    node = unreachable(Status.QUARANTINE)
    statuses = []
    for _ in range(3):
        statuses.append(reply(node, asked_surely(node), **OUTPUT).json()["status"])
        clock.shift(QUARANTINE_AUDIT_EVERY)
    assert statuses == ["quarantine", "quarantine", "active"]


def test_no_audit_is_sent_to_a_node_in_quarantine_for_fraud(clock: time_machine.Traveller) -> None:
    assert asked(unreachable(Status.QUARANTINE, fraud=True)) is None


def test_a_wrong_signature_fails_an_audit(clock: time_machine.Traveller) -> None:
    node = unreachable()
    answer = reply(node, asked_surely(node), key=SigningKey.generate(), **OUTPUT)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_signature")
    node.refresh_from_db()
    assert node.status == Status.QUARANTINE
    assert hour_of(node) == {"audits_failed": 1}


def test_a_signature_for_another_nonce_fails(clock: time_machine.Traveller) -> None:
    node = unreachable()
    challenge = asked_surely(node)
    assert reply(node, {**challenge, "nonce": "0" * 32}, **OUTPUT).status_code == 422
    assert Challenge.objects.get().fault == "bad_signature"


def test_an_old_key_does_not_answer_but_convicts_nobody(clock: time_machine.Traveller) -> None:
    node = unreachable()
    challenge = asked_surely(node)
    fresh = SigningKey.generate()
    add_key(node=node, public_key=bytes(fresh.verify_key), by=SYSTEM, at=timezone.now())
    answer = reply(node, challenge, **OUTPUT)  # the agent has not noticed
    assert (answer.status_code, answer.json()["passed"], answer.json()["status"]) == (200, False, "active")
    clock.shift(HEALTH_EVERY)
    assert reply(node, asked_surely(node), key=fresh).json()["passed"] is True


def test_an_answer_counts_once(clock: time_machine.Traveller) -> None:
    node = unreachable()
    challenge = asked_surely(node)
    assert reply(node, challenge, **OUTPUT).status_code == 200
    again = reply(node, challenge, **OUTPUT)
    assert (again.status_code, again.json()["error"]["type"]) == (409, "replayed_request")
    assert Probe.objects.count() == 1


def test_a_late_answer_is_refused_and_the_challenge_counts_as_unanswered(
    clock: time_machine.Traveller,
) -> None:
    node = NodeFactory.create(endpoint="")
    challenge = asked_surely(node)
    clock.shift(10)
    asked(node)
    clock.shift(10.5)
    late = reply(node, challenge, **OUTPUT)
    assert (late.status_code, late.json()["error"]["type"]) == (422, "invalid_request")
    sweep(at=timezone.now())
    assert reply(node, challenge, **OUTPUT).status_code == 422
    node.refresh_from_db()
    assert (node.status, node.failed_probes) == (Status.PENDING, 1)


def test_another_nodes_challenge_is_not_found(clock: time_machine.Traveller) -> None:
    node, thief = unreachable(), unreachable()
    challenge = asked_surely(node)
    assert reply(node, challenge, by=thief, **OUTPUT).status_code == 404
    assert reply(thief, challenge, by=thief, **OUTPUT).status_code == 404
    assert reply(node, {**challenge, "id": str(uuid.uuid4())}).status_code == 404
    assert Probe.objects.count() == 0


def test_a_node_cannot_answer_in_anothers_name(clock: time_machine.Traveller) -> None:
    node, thief = unreachable(), unreachable()
    challenge = asked_surely(node)
    answer = reply(node, challenge, by=thief, node_id=node.pk)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "node_mismatch")


@pytest.mark.parametrize(
    "members",
    [
        {"id": "1"},
        {"id": None},
        {"id": "'; DROP TABLE nodes_challenge; --"},
        {"signature": 5},
        {"signature": "x" * 200},
        {"output_hash": "sha256:" + "c" * 64},
        {"output_hash": "blake3:" + "C" * 64},
        {"tokens_output": -1},
        {"tokens_output": 2**31},
        {"tokens_output": 1.5},
        {"first_token_ms": -1},
    ],
)
def test_bad_answers_are_refused_and_leave_the_challenge_open(
    clock: time_machine.Traveller, members: dict[str, Any]
) -> None:
    node = unreachable()
    challenge = asked_surely(node)
    answer = reply(node, challenge, **members)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request")
    assert Challenge.objects.get().outcome == "open"


def test_an_unsigned_answer_changes_nothing(clock: time_machine.Traveller) -> None:
    node = unreachable()
    challenge = asked_surely(node)
    body = {"node_id": node.pk, "id": challenge["id"], "signature": "ed25519:AAAA"}
    sender = SignedSender("X-Node-Id", node.pk, b"another secret")
    assert sender.send("/v1/nodes/challenge", body).status_code == 401
    assert Challenge.objects.get().outcome == "open"


def test_a_node_has_one_open_challenge_of_a_kind_and_no_nonce_twice(clock: time_machine.Traveller) -> None:
    node = unreachable()
    challenge = Challenge.objects.get(pk=asked_surely(node)["id"])
    clock.shift(30)
    assert asked(node) is None
    for changed in ({"kind": "audit", "nonce": "1" * 32}, {"kind": "health", "nonce": challenge.nonce}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Challenge.objects.create(node=node, expires_at=timezone.now(), **changed)


def test_the_consoles_own_outage_blames_nobody(clock: time_machine.Traveller) -> None:
    node = NodeFactory.create(endpoint="")
    asked_surely(node)
    clock.shift(timedelta(hours=1))
    start_counting(at=timezone.now())
    asked(node)
    sweep(at=timezone.now())
    assert Challenge.objects.order_by("created_at").values_list("outcome", flat=True).first() == "void"
    assert Probe.objects.count() == 0


def test_a_short_silence_is_no_way_around_a_challenge(clock: time_machine.Traveller) -> None:
    """Else a node that cannot answer would only have to be silent until the challenge is over."""
    node = unreachable()
    challenge = Challenge.objects.filter(pk=asked_surely(node)["id"])
    for _ in range(9):
        clock.shift(30)
        sweep(at=timezone.now())
    assert challenge.get().outcome == "open"
    clock.shift(20)  # 290 seconds in all
    asked(node)
    sweep(at=timezone.now())
    assert challenge.get().outcome == "expired"
    node.refresh_from_db()
    assert node.status == Status.ACTIVE
    assert hour_of(node) == {"health_failed": 1}


def test_three_short_silences_quarantine_a_pending_node(clock: time_machine.Traveller) -> None:
    node = NodeFactory.create(endpoint="")
    for _ in range(3):
        asked_surely(node)
        clock.shift(45)
        sweep(at=timezone.now())
        asked(node)
        clock.shift(1)
        sweep(at=timezone.now())
    node.refresh_from_db()
    assert node.status == Status.QUARANTINE


def test_a_node_that_goes_offline_is_not_blamed_for_the_challenge_too(clock: time_machine.Traveller) -> None:
    node = unreachable()
    asked_surely(node)
    for _ in range(11):
        clock.shift(30)
        sweep(at=timezone.now())
    assert Challenge.objects.get().outcome == "void"
    node.refresh_from_db()
    assert node.status == Status.OFFLINE
    assert hour_of(node) == {}


def test_an_outage_of_most_nodes_blames_nobody_for_a_challenge(clock: time_machine.Traveller) -> None:
    """They fell silent together before they could answer, and come back before they would be offline."""
    nodes = [unreachable() for _ in range(5)]
    first = Challenge.objects.filter(pk__in=[asked_surely(node)["id"] for node in nodes])
    for _ in range(12):
        clock.shift(10)
        sweep(at=timezone.now())
    assert Exemption.objects.filter(kind=ExemptionKind.OUTAGE).exists()
    for node in nodes:
        asked(node)
    sweep(at=timezone.now())
    clock.shift(10)
    sweep(at=timezone.now())
    assert list(first.values_list("outcome", flat=True)) == ["void"] * 5
    assert Probe.objects.count() == 0


def test_one_challenge_that_cannot_be_settled_stops_no_other(
    clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [unreachable() for _ in range(3)]
    bad = asked_surely(nodes[0])["id"]
    for node in nodes[1:]:
        asked_surely(node)
    for _ in range(3):
        clock.shift(20.5)
        sweep(at=timezone.now())
    for node in nodes:
        asked(node)

    def probe_of(challenge: Challenge, *about: Any, **how: Any) -> Probe:
        if str(challenge.pk) == bad:
            raise RuntimeError("this one is broken")
        return good(challenge, *about, **how)

    good = challenges.probe_of
    monkeypatch.setattr(challenges, "probe_of", probe_of)
    with capture_logs() as logs:
        sweep(at=timezone.now())
    first = Challenge.objects.filter(kind="audit").values_list("node_id", "outcome")
    assert dict(first) == {nodes[0].pk: "open", nodes[1].pk: "expired", nodes[2].pk: "expired"}
    assert [log["node_id"] for log in logs if log["log_level"] == "error"] == [nodes[0].pk]


def test_many_unanswered_challenges_take_as_many_statements_as_few(clock: time_machine.Traveller) -> None:
    def statements_for(count: int) -> int:
        nodes = [NodeFactory.create(endpoint="") for _ in range(count)]
        for node in nodes:
            asked_surely(node)
        clock.shift(21)
        for node in nodes:  # heard again, so that they are to blame
            asked(node)
        with CaptureQueriesContext(connection) as made:
            sweep(at=timezone.now())
        assert {hour_of(node)["health_failed"] for node in nodes} == {1}
        found = Node.objects.filter(pk__in=[node.pk for node in nodes])
        assert list(found.values_list("failed_probes", flat=True)) == [1] * count
        mine = Challenge.objects.filter(node__in=nodes, outcome="expired", fault="timeout")
        assert mine.filter(probe__ok=False, probe__node=F("node")).count() == count
        Challenge.objects.all().delete()
        return len(made)

    assert statements_for(20) == statements_for(2)


def test_health_and_audit_of_one_node_may_expire_together(clock: time_machine.Traveller) -> None:
    node = NodeFactory.create(endpoint="")
    first = Challenge.objects.get(pk=asked_surely(node)["id"])
    clock.shift(5)
    second = Challenge.objects.create(
        node=node, kind="audit", nonce="b" * 32, asked_at=timezone.now(), expires_at=first.expires_at
    )
    clock.shift(21)
    asked(node)
    assert expire_challenges([first.pk, second.pk], at=timezone.now()) == 2
    node.refresh_from_db()
    assert (node.failed_probes, hour_of(node)) == (2, {"health_failed": 2})


def test_in_its_owners_maintenance_a_node_is_not_asked(clock: time_machine.Traveller) -> None:
    node = unreachable()
    now: datetime = timezone.now()
    Exemption.objects.create(
        kind=ExemptionKind.MAINTENANCE,
        node=node,
        starts_at=now,
        ends_at=now + timedelta(hours=1),
        created_by="a",
    )
    assert asked(node) is None


def test_a_heartbeat_takes_no_more_queries_unless_a_challenge_is_due(
    clock: time_machine.Traveller, django_assert_num_queries: Any
) -> None:
    since = timezone.now()
    reachable = NodeFactory.create(status=Status.ACTIVE, reachable=True, reachable_since=since)
    waiting = unreachable(challenged_at=since)
    for node in (reachable, waiting):
        asked(node)  # which reads its token
        clock.shift(5)
        with django_assert_num_queries(1):  # the heartbeat
            assert asked(node) is None
        clock.shift(5)


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.QUARANTINE])
def test_a_node_that_validators_still_visit_is_not_asked_after_an_update(
    clock: time_machine.Traveller, status: Status
) -> None:
    """Its reach is not known yet, and an older agent could not answer."""
    probed = "last_health_at" if status is Status.ACTIVE else "last_audit_at"
    node = NodeFactory.create(status=status, **{probed: timezone.now() - timedelta(minutes=9)})
    for _ in range(5):
        assert asked(node) is None
        clock.shift(60)
    clock.shift(VALIDATORS_AWAY)
    asked_surely(node)
