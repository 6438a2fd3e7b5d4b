"""Refused receipts are kept as evidence, within bounds, and never at the cost of an answer."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import time_machine
from django.db import DatabaseError, connection, connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from nacl.signing import SigningKey

from jatevo.wire import signing
from nodes.models import Node, NodeKey
from nodes.rules.lifecycle import Status
from receipts.models import Receipt, RefusalReason, RefusedReceipt, UnkeptRefusals
from receipts.refused import recording
from receipts.refused.recording import MOST_A_DAY, MOST_BYTES, MOST_FORGED_BYTES, Refusal, keep
from tests.factories import NodeFactory, receipt_payload, signed_receipt, signing_key_of
from tests.machines import SignedSender

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("both_adapters")]
URL = "/v1/receipts"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def node() -> Node:
    return NodeFactory.create(status=Status.ACTIVE)


@pytest.fixture
def machine(node: Node) -> SignedSender:
    return SignedSender.node(node)


def invalid(number: int) -> Refusal:
    return Refusal(RefusalReason.INVALID, b"%d" % number, "", "body must be a JSON object")


def forged(number: int) -> Refusal:
    return Refusal(RefusalReason.FORGED, b"%d" % number, "", "not signed")


def test_a_conflict_is_kept_with_its_exact_bytes_and_the_key_that_signed_it(
    node: Node, machine: SignedSender
) -> None:
    first = signed_receipt(node.pk)
    machine.send(URL, first)
    raw = b" " + orjson.dumps(signed_receipt(node.pk, request_id=first["request_id"], tokens_output=93))
    before = timezone.now()
    assert machine.send(URL, raw).status_code == 409
    kept = RefusedReceipt.objects.get()
    assert (kept.node_id, kept.org_id, kept.reason) == (node.pk, node.org_id, RefusalReason.CONFLICT)
    assert kept.request_id == first["request_id"]
    assert bytes(kept.raw) == raw
    assert (kept.size_bytes, kept.is_whole) == (len(raw), True)
    assert bytes(kept.sha256) == hashlib.sha256(raw).digest()
    assert bytes(kept.public_key or b"") == bytes(signing_key_of(node.pk).verify_key)
    assert before <= kept.received_at <= timezone.now()


def test_a_conflict_by_a_former_key_names_that_key(node: Node, machine: SignedSender) -> None:
    first = signed_receipt(node.pk)
    machine.send(URL, first)
    at = timezone.now()
    node.keys.update(valid_to=at)
    fresh = bytes(SigningKey.generate().verify_key)
    NodeKey.objects.create(node=node, public_key=fresh, valid_from=at, added_by="test")
    machine.send(URL, signed_receipt(node.pk, request_id=first["request_id"], tokens_output=93))
    assert bytes(RefusedReceipt.objects.get().public_key or b"") == bytes(signing_key_of(node.pk).verify_key)


def test_a_receipt_for_another_node_is_kept_under_the_node_that_sent_it(
    node: Node, machine: SignedSender
) -> None:
    other = NodeFactory.create()
    assert machine.send(URL, signed_receipt(other.pk)).status_code == 403
    kept = RefusedReceipt.objects.get()
    assert (kept.node_id, kept.reason, kept.public_key) == (node.pk, RefusalReason.WRONG_NODE, None)
    assert other.pk not in kept.detail


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"version": "2.0"}, 'version must be "1.0"'),
        (
            {"tokens_input": -1, "hedged": "no"},
            "tokens_input must be an integer from 0 to 100000000; hedged must be true or false",
        ),
    ],
)
def test_invalid_fields_are_kept_with_what_is_wrong(
    node: Node, machine: SignedSender, change: dict[str, Any], detail: str
) -> None:
    assert machine.send(URL, signed_receipt(node.pk, **change)).status_code == 422
    kept = RefusedReceipt.objects.get()
    assert (kept.reason, kept.detail) == (RefusalReason.INVALID, detail)


def test_a_batch_keeps_each_refused_receipt_with_its_own_reason(node: Node, machine: SignedSender) -> None:
    good = signed_receipt(node.pk)
    odd = signed_receipt(node.pk, request_id=good["request_id"], tokens_output=1)
    bad, foreign = signed_receipt(node.pk, version="9"), signed_receipt("somebody-else")
    false = signing.sign(receipt_payload(node.pk), SigningKey.generate())
    parts = [orjson.dumps(each) for each in (good, odd, bad, foreign, false)]
    machine.send(URL, b'{"receipts": [' + b", ".join([*parts, b"7"]) + b"]}")
    found = {(each.reason, bytes(each.raw)) for each in RefusedReceipt.objects.all()}
    assert found == {
        ("receipt_conflict", parts[1]),
        ("invalid_request", parts[2]),
        ("node_mismatch", parts[3]),
        ("invalid_signature", parts[4]),
        ("invalid_request", b"7"),
    }


def test_accepted_receipts_and_repeats_cost_nothing_more(node: Node, machine: SignedSender) -> None:
    batch = {"receipts": [signed_receipt(node.pk) for _ in range(3)]}
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            assert machine.send(URL, batch).status_code == 200
        assert not [each for each in queries if "refus" in each["sql"]]
    assert not RefusedReceipt.objects.exists()


def test_what_comes_again_is_kept_once_for_each_reason(node: Node) -> None:
    for _ in range(3):
        keep(node.pk, [invalid(1), invalid(1), forged(1)], at=NOON)
    keep(NodeFactory.create().pk, [invalid(1)], at=NOON)
    found = RefusedReceipt.objects.filter(node=node).values_list("reason", flat=True)
    assert sorted(found) == ["invalid_request", "invalid_signature"]
    assert RefusedReceipt.objects.count() == 3
    assert not UnkeptRefusals.objects.exists()


def test_a_flood_of_one_reason_is_bounded_and_counted_and_leaves_room_for_others(node: Node) -> None:
    keep(node.pk, [invalid(number) for number in range(MOST_A_DAY - 1)], at=NOON)
    keep(node.pk, [invalid(number) for number in range(1000, 1003)], at=NOON)
    keep(node.pk, [invalid(number) for number in range(1000, 1002)], at=NOON)  # the first of them is known
    keep(node.pk, [forged(1)], at=NOON)
    kept = RefusedReceipt.objects.filter(node=node, reason=RefusalReason.INVALID)
    assert kept.count() == MOST_A_DAY
    assert kept.filter(raw=b"1000").exists()
    assert RefusedReceipt.objects.filter(reason=RefusalReason.FORGED).count() == 1
    unkept = UnkeptRefusals.objects.get()
    assert (unkept.node_id, unkept.org_id, unkept.day) == (node.pk, node.org_id, NOON.date())
    assert (unkept.reason, unkept.count) == (RefusalReason.INVALID, 3)


def test_the_next_day_has_room_again(node: Node) -> None:
    keep(node.pk, [invalid(number) for number in range(MOST_A_DAY + 1)], at=NOON)
    last = NOON.replace(hour=23, minute=59, second=59)
    keep(node.pk, [invalid(1000)], at=last)
    assert RefusedReceipt.objects.count() == MOST_A_DAY
    keep(node.pk, [invalid(1000)], at=last + timedelta(seconds=1))
    assert RefusedReceipt.objects.count() == MOST_A_DAY + 1
    assert UnkeptRefusals.objects.get().count == 2


@pytest.mark.parametrize(
    ("reason", "most"), [(RefusalReason.INVALID, MOST_BYTES), (RefusalReason.FORGED, MOST_FORGED_BYTES)]
)
def test_of_a_giant_the_beginning_is_kept_with_the_size_and_digest_of_all(
    node: Node, reason: RefusalReason, most: int
) -> None:
    for size in (most, most + 1):
        raw = b"x" * size
        keep(node.pk, [Refusal(reason, raw, "x" * 500, "y" * 5000)], at=NOON)
        kept = RefusedReceipt.objects.get(sha256=hashlib.sha256(raw).digest())
        assert (len(kept.raw), kept.whole_size_bytes, kept.is_whole) == (most, size, size == most)
        assert (len(kept.request_id), len(kept.detail)) == (128, 1000)


def test_evidence_that_cannot_be_written_changes_no_answer(
    node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording, "_KEEP", "SELECT 1 / 0")
    good = signed_receipt(node.pk)
    bad = signed_receipt(node.pk, version="9")
    answer = machine.send(URL, {"receipts": [good, bad]})
    assert [result["status"] for result in answer.json()["results"]] == [201, 422]
    assert Receipt.objects.count() == 1
    assert "could not keep 1 refused receipts" in caplog.text


def test_a_forgery_whose_evidence_cannot_be_written_opens_no_finding_without_it(
    node: Node, machine: SignedSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseError("full")

    monkeypatch.setattr("receipts.actions.keep", fail)
    machine.client.raise_request_exception = False
    assert machine.send(URL, signing.sign(receipt_payload(node.pk), SigningKey.generate())).status_code >= 500
    assert not node.fraud_findings.exists()


@pytest.mark.django_db(transaction=True)
@override_settings(
    RATE_LIMITS={"node": "100000/second", "receipts": "100000/second", "address": "100000/second"}
)
def test_concurrent_floods_keep_to_the_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_A_DAY", 10)
    node = NodeFactory.create(status=Status.ACTIVE)

    def flood(number: int) -> None:
        try:
            keep(node.pk, [invalid(1000 * number + each) for each in range(5)], at=NOON)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(flood, range(8)))
    assert RefusedReceipt.objects.count() == 10
    assert UnkeptRefusals.objects.get().count == 30


def test_the_day_is_one_of_utc(node: Node) -> None:
    monday = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
    with time_machine.travel(monday, tick=False):
        keep(node.pk, [invalid(number) for number in range(MOST_A_DAY)], at=monday - timedelta(hours=1))
        keep(node.pk, [invalid(1000)], at=timezone.now())
    assert RefusedReceipt.objects.count() == MOST_A_DAY + 1
