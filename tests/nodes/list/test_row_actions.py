"""A row's actions depend on permissions and are plain links."""

import re

import pytest

from jatevo.accounts.models import Org, Role
from nodes.rules.lifecycle import Status
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db

MANAGING = ["/maintenance/", "/sharing/", "/token/"]


def links_of(page: str, name: str) -> list[str]:
    """The addresses in the menu of the node's row. Empty if it has no menu."""
    menu = re.search(rf'<ul class="row-menu" id="actions-{name}" popover.*?</ul>', page, re.DOTALL)
    return re.findall(r'href="([^"]+)"', menu[0]) if menu else []


def test_an_operator_manages_nodes_from_their_rows(operator: Browser, org: Org) -> None:
    node = NodeFactory.create(org=org)
    links = links_of(text_of(operator.get("/nodes/")), node.pk)
    assert [link for link in links if not link.startswith("/run-a-node/")] == [
        f"/nodes/{node.pk}{path}" for path in MANAGING
    ]
    for link in links:  # each leads somewhere, without a script
        assert operator.get(link).status_code == 200
    assert 'popovertarget="actions-' in text_of(operator.get("/nodes/"))


def test_an_admin_moderates_by_the_nodes_status(org: Org) -> None:
    active = NodeFactory.create(org=org, status=Status.ACTIVE)
    held = NodeFactory.create(org=org, status=Status.QUARANTINE)
    page = text_of(Browser().hold_session(make_user(Role.ADMIN)).get("/nodes/"))
    assert links_of(page, active.pk)[:2] == [f"/nodes/{active.pk}/quarantine/", f"/nodes/{active.pk}/fraud/"]
    assert links_of(page, held.pk)[0] == f"/nodes/{held.pk}/clear/"
    assert set(links_of(page, active.pk)) >= {f"/nodes/{active.pk}{path}" for path in MANAGING}


@pytest.mark.parametrize("who", ["viewer", "visitor"])
def test_who_only_looks_has_no_menus(who: str) -> None:
    NodeFactory.create(shared=True)
    browser = Browser().hold_session(make_user(Role.VIEWER)) if who == "viewer" else Browser()
    page = text_of(browser.get("/nodes/"))
    assert "data-open" in page
    assert "row-menu" not in page
    assert ">Actions<" not in page
