"""Enrolment and registration through the front door."""

import base64
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from nacl.signing import SigningKey

from jatevo.accounts.models import Role, User
from jatevo.audit.models import AuditEvent
from nodes.models import Enrollment, Node, NodeKey
from tests.factories import NodeFactory, OrgFactory, UserFactory, signing_key_of
from tests.machines import Answer, SignedSender, bearer

pytestmark = pytest.mark.django_db


def enrol(user: User, **body: Any) -> Answer:
    return Client().post("/v1/enrollments", body, content_type="application/json", headers=bearer(user))


def register(token: str | None, **changes: Any) -> Answer:
    key = base64.b64encode(bytes(SigningKey.generate().verify_key)).decode()
    body = {
        "node_id": "macbook-001",
        "region": "ap-southeast",
        "runtime": "ollama",
        "public_key": f"ed25519:{key}",
        **changes,
    }
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return Client().post("/v1/nodes/register", body, content_type="application/json", headers=headers)


def test_operator_enrols_a_node_and_the_agent_registers_it() -> None:
    operator = UserFactory.create()
    made = enrol(operator, node_id="macbook-001")
    assert made.status_code == 201
    assert made.json()["token"].startswith("jve_")
    assert made.json()["node_id"] == "macbook-001"
    answer = register(
        made.json()["token"],
        attest={"gpu_model": "Apple M3 Max", "vram_gb": 48, "driver_version": "", "cuda_version": "",
                "hardware_hash": "blake3:abc", "energy_proof_url": None},
        wallet={"chain": "solana", "address": "So1anaAddress"},
        models=["llama3.1-8b"],
        endpoint="http://192.168.1.5:11435",
        agent_version="1.0.0",
    )  # fmt: skip
    assert answer.status_code == 201
    body = answer.json()
    assert (body["node_id"], body["status"], body["heartbeat_interval_s"]) == ("macbook-001", "pending", 10)
    node = Node.objects.get()
    assert (node.org, node.wallet_chain, node.attestation.vram_gb) == (operator.org, "solana", 48)
    assert len(base64.b64decode(body["node_token"].removeprefix("whsec_"))) == 32
    machine = SignedSender("X-Node-Id", node.pk, base64.b64decode(body["node_token"].removeprefix("whsec_")))
    assert machine.beat().status_code == 200
    assert {event.verb for event in AuditEvent.objects.all()} >= {"enrollment.create", "node.register"}


def test_token_is_stored_hashed_and_works_once() -> None:
    token = enrol(UserFactory.create()).json()["token"]
    assert token.encode() not in bytes(Enrollment.objects.get().token_sha256)
    assert register(token).status_code == 201
    again = register(token, node_id="macbook-002")
    assert (again.status_code, again.json()["error"]["type"]) == (401, "invalid_token")
    assert Node.objects.count() == 1


def test_expired_token_registers_nothing() -> None:
    token = enrol(UserFactory.create()).json()["token"]
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        assert register(token).json()["error"]["type"] == "invalid_token"
    assert not Node.objects.exists()


def test_token_for_one_node_id_registers_no_other() -> None:
    token = enrol(UserFactory.create(), node_id="mine-1").json()["token"]
    answer = register(token, node_id="mine-2")
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "node_mismatch")
    assert register(token, node_id="mine-1").status_code == 201


def test_an_existing_node_id_is_refused_to_everyone_and_the_token_stays_valid() -> None:
    theirs = NodeFactory.create(id="macbook-001", region="eu-central")
    token = enrol(UserFactory.create()).json()["token"]
    answer = register(token, region="us-east")
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "node_exists")
    theirs.refresh_from_db()
    assert theirs.region == "eu-central"
    assert register(token, node_id="macbook-002").status_code == 201
    assert enrol(UserFactory.create(), node_id="macbook-001").status_code == 409


def test_agent_whose_answer_was_lost_hears_that_its_node_exists() -> None:
    token = enrol(UserFactory.create(), node_id="macbook-001").json()["token"]
    assert register(token).status_code == 201
    assert register(token).json()["error"]["type"] == "node_exists"


@pytest.mark.parametrize("token", [None, "", "jve_unknown", "whsec_AAAA"])
def test_without_a_good_token_nothing_is_registered(token: str | None) -> None:
    assert register(token).status_code == 401
    assert not Node.objects.exists()


def test_fleet_token_is_for_admins_only() -> None:
    assert enrol(UserFactory.create(role=Role.OPERATOR), uses=3).status_code == 403
    token = enrol(UserFactory.create(role=Role.ADMIN), uses=2).json()["token"]
    assert [register(token, node_id=f"n-{number}").status_code for number in range(3)] == [201, 201, 401]


def test_viewer_and_stranger_cannot_enrol() -> None:
    assert enrol(UserFactory.create(role=Role.VIEWER)).json()["error"]["type"] == "forbidden"
    stranger = Client().post("/v1/enrollments", {}, content_type="application/json")
    assert (stranger.status_code, stranger.json()["error"]["type"]) == (401, "unauthenticated")


def test_operator_cannot_enrol_into_another_org() -> None:
    assert enrol(UserFactory.create(), org=str(OrgFactory.create().pk)).status_code == 404
    other = OrgFactory.create()
    assert enrol(UserFactory.create(role=Role.ADMIN), org=str(other.pk)).status_code == 201
    assert Enrollment.objects.get().org == other


SMALL_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),  # non-canonical 0
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),  # non-canonical 1
    b"\xff" * 32,
]


