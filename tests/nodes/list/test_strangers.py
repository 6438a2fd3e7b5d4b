"""The node list as viewers and visitors see it."""

import base64
from typing import Any

import pytest
from django.contrib.auth.models import Group
from guardian.shortcuts import assign_perm
from waffle.models import Switch

from jatevo.accounts.models import Role, User
from nodes.models import Node
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory, UserFactory
from tests.nodes.list.node_list import names_in

pytestmark = pytest.mark.django_db


SECRETS = {
    "id": "real-name-01",
    "asn_hint": "AS64500 Secret Net",
    "wallet_address": "5ecretWa11et",
    "endpoint": "http://203.0.113.9:11435",
}


def strangers() -> list[Browser]:
    return [Browser(), Browser().hold_session(make_user(Role.VIEWER))]


def test_strangers_see_shared_nodes_under_pseudonyms_and_nothing_of_their_owners() -> None:
    org = OrgFactory.create(name="Hidden Org")
    shared = NodeFactory.create(**SECRETS, org=org, shared=True, status="active")
    NodeFactory.create(id="not-shared")
    for stranger in strangers():
        for path in (
            "/nodes/",
            "/nodes/?columns=name,org,asn,models,gpu,agent",
            "/nodes/~export.csv?columns=org,asn,gpu",
        ):
            answer = stranger.get(path)
            page = answer.getvalue().decode()
            assert answer.status_code == 200
            assert shared.pseudonym in page
            for secret in [*SECRETS.values(), "Hidden Org", "not-shared"]:
                assert secret not in page, (path, secret)


@pytest.mark.parametrize("query", ["q=real-name", "q=Secret+Net", "q=Hidden", "q=5ecret", "q=203.0.113"])
def test_what_strangers_may_not_know_is_not_searched_either(query: str) -> None:
    org = OrgFactory.create(name="Hidden Org")
    NodeFactory.create(**SECRETS, org=org, shared=True)
    for stranger in strangers():
        assert "No matching nodes" in text_of(stranger.get(f"/nodes/?{query}"))
    assert api(UserFactory.create(role=Role.VIEWER), query)["results"] == []


def api(viewer: User, query: str) -> Any:
    return Browser().hold_session(viewer).get(f"/v1/nodes?{query}").json()


def test_strangers_nodes_are_in_the_order_of_their_pseudonyms() -> None:
    for number in range(6):
        NodeFactory.create(id=f"n-{number}", shared=True)
    by_pseudonym = list(Node.objects.order_by("pseudonym").values_list("pseudonym", flat=True))
    for stranger in strangers():
        assert names_in(text_of(stranger.get("/nodes/"))) == by_pseudonym
    viewer = UserFactory.create(role=Role.VIEWER)
    first = api(viewer, "limit=3")
    second = api(viewer, f"limit=3&cursor={first['next']}")
    assert [line["node_id"] for line in first["results"] + second["results"]] == by_pseudonym


def test_a_cursor_does_not_reveal_the_pseudonym_of_a_named_node() -> None:
    viewer = UserFactory.create(role=Role.VIEWER)
    for number in range(4):
        assign_perm("nodes.view_node", viewer, NodeFactory.create(id=f"n-{number}", shared=True))
    NodeFactory.create_batch(3, shared=True)
    named = dict(Node.objects.filter(pk__startswith="n-").values_list("pk", "pseudonym"))
    seen: list[str] = []
    query, cursor = "limit=1", ""
    while cursor is not None:
        body = api(viewer, query)
        seen += [line["node_id"] for line in body["results"]]
        cursor = body["next"]
        query = f"limit=1&cursor={cursor}"
        told = base64.urlsafe_b64decode(f"{cursor or ''}===").decode()
        assert not [pseudonym for pseudonym in named.values() if pseudonym in told]
    assert len(seen) == 7
    assert set(named) <= set(seen)
    assert seen == sorted(seen)


def test_a_viewer_knows_a_granted_node_by_its_name_once_it_is_shared() -> None:
    viewer = make_user(Role.VIEWER)
    browser = Browser().hold_session(viewer)
    node = NodeFactory.create(id="granted")
    assign_perm("nodes.view_node", viewer, node)
    assert "No nodes are shared" in text_of(browser.get("/nodes/"))
    Node.objects.update(shared=True)
    assert names_in(text_of(browser.get("/nodes/"))) == ["granted"]
    assert api(viewer, "q=granted")["results"][0]["node_id"] == "granted"


def test_while_the_flag_is_off_visitors_are_sent_to_the_login_page() -> None:
    Switch.objects.update_or_create(name="allow_anonymous_overview", defaults={"active": False})
    for path in ("/nodes/?status=active", "/nodes/~export.csv"):
        assert Browser().get(path).status_code == 302
    assert Browser().get("/nodes/?status=active")["Location"] == "/login/?next=/nodes/%3Fstatus%3Dactive"


def test_a_node_is_named_by_a_grant_to_see_it_whether_to_the_person_or_to_a_group() -> None:
    singly, by_group, for_another, to_change = (
        NodeFactory.create(id=node_id, shared=True)
        for node_id in ("singly", "by-group", "for-another", "to-change")
    )
    viewer, another = UserFactory.create(role=Role.VIEWER), UserFactory.create(role=Role.VIEWER)
    partners = Group.objects.create(name="partners")
    viewer.groups.add(partners)
    assign_perm("nodes.view_node", viewer, singly)
    assign_perm("nodes.view_node", partners, by_group)
    assign_perm("nodes.view_node", another, for_another)
    assign_perm("nodes.change_node", viewer, to_change)
    assert set(Node.objects.named_to(viewer)) == {singly, by_group}
    Node.objects.filter(pk=singly.pk).update(shared=False)
    assert set(Node.objects.named_to(viewer)) == {by_group}
