"""Nothing that strangers see of a shared node identifies it or its owner, on any tab or in any answer."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from guardian.shortcuts import assign_perm

from jatevo.accounts.models import Org, Role, User
from jatevo.wire.keys import public_key_text
from nodes.actions import start_maintenance
from nodes.models import Node, NodeTransition, Probe
from nodes.rules.lifecycle import Reason, Status
from receipts.models import RefusalReason, RefusedReceipt
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory, UserFactory, ValidatorFactory
from tests.machines import bearer

pytestmark = pytest.mark.django_db
TABS = ["metrics", "receipts", "hardware", "earnings", "reputation", "history", "bogus"]
FRAGMENTS = ["", "drawer-body", "node-live", "node-status", "node-tab", "node-charts"]
SECRETS = [
    "annas-macbook", "AS64511", "hash-of-hardware", "So1anaWallet", "10.9.8.7", "anna@example.org",
    "Anna's Garage", "r_private", "r_forged", "proof.example", "annas-laptop.local", "boss@example.org",
    "suspected collusion", "validator-of-anna", "detail of the probe", "cellar", "annas-agent", "annas-driver",
    "annas-cuda",
]  # fmt: skip


@pytest.fixture
def node() -> Node:
    org = OrgFactory.create(name="Anna's Garage")
    made: Node = NodeFactory.create(
        id="annas-macbook",
        org=org,
        status=Status.ACTIVE,
        shared=True,
        asn_hint="AS64511",
        wallet_chain="solana",
        wallet_address="So1anaWallet",
        endpoint="http://10.9.8.7:11435",
        agent_version="1.0-annas-agent",
        last_metrics={"uptime": 7, "hostname": "annas-laptop.local", "gpu_util": "annas-laptop.local"},
    )
    Node.objects.filter(pk=made.pk).update(created_at=timezone.now() - timedelta(days=1))
    made.attestation.hardware_hash = "hash-of-hardware"
    made.attestation.energy_proof_url = "https://proof.example/anna"
    made.attestation.driver_version = "annas-driver"
    made.attestation.cuda_version = "12.4 annas-cuda"
    made.attestation.save()
    owner = make_user(Role.OPERATOR, org=org, email="anna@example.org")
    for kind, actor in (("user", "boss@example.org"), ("user", "anna@example.org")):
        NodeTransition.objects.create(
            node=made, at=timezone.now(), from_status="active", to_status="quarantine", reason=Reason.ADMIN,
            actor_kind=kind, actor_id=actor, evidence={"note": "suspected collusion", "host": "10.9.8.7"},
        )  # fmt: skip
    Probe.objects.create(
        node=made, validator=ValidatorFactory.create(id="validator-of-anna"), kind="health", ok=False,
        ts=timezone.now(), detail="detail of the probe",
    )  # fmt: skip
    ReceiptFactory(node=made, request_id="r_private")
    RefusedReceipt.objects.create(
        node=made, reason=RefusalReason.FORGED, request_id="r_forged", raw=b"{}", sha256=b"1" * 32,
        public_key=b"2" * 32, detail="wrong",
    )  # fmt: skip
    start_maintenance(node=made, message="The cellar is wet", by=owner, at=timezone.now())
    return made


def secrets_of(node: Node) -> list[str]:
    return [*SECRETS, public_key_text(bytes(node.keys.get().public_key)), str(node.org_id)]


def assert_tells_nothing(text: str, node: Node) -> None:
    found = [secret for secret in secrets_of(node) if secret.lower() in text.lower()]
    assert found == []


def viewer() -> Browser:
    return Browser().hold_session(make_user(Role.VIEWER))


def owner_of(node: Node) -> User:
    user: User = UserFactory.create(org=node.org)
    return user


@pytest.mark.parametrize("who", [Browser, viewer])
@pytest.mark.parametrize("fragment", FRAGMENTS)
@pytest.mark.parametrize("tab", TABS)
def test_no_tab_and_no_fragment_names_a_shared_node(node: Node, who: Any, fragment: str, tab: str) -> None:
    headers = {"HX-Request": "true", "HX-Target": fragment} if fragment else {}
    answer = who().get(f"/nodes/{node.pseudonym}/?tab={tab}", headers=headers)
    assert answer.status_code == 200
    text = answer.content.decode()
    assert text.strip()
    assert_tells_nothing(text + str(dict(answer.headers)), node)
    if fragment not in ("node-tab", "node-charts"):
        assert node.pseudonym in text


def test_the_owner_finds_all_of_it_there(node: Node) -> None:
    """Shows that the test above can fail: each of its texts is on a page of the owner."""
    browser = Browser().hold_session(owner_of(node))
    pages = "".join(browser.get(f"/nodes/{node.pk}/?tab={tab}").content.decode() for tab in TABS)
    missing = [each for each in secrets_of(node) if each.replace("'", "&#x27;") not in pages]
    assert missing == [str(node.org_id)]


def test_a_visitor_is_asked_to_sign_in_whether_there_is_such_a_node_or_not(node: Node) -> None:
    for name in (node.pk, "nobody-at-all"):
        answer = Browser().get(f"/nodes/{name}/?tab=hardware")
        assert answer["Location"] == f"/login/?next=/nodes/{name}/%3Ftab%3Dhardware"


def test_a_node_known_by_its_pseudonym_has_no_other_name(node: Node) -> None:
    stranger = viewer()
    assert stranger.get(f"/nodes/{node.pk}/").status_code == 404
    Node.objects.update(shared=False)
    assert stranger.get(f"/nodes/{node.pseudonym}/").status_code == 404


def test_its_owner_and_admins_reach_it_only_by_its_id(node: Node, org: Org) -> None:
    for user in (owner_of(node), make_user(Role.ADMIN)):
        browser = Browser().hold_session(user)
        assert browser.get(f"/nodes/{node.pk}/").status_code == 200
        assert browser.get(f"/nodes/{node.pseudonym}/").status_code == 404


def test_the_api_reveals_as_little_to_a_viewer(node: Node) -> None:
    person = UserFactory.create(role=Role.VIEWER, org=OrgFactory.create())
    answer = Client().get(f"/v1/nodes/{node.pseudonym}", headers=bearer(person))
    assert answer.status_code == 200
    assert_tells_nothing(answer.content.decode(), node)
    body = answer.json()
    assert body["node_id"] == node.pseudonym
    assert (body["keys"], body["receipts"], body["wallet"], body["endpoint"]) == ([], [], None, None)
    assert body["metrics"] == {"uptime": 7}
    assert body["attestation"]["gpu_model"] == "Apple M3 Max"
    assert Client().get(f"/v1/nodes/{node.pk}", headers=bearer(person)).status_code == 404


def test_no_list_tells_an_agents_own_words_for_its_version(node: Node) -> None:
    person = UserFactory.create(role=Role.VIEWER, org=OrgFactory.create())
    stranger = viewer()
    for text in (
        stranger.get("/nodes/?columns=agent").content.decode(),
        stranger.get("/nodes/~export.csv?columns=agent").getvalue().decode(),
        Client().get("/v1/nodes", headers=bearer(person)).content.decode(),
    ):
        assert node.pseudonym in text
        assert_tells_nothing(text, node)


@pytest.mark.parametrize("plain", [True, False])
def test_strangers_are_shown_versions_that_are_numbers(node: Node, plain: bool) -> None:
    versions = ("1.4.0-rc.1", "550.54.15", "12.4") if plain else ("1.4-anna", "550anna", "twelve")
    Node.objects.update(agent_version=versions[0])
    node.attestation.driver_version, node.attestation.cuda_version = versions[1:]
    node.attestation.save()
    person = UserFactory.create(role=Role.VIEWER, org=OrgFactory.create())
    page = viewer().get(f"/nodes/{node.pseudonym}/?tab=hardware").content.decode()
    told = Browser().hold_session(owner_of(node)).get(f"/nodes/{node.pk}/sharing/").content.decode()
    body = Client().get(f"/v1/nodes/{node.pseudonym}", headers=bearer(person)).json()
    for text in (page, told):  # what the owner is shown beforehand is what strangers see
        assert [version in text for version in versions] == [plain] * 3
    said = (body["agent_version"], body["attestation"]["driver_version"], body["attestation"]["cuda_version"])
    assert said == (versions if plain else ("", "", ""))


def test_the_api_asks_who_is_there(node: Node) -> None:
    for name in (node.pk, node.pseudonym):
        answer = Client().get(f"/v1/nodes/{name}")
        assert answer.status_code == 401
        assert_tells_nothing(answer.content.decode(), node)


def test_a_granted_viewer_sees_the_name_keys_and_receipts_but_neither_wallet_nor_network(node: Node) -> None:
    person = make_user(Role.VIEWER)
    assign_perm("nodes.view_node", person, node)
    browser = Browser().hold_session(person)
    pages = "".join(browser.get(f"/nodes/{node.pk}/?tab={tab}").content.decode() for tab in TABS)
    api = Client().get(f"/v1/nodes/{node.pk}", headers=bearer(person)).content.decode()
    for text in (pages, api):
        assert node.pk in text
        assert "r_private" in text
        assert public_key_text(bytes(node.keys.get().public_key)) in text
        for hidden in (
            "AS64511", "hash-of-hardware", "So1anaWallet", "10.9.8.7", "anna@example.org", "boss@example.org",
            "Anna", "suspected collusion", "validator-of-anna", "detail of the probe", "r_forged",
        ):  # fmt: skip
            assert hidden not in text, hidden
    assert browser.get(f"/nodes/{node.pseudonym}/").status_code == 404
