"""POST /v1/receipts through the front door: what is accepted, what is not, and what that does to a node."""

import hashlib
import time
import uuid
from datetime import datetime, timedelta

import orjson
import pytest
from django.test import Client
from django.utils import timezone
from nacl.signing import SigningKey
from pytest_django import DjangoAssertNumQueries
from waffle.testutils import override_switch

from jatevo.accounts.models import Role
from jatevo.audit.models import AuditEvent
from jatevo.audit.record import SYSTEM
from jatevo.flags.registry import Flag
from jatevo.metrics.facts import ReceiptFact
from jatevo.metrics.models import Outbox
from jatevo.wire import signing
from nodes.actions import happen
from nodes.models import Node, NodeKey
from nodes.rules.lifecycle import Event, Status
from receipts.facts import facts_of_batch
from receipts.models import Receipt, ReceiptIdentity, RefusalReason, RefusedReceipt, UnjudgedReceipt
from receipts.verify import verify
from tests.accounts.browser import Browser
from tests.factories import (
    FIRST_KEY_SINCE,
    NodeFactory,
    UserFactory,
    receipt_payload,
    signed_receipt,
    signing_key_of,
)
from tests.machines import SignedSender, bearer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("both_adapters")]
URL = "/v1/receipts"


@pytest.fixture
def node() -> Node:
    return NodeFactory.create(status=Status.ACTIVE)


@pytest.fixture
def machine(node: Node) -> SignedSender:
    return SignedSender.node(node)


def test_accepted_receipt_is_kept_with_its_exact_bytes(node: Node, machine: SignedSender) -> None:
    payload = signed_receipt(node.pk, **{"x-extra": {"kept": [1, 2.5, "ü"]}})
    raw = b" \n" + orjson.dumps(payload, option=orjson.OPT_INDENT_2) + b"\n"
    answer = machine.send(URL, raw)
    assert answer.status_code == 201
    assert answer.json() == {
        "request_id": payload["request_id"], "node_id": node.pk, "verified": True, "duplicate": False
    }  # fmt: skip
    receipt = Receipt.objects.get()
    assert bytes(receipt.raw) == raw
    assert bytes(receipt.sha256) == hashlib.sha256(raw).digest()
    assert receipt.payload == payload
    assert receipt.node_status == "active"
    (waiting,) = Outbox.objects.filter(kind="receipt")
    assert (waiting.source_at, waiting.source_id) == (receipt.accepted_at, receipt.id)


def facts_that_wait() -> list[ReceiptFact]:
    batch = uuid.uuid4()
    Outbox.objects.update(batch=batch, claimed_at=timezone.now())
    return list(facts_of_batch(batch).values())


def test_accepted_receipt_records_what_earnings_judge_by_and_is_queued(
    node: Node, machine: SignedSender
) -> None:
    Node.objects.filter(pk=node.pk).update(concurrency=7)
    payload = signed_receipt(node.pk)
    assert machine.send(URL, {"receipts": [payload]}).status_code == 200
    receipt = Receipt.objects.get()
    key = node.keys.get()
    assert (receipt.org_id, receipt.concurrency) == (node.org_id, 7)
    assert (receipt.key_since, receipt.key_until) == (key.valid_from, None)
    queued = UnjudgedReceipt.objects.get()
    assert (queued.id, queued.accepted_at) == (receipt.id, receipt.accepted_at)
    assert (queued.node_id, queued.request_id) == (node.pk, payload["request_id"])


def test_duplicates_conflicts_and_forgeries_are_not_queued(node: Node, machine: SignedSender) -> None:
    payload = signed_receipt(node.pk)
    machine.send(URL, payload)
    machine.send(URL, payload)
    machine.send(URL, signed_receipt(node.pk, request_id=payload["request_id"], tokens_output=93))
    machine.send(URL, signing.sign(receipt_payload(node.pk), SigningKey.generate()))
    assert [row.request_id for row in UnjudgedReceipt.objects.all()] == [payload["request_id"]]


