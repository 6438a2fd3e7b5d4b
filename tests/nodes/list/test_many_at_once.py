"""Saved views of the node list, and actions on many nodes at once."""

import re

import pytest

from jatevo.accounts.models import Org, Role
from jatevo.audit.models import AuditEvent
from nodes.models import Node, SavedView
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, UserFactory

pytestmark = pytest.mark.django_db


# --- saved views


def test_a_view_is_kept_opened_replaced_and_deleted(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org, region="us")
    fields = {"name": " Slow   ones ", "query": "?region=us&sort=-p95&page=3&junk=1"}
    answer = operator.post("/nodes/~views/", fields, headers=operator.csrf)
    assert answer["Location"] == "/nodes/?region=us&sort=-p95"
    page = text_of(operator.get("/nodes/?region=us&sort=-p95"))
    assert re.search(r'href="/nodes/\?region=us&amp;sort=-p95" aria-current="page">Slow ones<', page)
    operator.post("/nodes/~views/", {"name": "Slow ones", "query": "?sort=-p95"}, headers=operator.csrf)
    (view,) = SavedView.objects.all()
    assert view.query == "?sort=-p95"
    stranger = Browser().hold_session(UserFactory.create())
    stranger.post(f"/nodes/~views/{view.pk}/delete/", headers=stranger.csrf)
    assert "Slow ones" not in text_of(stranger.get("/nodes/"))
    assert SavedView.objects.exists()
    operator.post(f"/nodes/~views/{view.pk}/delete/", headers=operator.csrf)
    assert not SavedView.objects.exists()


def test_twenty_views_are_enough(operator: Browser) -> None:
    for number in range(21):
        operator.post("/nodes/~views/", {"name": f"v{number}"}, headers=operator.csrf)
    assert SavedView.objects.count() == 20
    assert "Delete one first" in text_of(operator.get("/nodes/"))
    operator.post("/nodes/~views/", {"name": "v3", "query": "?q=x"}, headers=operator.csrf)
    assert SavedView.objects.get(name="v3").query == "?q=x"


def test_a_view_that_is_too_long_to_keep_is_refused_for_that(operator: Browser) -> None:
    fields = {"name": "Long", "query": f"?region={'é' * 300}"}
    answer = operator.post("/nodes/~views/", fields, headers=operator.csrf)
    assert answer.status_code == 302
    page = text_of(operator.get(answer["Location"]))
    assert "This search is too long to save" in page
    assert "Give the view a name" not in page
    assert not SavedView.objects.exists()


def test_a_view_needs_a_name_and_a_person(operator: Browser) -> None:
    answer = operator.post("/nodes/~views/", {"name": "  ", "query": "?region=us"}, headers=operator.csrf)
    assert answer["Location"] == "/nodes/?region=us"
    assert "Give the view a name" in text_of(operator.get("/nodes/?region=us"))
    visitor = Browser()
    assert visitor.post("/nodes/~views/", {"name": "x"}, headers=visitor.csrf).status_code == 302
    assert not SavedView.objects.exists()


# --- many at once


@pytest.fixture
def admin() -> Browser:
    return Browser().hold_session(make_user(Role.ADMIN))


def test_an_admin_quarantines_many_for_one_reason_and_hears_of_each(admin: Browser) -> None:
    NodeFactory.create(id="one", status="active")
    NodeFactory.create(id="two", status="quarantine")
    chosen = {"node": ["one", "two", "gone"], "action": "quarantine"}
    asked = text_of(admin.post("/nodes/~many/", chosen, headers=admin.csrf))
    assert "Quarantine: 2 nodes" in asked
    assert Node.objects.filter(status="quarantine").count() == 1
    refused = admin.post(
        "/nodes/~many/", {**chosen, "node": ["one", "two"], "reason": ""}, headers=admin.csrf
    )
    assert refused.status_code == 422
    done = {**chosen, "node": ["one", "two"], "reason": "same bad driver"}
    page = text_of(admin.post("/nodes/~many/", done, headers=admin.csrf))
    assert page.count("Not done") == 1
    assert "This is not possible while its status is quarantine." in page
    assert set(Node.objects.values_list("status", flat=True)) == {"quarantine"}
    assert AuditEvent.objects.get(verb="node.quarantine").reason == "same bad driver"


def test_many_at_once_is_for_admins_and_has_bounds(admin: Browser, operator: Browser, org: Org) -> None:
    NodeFactory.create(id="mine", org=org, status="active")
    fields = {"node": ["mine"], "action": "quarantine", "reason": "because"}
    assert operator.post("/nodes/~many/", fields, headers=operator.csrf).status_code == 403
    assert Node.objects.get().status == "active"
    assert "data-pick" not in text_of(operator.get("/nodes/"))
    assert "data-pick" in text_of(admin.get("/nodes/"))
    for bad in (
        {},
        {"node": ["mine"]},
        {"node": ["mine"], "action": "delete"},
        {"node": [f"n{i}" for i in range(101)]},
    ):
        answer = admin.post("/nodes/~many/", bad, headers=admin.csrf)
        assert answer["Location"] == "/nodes/"


def test_what_cannot_be_an_id_is_no_node(admin: Browser) -> None:
    NodeFactory.create(id="one", status="active")
    for chosen, said in ((["one", "a\x00b"], "Quarantine: 1 node"), (["a\x00b"], "None of these nodes")):
        fields = {"node": chosen, "action": "quarantine"}
        assert said in text_of(admin.post("/nodes/~many/", fields, headers=admin.csrf))


def test_many_at_once_leads_back_to_the_list_as_it_was(admin: Browser) -> None:
    NodeFactory.create_batch(26, region="us", status="active")
    chosen = Node.objects.order_by("id").last()
    assert chosen is not None
    page = text_of(admin.get("/nodes/?region=us&page=2"))
    assert '<input type="hidden" name="query" value="?region=us&amp;page=2">' in page
    fields = {"node": [chosen.pk], "action": "quarantine", "query": "?region=us&page=2&junk=1"}
    back = 'href="/nodes/?region=us&amp;page=2">'
    assert f"{back}Cancel" in text_of(admin.post("/nodes/~many/", fields, headers=admin.csrf))
    fields["reason"] = "a bad driver"
    assert f"{back}Back to the nodes" in text_of(admin.post("/nodes/~many/", fields, headers=admin.csrf))
    fields["node"] = []
    answer = admin.post("/nodes/~many/", fields, headers=admin.csrf)
    assert answer["Location"] == "/nodes/?region=us&page=2"
