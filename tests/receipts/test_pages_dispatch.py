"""What a receipt's page says about its dispatch, for each role. Nobody learns of nodes that they may not know."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from guardian.shortcuts import assign_perm

from jatevo.accounts.models import Org, Role
from nodes.models import Node
from receipts.dispatches.payloads import Sent, Won
from receipts.dispatches.recording import record
from receipts.models import Gateway
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import GatewayFactory, NodeFactory, ReceiptFactory

pytestmark = pytest.mark.django_db

PAGE = "/receipts/macbook-001/r_1/"
NOT_CONFIRMED = "No gateway has confirmed this request."


@pytest.fixture
def gateway() -> Gateway:
    made: Gateway = GatewayFactory.create(id="gw-1")
    return made


@pytest.fixture
def rival() -> Node:
    """A node of another organisation, which holds a receipt of the same request."""
    made: Node = NodeFactory.create(id="rival-1")
    ReceiptFactory(node=made, request_id="r_1", hedged=True)
    return made


@pytest.fixture
def admin() -> Browser:
    return Browser().hold_session(make_user(Role.ADMIN))


@pytest.fixture
def viewer(node: Node) -> Browser:
    """A viewer to whom an admin has granted the node."""
    Node.objects.filter(pk=node.pk).update(shared=True)
    person = make_user(Role.VIEWER)
    assign_perm("nodes.view_node", person, node)
    return Browser().hold_session(person)


def say(gateway: Gateway, *said: Sent | Won) -> None:
    record(gateway_id=gateway.pk, said=said, at=timezone.now())


def sent(node_id: str = "macbook-001", **changes: Any) -> Sent:
    stated: dict[str, Any] = {
        "model": "llama3.1-8b",
        "model_id": "llama3.1-8b",
        "ts": timezone.now() - timedelta(seconds=20),
        "hedged": True,
        "tokens_input": 4_321,
        "max_tokens": 8_765,
        **changes,
    }
    return Sent(request_id="r_1", node_id=node_id, **stated)


def dispatch_panel(browser: Browser) -> str:
    page = text_of(browser.get(PAGE))
    _, _, rest = page.partition('aria-label="Dispatch"')
    assert rest
    return rest.partition("</section>")[0]


def test_without_a_dispatch_it_says_so(operator: Browser, node: Node, gateway: Gateway) -> None:
    ReceiptFactory(node=node, request_id="r_1")
    say(gateway, sent("another-1"))
    panel = dispatch_panel(operator)
    assert NOT_CONFIRMED in panel
    assert "gw-1" not in panel
    assert "another-1" not in panel
    assert "Winner" not in panel


def test_an_operator_sees_the_gateway_and_its_limits(operator: Browser, node: Node, gateway: Gateway) -> None:
    ReceiptFactory(node=node, request_id="r_1", hedged=True)
    say(gateway, sent())
    panel = dispatch_panel(operator)
    assert NOT_CONFIRMED not in panel
    for words in ("gw-1", "4,321 in, at most 8,765 out", "not named yet"):
        assert words in panel


def test_limits_that_the_gateway_did_not_state_are_no_zeros(
    operator: Browser, node: Node, gateway: Gateway
) -> None:
    ReceiptFactory(node=node, request_id="r_1")
    say(gateway, sent(hedged=False, tokens_input=None, max_tokens=0))
    panel = dispatch_panel(operator)
    assert "input not said, at most 0 out" in panel
    assert "Winner" not in panel


def test_an_operator_does_not_learn_of_a_rival_that_won(
    operator: Browser, node: Node, rival: Node, gateway: Gateway
) -> None:
    ReceiptFactory(node=node, request_id="r_1", hedged=True)
    say(gateway, sent(), sent(rival.pk), Won("r_1", rival.pk))
    say(gateway, Won("r_1", "macbook-001"), sent(rival.pk, hedged=False))  # contradictions
    page = text_of(operator.get(PAGE))
    assert "another node: its answer was used" in page
    assert rival.pk not in page
    assert "Conflicts" not in page


def test_an_operator_sees_which_of_the_own_nodes_won(
    operator: Browser, node: Node, org: Org, gateway: Gateway
) -> None:
    ReceiptFactory(node=node, request_id="r_1", hedged=True)
    ReceiptFactory(node=NodeFactory.create(id="gpu-1", org=org), request_id="r_1", hedged=True)
    say(gateway, sent(), sent("gpu-1"), Won("r_1", "gpu-1"))
    assert '<span class="font-mono">gpu-1</span>' in dispatch_panel(operator)
    loser, winner = (text_of(operator.get(f"/receipts/{name}/r_1/")) for name in ("macbook-001", "gpu-1"))
    assert loser.count("Winner") == 2  # the line of the panel, and the badge on the other receipt
    assert "This node" in winner
    assert winner.count("Winner") == 1


def test_a_viewer_sees_neither_the_gateway_nor_limits_nor_other_nodes(
    viewer: Browser, node: Node, rival: Node, gateway: Gateway
) -> None:
    ReceiptFactory(node=node, request_id="r_1", hedged=True)
    say(gateway, sent(), Won("r_1", rival.pk))
    say(gateway, Won("r_1", "macbook-001"))  # a contradiction
    page = text_of(viewer.get(PAGE))
    assert NOT_CONFIRMED not in page
    assert "A gateway confirmed" in page
    assert "another node: its answer was used" in page
    for secret in ("gw-1", rival.pk, "4,321", "8,765", "Conflicts"):
        assert secret not in page


def test_a_viewer_sees_that_the_granted_node_won(viewer: Browser, node: Node, gateway: Gateway) -> None:
    ReceiptFactory(node=node, request_id="r_1", hedged=True)
    say(gateway, sent(), Won("r_1", node.pk))
    assert "This node" in dispatch_panel(viewer)


def test_an_admin_sees_every_winner_and_the_conflicts(
    admin: Browser, node: Node, rival: Node, gateway: Gateway
) -> None:
    ReceiptFactory(node=node, request_id="r_1", hedged=True)
    say(gateway, sent(), sent(rival.pk), Won("r_1", "not-heard-of"))
    other: Gateway = GatewayFactory.create(id="gw-2")
    say(other, sent(hedged=False, max_tokens=None), Won("r_1", rival.pk))
    say(other, Won("r_1", rival.pk))
    panel = dispatch_panel(admin)
    assert '<span class="font-mono">not-heard-of</span>' in panel
    assert '<span class="font-mono">gw-2</span> about the winner, 2 times' in panel
    assert (
        '<span class="font-mono">gw-2</span> about <span class="font-mono">macbook-001</span>, 1 time,'
        in panel
    )
    for name, values in (
        ("winner", "not-heard-of → rival-1"),
        ("hedged", "yes → no"),
        ("max_tokens", "8765 → not said"),
        ("gateway", "gw-1 → gw-2"),
    ):
        assert f"<dt>{name}</dt><dd>{values}</dd>" in panel
    assert "<dt>tokens_input</dt>" not in panel
