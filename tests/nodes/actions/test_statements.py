"""New statements of a node after registration replace the old ones, and the change is recorded."""

import pytest
from django.test import Client

from jatevo.accounts.models import Org, Role
from jatevo.audit.models import AuditEvent
from nodes.models import Node, NodeAttestation, NodeChange
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, UserFactory
from tests.machines import SignedSender, bearer
from tests.nodes.actions.test_enrolment import enrol, register

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("both_adapters")]

OLD, NEW = "blake3:" + "a" * 64, "blake3:" + "b" * 64


@pytest.fixture
def node(org: Org) -> Node:
    made: Node = NodeFactory.create(id="gpu-7", org=org, agent_version="1.0.0", green_energy=True)
    NodeAttestation.objects.filter(node=made).update(
        gpu_model="RTX 4090", vram_gb=24, driver_version="550", cuda_version="12.4", hardware_hash=OLD
    )
    return made


def history(browser: Browser, node: Node) -> str:
    return text_of(browser.get(f"/nodes/{node.pk}/?tab=history"))


def test_a_new_version_and_driver_replace_the_old_ones_and_are_history(node: Node) -> None:
    answer = SignedSender.node(node).beat(
        agent_version="1.1.0", attest={"driver_version": "560"}, concurrency=16
    )
    assert answer.status_code == 200
    node = Node.objects.select_related("attestation").get(pk=node.pk)
    assert (node.agent_version, node.concurrency, node.attestation.driver_version) == ("1.1.0", 16, "560")
    assert (node.attestation.gpu_model, node.attestation.hardware_hash) == ("RTX 4090", OLD)
    (change,) = node.changes.all()
    assert change.changes == {
        "agent_version": ["1.0.0", "1.1.0"], "concurrency": [4, 16], "driver_version": ["550", "560"],
    }  # fmt: skip
    assert not change.hardware_changed
    audit = AuditEvent.objects.get(verb="node.restate")
    assert (audit.actor_id, audit.details["changes"]) == (node.pk, change.changes)


def test_the_same_again_is_no_change(node: Node) -> None:
    machine = SignedSender.node(node)
    for _ in range(3):
        machine.beat(agent_version="1.1.0", attest={"hardware_hash": OLD, "vram_gb": 24})
    assert NodeChange.objects.count() == 1
    machine.beat()
    machine.beat(agent_version=None, attest=None, concurrency=None)
    assert NodeChange.objects.count() == 1


def test_what_is_not_known_any_more_becomes_unknown_and_not_zero(node: Node) -> None:
    SignedSender.node(node).beat(attest={"vram_gb": None, "driver_version": None})
    attestation = NodeAttestation.objects.get(node=node)
    assert (attestation.vram_gb, attestation.driver_version, attestation.gpu_model) == (None, "", "RTX 4090")


def test_changed_hardware_is_evidence_that_admins_see(org: Org, node: Node) -> None:
    SignedSender.node(node).beat(attest={"hardware_hash": NEW, "gpu_model": "H100"})
    assert NodeChange.objects.get().hardware_changed
    admin = Browser().hold_session(make_user(Role.ADMIN))
    page = history(admin, node)
    assert "Hardware changed" in page
    assert OLD in page
    assert NEW in page
    assert "GPU: RTX 4090 → H100" in page
    listed = text_of(admin.get("/admin/nodes/nodechange/?hardware_changed__exact=1"))
    assert "gpu-7" in listed


def test_the_owner_reads_of_an_update_and_a_stranger_does_not(org: Org, node: Node) -> None:
    SignedSender.node(node).beat(agent_version="1.1.0")
    owner = Browser().hold_session(make_user(Role.OPERATOR, org=org))
    assert "Agent: 1.0.0 → 1.1.0" in history(owner, node)
    Node.objects.filter(pk=node.pk).update(shared=True)
    page = text_of(
        Browser().hold_session(make_user(Role.VIEWER)).get(f"/nodes/{node.pseudonym}/?tab=history")
    )
    assert "1.1.0" not in page


def test_another_address_of_the_energy_proof_is_a_claim_again(node: Node) -> None:
    SignedSender.node(node).beat(attest={"energy_proof_url": "https://sun.example/2"})
    node.refresh_from_db()
    assert not node.green_energy


def test_a_history_cannot_be_made_to_overflow(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.actions.statements.MOST_CHANGES", 2)
    machine = SignedSender.node(node)
    answers = [
        machine.beat(agent_version=f"2.{number}", attest={"cuda_version": "13"}) for number in range(3)
    ]
    assert [answer.json().get("ignored") for answer in answers] == [None, None, ["agent_version"]]
    node.refresh_from_db()
    assert node.agent_version == "2.1"
    assert NodeChange.objects.count() == 2


def test_concurrency_comes_with_registration_and_is_shown() -> None:
    operator = UserFactory.create()
    token = enrol(operator, node_id="macbook-001").json()["token"]
    assert register(token, concurrency=16).status_code == 201
    assert Node.objects.get().concurrency == 16
    body = Client().get("/v1/nodes/macbook-001", headers=bearer(operator)).json()
    assert body["concurrency"] == 16
    page = text_of(Browser().hold_session(operator).get("/nodes/macbook-001/?tab=hardware"))
    assert "Concurrent requests" in page


@pytest.mark.parametrize(
    ("said", "stored"), [({}, 4), ({"concurrency": None}, 4), ({"concurrency": 1024}, 1024)]
)
def test_concurrency_is_four_for_who_does_not_say(said: dict[str, int | None], stored: int) -> None:
    token = enrol(UserFactory.create()).json()["token"]
    assert register(token, **said).status_code == 201
    assert Node.objects.get().concurrency == stored


@pytest.mark.parametrize("concurrency", [0, -1, 1025, 2.5, "4", True])
def test_senseless_concurrency_is_refused(concurrency: object) -> None:
    token = enrol(UserFactory.create()).json()["token"]
    answer = register(token, concurrency=concurrency)
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["field"] == "concurrency"