def test_a_receipt_counts_for_the_region_of_its_node_whatever_it_says(
    node: Node, machine: SignedSender
) -> None:
    assert machine.send(URL, signed_receipt(node.pk, region="made-up-1")).status_code == 201
    assert Receipt.objects.get().region == "made-up-1"
    assert [fact.region for fact in facts_that_wait()] == [node.region]


def test_same_bytes_again_are_a_duplicate_and_not_counted_twice(node: Node, machine: SignedSender) -> None:
    payload = signed_receipt(node.pk)
    assert machine.send(URL, payload).status_code == 201
    again = machine.send(URL, payload)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert Receipt.objects.count() == ReceiptIdentity.objects.count() == Outbox.objects.count() == 1


def test_same_receipt_in_another_spelling_is_a_duplicate(node: Node, machine: SignedSender) -> None:
    payload = signed_receipt(node.pk)
    assert machine.send(URL, payload).status_code == 201
    assert machine.send(URL, orjson.dumps(payload, option=orjson.OPT_INDENT_2)).status_code == 200
    assert Receipt.objects.count() == 1


def test_same_id_with_other_content_is_a_conflict(node: Node, machine: SignedSender) -> None:
    payload = signed_receipt(node.pk)
    machine.send(URL, payload)
    answer = machine.send(URL, signed_receipt(node.pk, request_id=payload["request_id"], tokens_output=93))
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "receipt_conflict")
    assert Receipt.objects.get().tokens_output == 92


def test_two_nodes_may_hold_a_receipt_of_one_request(node: Node, machine: SignedSender) -> None:
    other = NodeFactory.create(status=Status.ACTIVE)
    request_id = "r_hedged"
    assert machine.send(URL, signed_receipt(node.pk, request_id=request_id, hedged=True)).status_code == 201
    second = SignedSender.node(other).send(URL, signed_receipt(other.pk, request_id=request_id, hedged=True))
    assert second.status_code == 201
    assert set(UnjudgedReceipt.objects.values_list("node_id", flat=True)) == {node.pk, other.pk}


@pytest.mark.parametrize("status", [Status.PENDING, Status.OFFLINE, Status.QUARANTINE])
def test_receipt_of_a_node_that_is_not_active_is_kept_with_its_status(status: Status) -> None:
    node = NodeFactory.create(status=status)
    assert SignedSender.node(node).send(URL, signed_receipt(node.pk)).status_code == 201
    assert Receipt.objects.get().node_status == status
    assert UnjudgedReceipt.objects.count() == 1


def test_forged_receipt_is_kept_as_evidence_and_quarantines(node: Node, machine: SignedSender) -> None:
    forged = signing.sign(receipt_payload(node.pk), SigningKey.generate())
    answer = machine.send(URL, forged)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_signature")
    node.refresh_from_db()
    assert (node.status, node.fraud, node.status_reason) == (Status.QUARANTINE, True, "receipt_forged")
    evidence = RefusedReceipt.objects.get()
    assert orjson.loads(bytes(evidence.raw)) == forged
    transition = node.transitions.get()
    assert transition.evidence["request_id"] == evidence.request_id
    assert AuditEvent.objects.filter(verb="node.quarantine", subject_id=node.pk).exists()
    assert not Receipt.objects.exists()


@pytest.mark.parametrize("signature", ["ed25519:AAAA", "", "garbage", "ed25519:" + "A" * 86 + "=="])
def test_text_that_is_no_signature_counts_as_a_wrong_one(
    node: Node, machine: SignedSender, signature: str
) -> None:
    answer = machine.send(URL, receipt_payload(node.pk) | {"signature": signature})
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_signature")


def test_receipt_without_a_signature_is_a_wrong_field_and_no_fraud(node: Node, machine: SignedSender) -> None:
    answer = machine.send(URL, receipt_payload(node.pk))
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request")
    node.refresh_from_db()
    assert node.status == Status.ACTIVE