@pytest.mark.parametrize("key", SMALL_ORDER, ids=lambda key: key.hex()[:8])
def test_small_order_and_non_canonical_keys_are_refused(key: bytes) -> None:
    token = enrol(UserFactory.create()).json()["token"]
    answer = register(token, public_key="ed25519:" + base64.b64encode(key).decode())
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["field"] == "public_key"
    assert register(token).status_code == 201, "a refused registration uses up no token"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"node_id": "Has Space"}, "node_id"),
        ({"node_id": "a" * 65}, "node_id"),
        ({"node_id": "a\n"}, "node_id"),
        ({"node_id": ".."}, "node_id"),
        ({"node_id": "heartbeat"}, "node_id"),
        ({"region": "AP"}, "region"),
        ({"runtime": "lmstudio"}, "runtime"),
        ({"public_key": "ed25519:AAAA"}, "public_key"),
        ({"public_key": None}, "public_key"),
        ({"attest": {"vram_gb": -1}}, "attest.vram_gb"),
        ({"attest": []}, "attest"),
        ({"endpoint": "javascript:alert(1)"}, "endpoint"),
        ({"endpoint": "http://user:pass@host/"}, "endpoint"),
        ({"endpoint": "http://[::1"}, "endpoint"),
        ({"endpoint": "http://node.example:11435?token=secret"}, "endpoint"),
        ({"endpoint": "http://node.example/#f"}, "endpoint"),
        ({"endpoint": "http://[fe80::1%eth0]:11435"}, "endpoint"),
        ({"endpoint": "http://300.1.1.1"}, "endpoint"),
        ({"endpoint": "http://h/" + "a" * 300}, "endpoint"),
        ({"models": [1]}, "models.0"),
        ({"wallet": 7}, "wallet"),
    ],
)
def test_wrong_field_is_named_and_the_token_stays_good(change: dict[str, Any], field: str) -> None:
    token = enrol(UserFactory.create()).json()["token"]
    answer = register(token, **change)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request")
    assert [problem["field"] for problem in answer.json()["error"]["details"]] == [field]
    assert not Node.objects.exists()
    assert register(token).status_code == 201


def test_wallet_may_be_a_bare_string() -> None:
    token = enrol(UserFactory.create()).json()["token"]
    assert register(token, wallet="0xabc").status_code == 201
    assert Node.objects.get().wallet_address == "0xabc"


def test_new_token_ends_the_old_one() -> None:
    operator = UserFactory.create()
    node = NodeFactory.create(org=operator.org)
    old = SignedSender.node(node)
    path = f"/v1/nodes/{node.pk}/token"

    def rotate(user: User) -> Answer:
        return Client().post(path, content_type="application/json", headers=bearer(user))

    answer = rotate(operator)
    assert answer.status_code == 200
    assert old.beat().status_code == 401
    secret = base64.b64decode(answer.json()["node_token"].removeprefix("whsec_"))
    assert SignedSender("X-Node-Id", node.pk, secret).beat().status_code == 200
    assert rotate(UserFactory.create()).status_code == 404
    assert rotate(UserFactory.create(role=Role.VIEWER)).status_code == 403


def test_owner_adds_a_key_and_the_old_one_stays_on_record() -> None:
    operator = UserFactory.create()
    node = NodeFactory.create(org=operator.org)
    text = "ed25519:" + base64.b64encode(bytes(SigningKey.generate().verify_key)).decode()
    path = f"/v1/nodes/{node.pk}/keys"
    args: dict[str, Any] = {"content_type": "application/json", "headers": bearer(operator)}
    answer = Client().post(path, {"public_key": text}, **args)
    assert (answer.status_code, answer.json()["public_key"]) == (201, text)
    assert NodeKey.objects.filter(node=node).count() == 2
    assert NodeKey.objects.filter(node=node, valid_to__isnull=True).count() == 1
    again = Client().post(path, {"public_key": text}, **args)
    assert (again.status_code, again.json()["error"]["type"]) == (409, "key_exists")
    assert NodeKey.objects.filter(node=node, valid_to__isnull=True).count() == 1
    stranger = Client().post(
        path, {"public_key": text}, content_type="application/json", headers=bearer(UserFactory.create())
    )
    assert stranger.status_code == 404


def test_node_adds_a_key_only_with_its_current_one() -> None:

    node = NodeFactory.create()
    machine, path = SignedSender.node(node), f"/v1/nodes/{node.pk}/keys"
    text = "ed25519:" + base64.b64encode(bytes(SigningKey.generate().verify_key)).decode()
    statement = f"jatevo-key:{node.pk}:{text}".encode()
    for signer, status in [(SigningKey.generate(), 422), (signing_key_of(node.pk), 201)]:
        signature = "ed25519:" + base64.b64encode(signer.sign(statement).signature).decode()
        answer = machine.send(path, {"public_key": text, "signature": signature})
        assert answer.status_code == status, answer.content
    assert NodeKey.objects.get(node=node, valid_to__isnull=True).added_by == node.pk
    rival = SignedSender.node(NodeFactory.create())
    assert rival.send(path, {"public_key": text}).json()["error"]["type"] == "node_mismatch"


def test_admin_without_an_org_enrols_where_there_is_one_and_must_choose_between_two() -> None:
    admin = UserFactory.create(role=Role.ADMIN, org=None)
    org = OrgFactory.create()
    assert enrol(admin, uses=5).status_code == 201
    assert Enrollment.objects.get().org == org
    OrgFactory.create()
    assert enrol(admin).json()["error"]["details"][0]["field"] == "org"
