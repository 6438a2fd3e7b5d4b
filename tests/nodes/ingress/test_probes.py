"""POST /v1/probes and what validators are assigned, through the front door."""

import time
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone
from nacl.signing import SigningKey

from jatevo.audit.record import SYSTEM
from jatevo.metrics.models import Outbox
from jatevo.wire.keys import public_key_text
from nodes.actions import add_key
from nodes.models import Exemption, ExemptionKind, Node, Probe, Validator
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory, ValidatorFactory
from tests.machines import Answer, SignedSender

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("both_adapters")]


@pytest.fixture
def validator() -> SignedSender:
    return SignedSender.validator(ValidatorFactory.create())


def probing(**fields: Any) -> Node:
    return NodeFactory.create(status=Status.PENDING, probing_since=timezone.now(), **fields)


def probe(validator: SignedSender, node: Node, **members: Any) -> Answer:
    body = {"node_id": node.pk, "kind": "health", "ok": True, "ts": time.time(), **members}
    return validator.send("/v1/probes", body)


def test_passed_health_probe_makes_a_probing_node_active(validator: SignedSender) -> None:
    node = probing()
    answer = probe(validator, node, p50=10.0, p95=20.0, p99=30.0, tps=40.5, detail="answered")
    assert (answer.status_code, answer.json()["status"]) == (201, "active")
    node.refresh_from_db()
    assert node.status == Status.ACTIVE
    assert node.transitions.get().actor_id == validator.sender
    (fact,) = Outbox.objects.filter(kind="latency")
    assert (fact.body["p95"], fact.body["node_id"]) == (20.0, node.pk)


def test_registered_node_needs_a_heartbeat_before_a_probe_counts(validator: SignedSender) -> None:
    node = NodeFactory.create()
    assert probe(validator, node).json()["status"] == "pending"
    node.refresh_from_db()
    assert node.status == Status.PENDING


def test_three_failed_probes_in_a_row_quarantine(validator: SignedSender) -> None:
    node = probing()
    statuses = [probe(validator, node, ok=False, detail="refused").json()["status"] for _ in range(3)]
    assert statuses == ["pending", "pending", "quarantine"]
    node.refresh_from_db()
    assert node.transitions.get(to_status="quarantine").evidence["detail"] == "refused"


def test_failed_audit_quarantines_and_three_passed_ones_end_it(validator: SignedSender) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    wrong = {"kind": "audit", "ok": False, "fault": "wrong_output"}
    assert probe(validator, node, **wrong).json()["status"] == "quarantine"
    evidence = node.transitions.get().evidence
    assert (evidence["kind"], evidence["fault"]) == ("audit", "wrong_output")
    outcomes: list[dict[str, Any]] = [{}, {}, wrong, {}, {}, {}]
    statuses = [probe(validator, node, **{"kind": "audit", **each}).json()["status"] for each in outcomes]
    assert statuses == ["quarantine"] * 5 + ["active"]


def test_a_probe_that_changes_no_status_takes_three_queries(
    validator: SignedSender, django_assert_num_queries: Any
) -> None:
    node = NodeFactory.create(status=Status.ACTIVE, endpoint="http://10.0.0.1:1")
    with django_assert_num_queries(3):  # the token, the node, and the probe with all that follows from it
        assert probe(validator, node, kind="latency", p95=20.0).status_code == 201
    node.refresh_from_db()
    assert node.reachable is True and node.reachable_since == node.last_latency_at
    assert node.last_health_at is None
    assert node.hours.get().latency_passed == 1
    assert Outbox.objects.get(kind="latency").body["p95"] == 20.0
    seen = Validator.objects.get().last_seen_at
    assert seen == node.last_latency_at
    assert probe(validator, node, ok=False, fault="validator").status_code == 201
    node.refresh_from_db()
    assert node.last_health_at is None and node.reachable is True, "it says nothing about the node"
    assert node.hours.get().health_failed == 0