def test_nobody_but_the_node_can_get_it_quarantined(node: Node) -> None:
    rival = NodeFactory.create(status=Status.ACTIVE)
    forged = signing.sign(receipt_payload(node.pk), SigningKey.generate())
    answer = SignedSender.node(rival).send(URL, forged)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "node_mismatch")
    unsigned = SignedSender.node(node).send(URL, forged, headers={"webhook-signature": "v1,AAAA"})
    assert unsigned.status_code == 401
    for each in (node, rival):
        each.refresh_from_db()
        assert each.status == Status.ACTIVE
    kept = RefusedReceipt.objects.get()  # against the node that sent it, and as what it is
    assert (kept.node, kept.reason) == (rival, RefusalReason.WRONG_NODE)


def test_key_that_was_replaced_still_verifies_what_ended_in_its_time(
    node: Node, machine: SignedSender
) -> None:
    fresh = SigningKey.generate()
    changed_at = timezone.now() - timedelta(hours=1)
    node.keys.update(valid_to=changed_at)
    NodeKey.objects.create(
        node=node, public_key=bytes(fresh.verify_key), valid_from=changed_at, added_by="test"
    )
    now = int(time.time())
    spooled = signed_receipt(node.pk, ts_start=now - 7216, ts_end=now - 7200)
    assert machine.send(URL, spooled).status_code == 201
    receipt = Receipt.objects.get()
    assert (receipt.key_since, receipt.key_until) == (FIRST_KEY_SINCE, changed_at)


def test_receipt_by_a_former_key_is_genuine_whenever_it_ended(node: Node, machine: SignedSender) -> None:
    """The answer to a change of keys was lost: the agent goes on with the key that it knows."""
    old = bytes(signing_key_of(node.pk).verify_key)
    changed_at = timezone.now() - timedelta(seconds=600)
    change_key(node, at=changed_at)
    payload = signed_receipt(node.pk)
    answer = machine.send(URL, payload)
    assert (answer.status_code, answer.json()["verified"]) == (201, True)
    receipt = Receipt.objects.get()
    assert (bytes(receipt.public_key), receipt.key_until) == (old, changed_at)
    assert not RefusedReceipt.objects.exists()
    node.refresh_from_db()
    assert node.status == Status.ACTIVE
    checks = {check.name: check for check in verify(receipt).checks}
    assert verify(receipt).valid
    assert "but only until" in checks["key"].detail


def test_receipt_by_another_nodes_key_is_a_forgery(node: Node, machine: SignedSender) -> None:
    other = NodeFactory.create(status=Status.ACTIVE)
    stolen = signing.sign(receipt_payload(node.pk), signing_key_of(other.pk))
    assert machine.send(URL, stolen).json()["error"]["type"] == "invalid_signature"


def test_receipt_records_the_nodes_status_when_the_request_ended(machine: SignedSender, node: Node) -> None:
    now = timezone.now()
    for minutes_ago, event in ((30, Event.SILENT), (20, Event.HEARTBEAT), (10, Event.PROBE_PASSED)):
        happen(node.pk, event, by=SYSTEM, at=now - timedelta(minutes=minutes_ago))
    ends = {"before": 40, "offline": 25, "pending": 15, "active": 0}
    for name, minutes_ago in ends.items():
        ended = int((now - timedelta(minutes=minutes_ago)).timestamp())
        payload = signed_receipt(node.pk, request_id=name, ts_start=ended - 1, ts_end=ended)
        assert machine.send(URL, payload).status_code == 201
    stored = dict(Receipt.objects.values_list("request_id", "node_status_at_end"))
    assert stored == {"before": "", "offline": "offline", "pending": "pending", "active": "active"}
    assert set(Receipt.objects.values_list("node_status", flat=True)) == {"active"}


