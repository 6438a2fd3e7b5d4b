"""What gateways and operators read: the nodes to send requests to, and the published networks."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone

from jatevo.accounts.models import Role
from jatevo.audit.models import AuditEvent
from jatevo.audit.record import SYSTEM
from jatevo.wire.gateway_key import gateway_key
from jatevo.wire.keys import public_key_text
from jatevo.wire.webhook import secret_of
from nodes.actions import add_key
from nodes.models import Node, Validator
from nodes.rules.lifecycle import Status
from nodes.tokens import node_token
from receipts.models import Gateway
from tests.accounts.browser import Browser
from tests.factories import GatewayFactory, NodeFactory, UserFactory, ValidatorFactory, signing_key_of
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db


def node(reachable: bool | None = True, **fields: Any) -> Node:
    since = None if reachable is None else timezone.now()
    return NodeFactory.create(
        **{"status": Status.ACTIVE, **fields}, reachable=reachable, reachable_since=since
    )


def listed() -> list[dict[str, Any]]:
    answer = SignedSender.gateway(GatewayFactory.create()).get("/v1/gateways/nodes")
    assert answer.status_code == 200
    nodes: list[dict[str, Any]] = answer.json()["nodes"]
    return nodes


def test_a_gateway_reads_what_it_needs_to_ask_a_node() -> None:
    one = node(id="one", models_offered=["llama3.1:latest"], concurrency=7, region="eu-west")
    assert listed() == [
        {
            "node_id": "one",
            "endpoint": one.endpoint,
            "models": ["llama3.1:latest"],
            "concurrency": 7,
            "gateway_key": gateway_key(secret_of(node_token(one))),
            "public_key": public_key_text(bytes(signing_key_of("one").verify_key)),
            "region": "eu-west",
        }
    ]


def test_only_nodes_in_service_that_validators_reach_are_listed() -> None:
    for number, status in enumerate(Status):
        node(id=f"node-{number}", status=status)
    node(id="behind-nat", reachable=False)
    node(id="not-known-yet", reachable=None)
    node(id="no-endpoint", endpoint="")
    assert [each["node_id"] for each in listed()] == [
        each.pk for each in Node.objects.filter(status="active", id__startswith="node-")
    ]


def test_a_node_with_former_keys_is_listed_once_with_its_current_one() -> None:
    one = node()
    for hours_ago in (2, 1):
        key = bytes(signing_key_of(f"key-{hours_ago}").verify_key)
        add_key(node=one, public_key=key, by=SYSTEM, at=timezone.now() - timedelta(hours=hours_ago))
    assert [each["public_key"] for each in listed()] == [
        public_key_text(bytes(signing_key_of("key-1").verify_key))
    ]


def test_the_list_takes_one_query_for_any_number_of_nodes(django_assert_num_queries: Any) -> None:
    gateway = SignedSender.gateway(GatewayFactory.create())
    for _ in range(3):
        node()
    with django_assert_num_queries(2):  # one is for the gateway's own token
        assert len(gateway.get("/v1/gateways/nodes").json()["nodes"]) == 3


def test_the_list_with_its_keys_is_for_gateways_alone() -> None:
    one = node()
    assert Client().get("/v1/gateways/nodes").status_code == 401
    assert SignedSender.node(one).get("/v1/gateways/nodes").status_code == 401
    assert SignedSender.validator(ValidatorFactory.create()).get("/v1/gateways/nodes").status_code == 401
    dismissed = GatewayFactory.create(is_active=False)
    assert SignedSender.gateway(dismissed).get("/v1/gateways/nodes").status_code == 401
    admin = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    assert admin.get("/v1/gateways/nodes").status_code == 401


def networks() -> dict[str, Any]:
    answer = Client().get("/v1/networks")
    assert answer.status_code == 200
    said: dict[str, Any] = answer.json()
    assert said.pop("as_of")
    return said


def test_anybody_reads_the_networks_of_active_validators_and_gateways() -> None:
    assert networks() == {"validators": [], "gateways": []}
    ValidatorFactory.create(networks=["198.51.100.0/24", "2001:db8::/64"])
    ValidatorFactory.create(networks=["192.0.2.7/32", "198.51.100.0/24"])
    ValidatorFactory.create(networks=["203.0.113.0/24"], is_active=False)
    GatewayFactory.create(networks=["203.0.113.9/32"])
    assert networks() == {
        "validators": ["192.0.2.7/32", "198.51.100.0/24", "2001:db8::/64"],
        "gateways": ["203.0.113.9/32"],
    }
    assert Client().get("/v1/networks?x=1").status_code == 422


@pytest.mark.parametrize("network", ["192.0.2.1/24", "somewhere", "300.0.0.0/8", ""])
def test_the_database_refuses_what_is_no_network(network: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        ValidatorFactory.create(networks=[network])


def test_an_admin_sets_them_when_making_a_gateway_and_later() -> None:
    admin = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    made = admin.submit(
        "/admin/receipts/gateway/add/",
        {"id": "gateway-7", "is_active": "on", "networks": "192.0.2.7, 2001:DB8::/64"},
    )
    assert made.status_code == 302
    assert Gateway.objects.get().networks == ["192.0.2.7/32", "2001:db8::/64"]
    assert AuditEvent.objects.get(verb="gateway.create").details["networks"] == [
        "192.0.2.7/32",
        "2001:db8::/64",
    ]
    changed = {"is_active": "on", "networks": "192.0.2.8"}
    assert admin.submit("/admin/receipts/gateway/gateway-7/change/", changed).status_code == 302
    assert networks()["gateways"] == ["192.0.2.8/32"]
    assert AuditEvent.objects.get(verb="gateway.edit").details == {"networks": ["192.0.2.8/32"]}


@pytest.mark.parametrize(
    "network", ["192.0.2.1/24", "0.0.0.0/0", "10.0.0.0/7", "::/0", "<b>", "1.2.3.4\u202e"]
)
def test_a_network_that_is_none_or_lets_in_everybody_is_refused(network: str) -> None:
    admin = Browser().hold_session(UserFactory.create(role=Role.ADMIN))
    page = admin.submit(
        "/admin/nodes/validator/add/", {"id": "validator-7", "is_active": "on", "networks": network}
    )
    assert page.status_code == 200
    assert "errornote" in page.content.decode()
    assert not Validator.objects.exists()