FALSE_ANSWERS = ["bad_answer", "bad_signature", "wrong_output"]
OUT_OF_REACH = ["unreachable", "timeout", "refused", "bad_status", "too_slow", None]
# What used to decide: words that a validator writes for people.
WORDS = ["wrong signature", "timeout", "connection refused", ""]


def hour_of(node: Node) -> dict[str, int]:
    names = (
        "health_passed",
        "health_failed",
        "audits_passed",
        "audits_failed",
        "latency_passed",
        "latency_slow",
    )
    hour = node.hours.first()
    counted = {name: int(getattr(hour, name, 0)) for name in names}
    return {name: count for name, count in counted.items() if count}


@pytest.mark.parametrize("detail", WORDS)
@pytest.mark.parametrize("fault", FALSE_ANSWERS)
def test_a_false_answer_fails_an_audit_for_what_it_is(
    validator: SignedSender, fault: str, detail: str
) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    answer = probe(validator, node, kind="audit", ok=False, fault=fault, detail=detail)
    assert answer.json()["status"] == "quarantine"
    assert hour_of(node) == {"audits_failed": 1}


@pytest.mark.parametrize("detail", WORDS)
@pytest.mark.parametrize("fault", OUT_OF_REACH)
def test_an_audit_that_never_reached_its_node_convicts_nobody(
    validator: SignedSender, fault: str | None, detail: str
) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    for _ in range(4):
        answer = probe(validator, node, kind="audit", ok=False, fault=fault, detail=detail)
        assert answer.json()["status"] == "active"
    assert hour_of(node) == {"health_failed": 4}
    kept = Probe.objects.first()
    assert kept is not None
    assert (kept.kind, kept.fault, kept.counts_as) == ("audit", fault or "unreachable", "health")


@pytest.mark.parametrize("fault", [*FALSE_ANSWERS, *OUT_OF_REACH])
def test_a_health_probe_fails_by_any_fault_of_the_node(validator: SignedSender, fault: str | None) -> None:
    node = probing()
    statuses = [probe(validator, node, ok=False, fault=fault).json()["status"] for _ in range(3)]
    assert statuses == ["pending", "pending", "quarantine"]
    assert hour_of(node) == {"health_failed": 3}


@pytest.mark.parametrize("kind", ["health", "audit", "latency"])
def test_a_validators_own_trouble_counts_for_nothing(validator: SignedSender, kind: str) -> None:
    node = probing()
    for _ in range(4):
        answer = probe(validator, node, kind=kind, ok=False, fault="validator", detail="wrong signature")
        assert (answer.status_code, answer.json()["status"]) == (201, "pending")
    node.refresh_from_db()
    assert (node.failed_probes, hour_of(node), Probe.objects.count()) == (0, {}, 4)
    assert node.last_health_at is None  # so that the probe is still due


@pytest.mark.parametrize("fault", OUT_OF_REACH)
def test_an_audit_out_of_reach_fails_a_pending_node_as_a_health_probe_does(
    validator: SignedSender, fault: str | None
) -> None:
    node = probing()
    statuses = [
        probe(validator, node, kind="audit", ok=False, fault=fault).json()["status"] for _ in range(3)
    ]
    assert statuses == ["pending", "pending", "quarantine"]


@pytest.mark.parametrize(("fault", "quarantined"), [("bad_answer", True), ("timeout", False)])
def test_no_exemption_covers_a_false_answer_to_a_health_probe(
    validator: SignedSender, fault: str, quarantined: bool
) -> None:
    node = probing()
    exempt(node, ExemptionKind.INCIDENT)
    for _ in range(3):
        probe(validator, node, ok=False, fault=fault)
    node.refresh_from_db()
    assert (node.status == Status.QUARANTINE) is quarantined


def test_audits_do_not_end_a_quarantine_for_fraud(validator: SignedSender) -> None:
    node = NodeFactory.create(status=Status.QUARANTINE, fraud=True)
    for _ in range(5):
        assert probe(validator, node, kind="audit").json()["status"] == "quarantine"