def change_key(node: Node, *, at: datetime) -> None:
    """The node's key ends at that moment, and a fresh one begins."""
    node.keys.update(valid_to=at)
    fresh = bytes(SigningKey.generate().verify_key)
    NodeKey.objects.create(node=node, public_key=fresh, valid_from=at, added_by="test")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": "2.0"}, "version"),
        ({"request_id": "a b"}, "request_id"),
        ({"request_id": ""}, "request_id"),
        ({"ts_end": 1}, "ts_end"),
        ({"ts_end": int(time.time()) + 100_000}, "ts_end"),
        ({"ts_start": True}, "ts_start"),
        ({"tokens_input": -1}, "tokens_input"),
        ({"tokens_output": 1.5}, "tokens_output"),
        ({"model_hash": "sha256:" + "A" * 64}, "model_hash"),
        ({"prompt_hash": "sha256:" + "a" * 64}, "prompt_hash"),
        ({"hedged": "false"}, "hedged"),
        ({"cache_hit": None}, "cache_hit"),
        ({"region": "AP Southeast"}, "region"),
        ({"p95_ms": -1}, "p95_ms"),
        ({"s3_checkpoints": ["x"]}, "s3_checkpoints"),
    ],
)
def test_wrong_field_is_named_and_nothing_kept(
    node: Node, machine: SignedSender, change: dict[str, object], field: str
) -> None:
    answer = machine.send(URL, signed_receipt(node.pk, **change))
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request")
    assert field in [problem["field"] for problem in answer.json()["error"]["details"]]
    assert not ReceiptIdentity.objects.exists()
    assert not Outbox.objects.exists()
    node.refresh_from_db()
    assert node.status == Status.ACTIVE


def test_batch_judges_each_alone_and_keeps_the_exact_bytes(node: Node, machine: SignedSender) -> None:
    first, second = signed_receipt(node.pk), signed_receipt(node.pk)
    conflict = signed_receipt(node.pk, request_id=first["request_id"], tokens_output=1)
    invalid = signed_receipt(node.pk, version="9")
    foreign = signed_receipt(NodeFactory.create().pk)
    spaced = orjson.dumps(second).replace(b'":', b'" : ')
    again, odd, bad, other = (orjson.dumps(each) for each in (first, conflict, invalid, foreign))
    parts = [orjson.dumps(first), spaced, again, odd, bad, b"7", other]
    answer = machine.send(URL, b'{"receipts" : [ ' + b" , ".join(parts) + b" ]}")
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [201, 201, 200, 409, 422, 422, 422]
    assert [result["request_id"] for result in results[:3]] == [
        first["request_id"], second["request_id"], first["request_id"]
    ]  # fmt: skip
    assert results[3]["error"]["type"] == "receipt_conflict"
    assert results[6]["error"]["type"] == "node_mismatch"
    assert bytes(Receipt.objects.get(request_id=second["request_id"]).raw) == spaced
    assert Receipt.objects.count() == 2


def test_forged_receipt_in_a_batch_quarantines_and_the_rest_is_kept(
    node: Node, machine: SignedSender
) -> None:
    forged = signing.sign(receipt_payload(node.pk), SigningKey.generate())
    answer = machine.send(URL, {"receipts": [signed_receipt(node.pk), forged]})
    assert [result["status"] for result in answer.json()["results"]] == [201, 422]
    node.refresh_from_db()
    assert node.status == Status.QUARANTINE
    assert Receipt.objects.get().node_status == Status.QUARANTINE


@pytest.mark.parametrize("receipts", [[], "x", None, {"a": 1}, [1] * 501])
def test_batch_that_is_none_is_refused(machine: SignedSender, receipts: object) -> None:
    answer = machine.send(URL, {"receipts": receipts})
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request")


def test_full_batch_of_500_is_taken(node: Node, machine: SignedSender) -> None:
    batch = [signed_receipt(node.pk) for _ in range(500)]
    answer = machine.send(URL, {"receipts": batch})
    assert [result["status"] for result in answer.json()["results"]] == [201] * 500
    assert Receipt.objects.count() == Outbox.objects.count() == 500


