"""The sidebar of each role, and the queries that it costs."""

from typing import Any

import pytest
from django.template import Context, Template
from django.test import RequestFactory

from jatevo.accounts.models import Org, Role, User
from jatevo.accounts.navigation import UnknownPermission, navigation
from tests.accounts.browser import Browser
from tests.accounts.people import make_user

EVERYBODY = ["Overview", "Nodes", "Status", "Docs"]
SIGNED_IN = ["Overview", "Nodes", "Receipts", "Status"]
EARNING = ["Overview", "Nodes", "Receipts", "Earnings", "Status"]


@pytest.mark.parametrize(
    ("role", "labels"),
    [
        (Role.VIEWER, [*SIGNED_IN, "Docs"]),
        (Role.OPERATOR, [*EARNING, "Run a node", "Docs"]),
        (Role.ADMIN, [*EARNING, "Run a node", "Docs", "Admin"]),
    ],
)
def test_each_role_finds_its_places(visitor: Browser, org: Org, role: Role, labels: list[str]) -> None:
    page = visitor.hold_session(make_user(role, org=org)).get("/password/")
    assert [item.label for item in page.context["nav"]] == labels


def test_strangers_find_the_overview(visitor: Browser, db: None) -> None:
    page = visitor.get("/login/")
    assert [item.label for item in page.context["nav"]] == EVERYBODY
    assert page.context["nav"][0].url_name == "overview:home"


def test_the_place_one_is_at_is_marked() -> None:
    def active(path: str) -> list[str]:
        request = RequestFactory().get(path)
        request.user = User(role=Role.ADMIN)
        return [item.label for item in navigation(request)["nav"] if item.active]

    assert active("/") == ["Overview"]
    assert active("/nodes/macbook-001/") == ["Nodes"]
    assert active("/earnings/receipts/") == ["Earnings"]
    assert active("/run-a-node/") == ["Run a node"]
    assert active("/docs/earnings/") == ["Docs"]
    assert active("/password/") == []


def test_templates_ask_what_one_may() -> None:
    request = RequestFactory().get("/")
    template = Template("{% if may.enrol_nodes %}yes{% else %}no{% endif %}")
    for role, answer in ((Role.ADMIN, "yes"), (Role.OPERATOR, "yes"), (Role.VIEWER, "no")):
        request.user = User(role=role)
        assert template.render(Context(navigation(request))) == answer


def test_a_slip_in_a_template_is_loud() -> None:
    request = RequestFactory().get("/")
    with pytest.raises(UnknownPermission):
        Template("{% if may.enroll_nodes %}yes{% endif %}").render(Context(navigation(request)))


def test_what_is_not_shown_costs_no_query(visitor: Browser, org: Org, django_assert_num_queries: Any) -> None:
    request = RequestFactory().get("/")
    with django_assert_num_queries(0):
        Template("a fragment").render(Context(navigation(request)))


def test_an_error_page_while_the_database_is_down_still_has_a_sidebar(
    visitor: Browser, org: Org, db_down: Any
) -> None:
    visitor.hold_session(make_user(Role.OPERATOR, org=org))
    with db_down():
        assert visitor.get("/password/").status_code == 503