def test_latency_probe_is_measured_and_moves_nothing(validator: SignedSender) -> None:
    node = probing()
    assert probe(validator, node, kind="latency", p95=12.5).json()["status"] == "pending"
    assert Outbox.objects.filter(kind="latency").count() == 1
    assert Probe.objects.get().p95_ms == 12.5


@pytest.mark.parametrize(
    ("members", "status", "field"),
    [
        ({"kind": "ping"}, 422, "kind"),
        ({"ok": "yes"}, 422, "ok"),
        ({"p95": -1}, 422, "p95"),
        ({"detail": "x" * 501}, 422, "detail"),
        ({"ok": False, "fault": "bad luck"}, 422, "fault"),
        ({"ok": True, "fault": "timeout"}, 422, "fault"),
        ({"ts": 1}, 422, "ts"),
    ],
)
def test_wrong_field_is_named_and_nothing_kept(
    validator: SignedSender, members: dict[str, Any], status: int, field: str
) -> None:
    answer = probe(validator, probing(), **members)
    assert answer.status_code == status
    assert answer.json()["error"]["details"][0]["field"] == field
    assert not Probe.objects.exists()


def test_unknown_node_is_not_found(validator: SignedSender) -> None:
    answer = validator.send(
        "/v1/probes", {"node_id": "nobody", "kind": "health", "ok": True, "ts": time.time()}
    )
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found")


def test_node_is_no_validator() -> None:
    node = probing()
    answer = SignedSender.node(node).send(
        "/v1/probes", {"node_id": node.pk, "kind": "health", "ok": True, "ts": 1}
    )
    assert answer.status_code == 401
    forged = SignedSender("X-Validator-Id", node.pk, SignedSender.node(node).secret)
    assert probe(forged, node).status_code == 401
    node.refresh_from_db()
    assert node.status == Status.PENDING


def test_dismissed_validator_is_refused() -> None:
    validator = ValidatorFactory.create(is_active=False)
    assert probe(SignedSender.validator(validator), probing()).status_code == 401


def assigned(validator: SignedSender) -> dict[str, list[str]]:
    answer = validator.get("/v1/validators/assignments")
    assert answer.status_code == 200
    return {line["node_id"]: line["due"] for line in answer.json()["assignments"]}


def test_assignments_are_what_is_due(validator: SignedSender) -> None:
    now = timezone.now()
    NodeFactory.create(id="registered")
    NodeFactory.create(id="offline", status=Status.OFFLINE)
    NodeFactory.create(id="nowhere", status=Status.ACTIVE, endpoint="")
    NodeFactory.create(id="fraud", status=Status.QUARANTINE, fraud=True)
    NodeFactory.create(id="quarantined", status=Status.QUARANTINE)
    NodeFactory.create(
        id="fresh", status=Status.ACTIVE, last_health_at=now, last_latency_at=now, last_audit_at=now
    )
    old = now - timedelta(minutes=2)
    NodeFactory.create(
        id="stale", status=Status.ACTIVE, last_health_at=old, last_latency_at=now, last_audit_at=now
    )
    probing(id="waiting")
    probing(id="again", last_health_at=now - timedelta(seconds=1))
    probing(id="just-probed", last_health_at=now + timedelta(seconds=1))
    assert assigned(validator) == {
        "waiting": ["health"],
        "again": ["health"],
        "stale": ["health"],
        "quarantined": ["audit"],
    }


def test_assignment_leaves_the_list_once_probed(validator: SignedSender) -> None:
    node = probing()
    assert assigned(validator) == {node.pk: ["health"]}
    probe(validator, node, ok=False)
    assert assigned(validator) == {}


def test_assignment_names_the_current_key_and_the_former_ones_newest_first(validator: SignedSender) -> None:
    node = probing()
    texts = [public_key_text(bytes(node.keys.get().public_key))]
    for hours_ago in (3, 2, 1):
        fresh = bytes(SigningKey.generate().verify_key)
        at = timezone.now() - timedelta(hours=hours_ago)
        add_key(node=node, public_key=fresh, by=SYSTEM, at=at)
        texts.insert(0, public_key_text(fresh))
    (line,) = validator.get("/v1/validators/assignments").json()["assignments"]
    assert [line["public_key"], *line["former_keys"]] == texts