def test_sixth_post_in_a_second_is_throttled(node: Node, machine: SignedSender) -> None:
    answers = [machine.send(URL, signed_receipt(node.pk)).status_code for _ in range(12)]
    assert 429 in answers
    assert answers[:5] == [201] * 5


@pytest.mark.parametrize("number", ["1e-20000", "1e-16384", "0." + "1" * 17_000, "1e300", "5E-324", "-0.0"])
def test_number_that_jsonb_cannot_hold_or_orjson_not_write_is_taken_and_shown(
    node: Node, machine: SignedSender, number: str
) -> None:
    good = signed_receipt(node.pk)
    odd = receipt_payload(node.pk, extra=float(number))
    odd = signing.sign(odd, signing_key_of(node.pk))
    raw = orjson.dumps(odd).replace(
        orjson.dumps({"extra": odd["extra"]})[1:-1], b'"extra":' + number.encode()
    )
    assert number.encode() in raw
    answer = machine.send(URL, b'{"receipts": [' + raw + b"," + orjson.dumps(good) + b"]}")
    assert [result["status"] for result in answer.json()["results"]] == [201, 201]
    reader = bearer(UserFactory.create(role=Role.ADMIN))
    shown = Client().get(f"{URL}/{node.pk}/{odd['request_id']}", headers=reader)
    assert shown.status_code == 200
    assert shown.json()["payload"]["extra"] == float(number)
    assert shown.json()["verification"]["valid"] is True
    assert (
        Browser()
        .hold_session(UserFactory.create(role=Role.ADMIN))
        .get(f"/receipts/{node.pk}/{odd['request_id']}/")
        .status_code
        == 200
    )


def test_batch_of_forgeries_costs_few_queries_and_keeps_each_as_evidence(
    node: Node, machine: SignedSender, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    stranger = SigningKey.generate()
    forged = [signing.sign(receipt_payload(node.pk), stranger) for _ in range(100)]
    with django_assert_max_num_queries(20):
        answer = machine.send(URL, {"receipts": forged})
    assert [result["status"] for result in answer.json()["results"]] == [422] * 100
    assert RefusedReceipt.objects.count() == 100
    assert node.transitions.get().evidence["count"] == 100


def test_forgery_during_another_quarantine_is_recorded_and_makes_it_one_for_fraud() -> None:
    node = NodeFactory.create(status=Status.QUARANTINE, status_reason="admin")
    SignedSender.node(node).send(URL, signing.sign(receipt_payload(node.pk), SigningKey.generate()))
    node.refresh_from_db()
    assert (node.fraud, node.status_reason) == (True, "receipt_forged")
    verbs = AuditEvent.objects.filter(subject_id=node.pk).values_list("verb", flat=True)
    assert set(verbs) == {"node.quarantine_for_fraud", "fraud.open"}


def test_long_request_id_is_not_echoed_whole(machine: SignedSender, node: Node) -> None:
    answer = machine.send(URL, {"receipts": [signed_receipt(node.pk, request_id="x" * 100_000)]})
    assert len(answer.json()["results"][0]["request_id"]) == 128


def test_the_flag_of_the_badge_changes_nothing_about_what_is_accepted(
    node: Node, machine: SignedSender
) -> None:
    with override_switch(Flag.ENABLE_SIGNATURE_VERIFY.value, active=False):
        assert machine.send(URL, signed_receipt(node.pk, request_id="r_1")).json()["verified"] is True
        forged = signing.sign(receipt_payload(node.pk, request_id="r_2"), SigningKey.generate())
        answer = machine.send(URL, forged)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_signature")
    assert list(Receipt.objects.values_list("request_id", flat=True)) == ["r_1"]
    assert RefusedReceipt.objects.get().request_id == "r_2"