def test_audit_that_met_a_former_key_convicts_nobody(validator: SignedSender) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    answer = probe(
        validator,
        node,
        kind="audit",
        ok=False,
        fault="bad_status",
        detail="signed with a former key of the node",
    )
    assert answer.json()["status"] == "active"


def test_assignments_are_for_validators_alone() -> None:
    assert SignedSender.node(probing()).get("/v1/validators/assignments").status_code == 401


def test_probe_that_is_replayed_after_a_loss_of_the_cache_counts_once(
    validator: SignedSender, redis_client: redis.Redis
) -> None:
    node = probing()
    body = {"node_id": node.pk, "kind": "health", "ok": False, "ts": time.time()}
    statuses = []
    for _ in range(3):
        statuses.append(validator.send("/v1/probes", body, message_id="msg_same").status_code)
        redis_client.flushall()
    assert statuses == [201, 409, 409]
    node.refresh_from_db()
    assert (node.status, node.failed_probes) == (Status.PENDING, 1)


def exempt(node: Node, kind: ExemptionKind) -> None:
    now = timezone.now()
    Exemption.objects.create(
        kind=kind,
        node=node if kind is ExemptionKind.MAINTENANCE else None,
        starts_at=now - timedelta(minutes=1),
        ends_at=now + timedelta(hours=1),
        created_by="somebody@example.org",
    )


@pytest.mark.parametrize("kind", [ExemptionKind.MAINTENANCE, ExemptionKind.INCIDENT])
def test_failed_probes_of_an_exempt_node_are_measured_and_move_nothing(
    validator: SignedSender, kind: ExemptionKind
) -> None:
    node = probing()
    exempt(node, kind)
    for _ in range(4):
        assert probe(validator, node, ok=False, detail="connection refused").json()["status"] == "pending"
    node.refresh_from_db()
    assert (node.status, node.failed_probes, Probe.objects.count()) == (Status.PENDING, 0, 4)
    Exemption.objects.all().delete()
    for _ in range(3):
        probe(validator, node, ok=False)
    node.refresh_from_db()
    assert node.status == Status.QUARANTINE


@pytest.mark.parametrize(
    ("fault", "status"), [("timeout", "active"), ("bad_signature", "quarantine"), (None, "active")]
)
def test_an_exempt_node_may_be_out_of_reach_of_an_audit_but_not_answer_it_wrongly(
    validator: SignedSender, fault: str | None, status: str
) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    exempt(node, ExemptionKind.MAINTENANCE)
    assert probe(validator, node, kind="audit", ok=False, fault=fault).json()["status"] == status


def test_an_audit_that_did_not_reach_an_exempt_node_does_not_restart_the_way_out(
    validator: SignedSender,
) -> None:
    node = NodeFactory.create(status=Status.QUARANTINE, passed_audits=2)
    exempt(node, ExemptionKind.MAINTENANCE)
    probe(validator, node, kind="audit", ok=False, fault="timeout")
    assert probe(validator, node, kind="audit", ok=True).json()["status"] == "active"


def test_in_its_owners_maintenance_a_node_is_audited_but_not_asked_whether_it_is_there(
    validator: SignedSender,
) -> None:
    working, waiting = NodeFactory.create(status=Status.ACTIVE), probing()
    held = NodeFactory.create(status=Status.QUARANTINE)
    everything = {working.pk: ["health", "latency", "audit"], waiting.pk: ["health"], held.pk: ["audit"]}
    exempt(working, ExemptionKind.INCIDENT)  # of everybody: they are probed as ever
    assert assigned(validator) == everything
    for each in (working, waiting, held):
        exempt(each, ExemptionKind.MAINTENANCE)
    assert assigned(validator) == {working.pk: ["audit"], held.pk: ["audit"]}
    Exemption.objects.filter(kind="maintenance").update(ends_at=timezone.now())
    assert assigned(validator) == everything
