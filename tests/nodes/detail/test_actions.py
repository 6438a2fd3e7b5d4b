"""Quarantine, clear and new token on the pages: permissions, confirmation and effect."""

from typing import Any

import pytest

from jatevo.accounts.models import Org, Role
from jatevo.audit.models import AuditEvent
from jatevo.wire.gateway_key import gateway_key
from jatevo.wire.webhook import secret_of
from nodes.models import Node
from nodes.rules.lifecycle import Reason, Status
from nodes.tokens import node_gateway_key, node_token
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def node(org: Org) -> Node:
    made: Node = NodeFactory.create(id="macbook-001", org=org, status=Status.ACTIVE)
    return made


@pytest.fixture
def admin() -> Browser:
    return Browser().hold_session(make_user(Role.ADMIN))


def status_of(node: Node) -> str:
    node.refresh_from_db()
    return node.status


def test_an_admin_quarantines_with_a_reason_and_clears_again(admin: Browser, node: Node) -> None:
    answer = admin.submit(f"/nodes/{node.pk}/quarantine/", {"reason": "Sold to somebody else"})
    assert (answer.status_code, answer["Location"]) == (302, f"/nodes/{node.pk}/")
    assert status_of(node) == Status.QUARANTINE
    event = AuditEvent.objects.get(verb="node.quarantine")
    assert (event.subject_id, event.reason) == (node.pk, "Sold to somebody else")
    page = admin.get(f"/nodes/{node.pk}/").content.decode()
    assert "macbook-001 is in quarantine." in page
    answer = admin.submit(f"/nodes/{node.pk}/clear/", {"reason": "It was a misunderstanding"})
    assert answer.status_code == 302
    assert status_of(node) == Status.PENDING
    assert node.status_reason == Reason.CLEARED


@pytest.mark.parametrize("reason", ["", "  ", "no"])
def test_without_a_reason_nothing_happens(admin: Browser, node: Node, reason: str) -> None:
    answer = admin.submit(f"/nodes/{node.pk}/quarantine/", {"reason": reason})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.content.decode()
    assert status_of(node) == Status.ACTIVE


def test_asking_changes_nothing(admin: Browser, node: Node) -> None:
    assert admin.get(f"/nodes/{node.pk}/quarantine/").status_code == 200
    assert status_of(node) == Status.ACTIVE


def test_a_post_without_the_csrf_token_is_refused(admin: Browser, node: Node) -> None:
    answer = admin.post(f"/nodes/{node.pk}/quarantine/", {"reason": "Sold to somebody else"})
    assert answer.status_code == 403
    assert status_of(node) == Status.ACTIVE


def test_an_operator_may_not_moderate_his_own_node(operator: Browser, node: Node) -> None:
    for action in ("quarantine", "clear"):
        answer = operator.post(f"/nodes/{node.pk}/{action}/", {"reason": "because"}, headers=operator.csrf)
        assert answer.status_code == 403
    assert status_of(node) == Status.ACTIVE
    page = operator.get(f"/nodes/{node.pk}/").content.decode()
    assert f"/nodes/{node.pk}/quarantine/" not in page


def test_an_action_that_the_state_does_not_allow_is_explained(admin: Browser, node: Node) -> None:
    page = admin.get(f"/nodes/{node.pk}/clear/").content.decode()
    assert "is not in quarantine" in page
    answer = admin.post(f"/nodes/{node.pk}/clear/", {"reason": "because"}, headers=admin.csrf)
    assert answer.status_code == 422
    assert status_of(node) == Status.ACTIVE


def test_a_new_token_is_shown_once_and_ends_the_old_one(operator: Browser, node: Node) -> None:
    before = node_token(node)
    answer = operator.submit(f"/nodes/{node.pk}/token/", {"reason": "The disk was sold"})
    assert answer.status_code == 200
    assert AuditEvent.objects.get(verb="node.rotate_token").reason == "The disk was sold"
    node.refresh_from_db()
    after = node_token(node)
    assert after != before
    assert node_gateway_key(node) == gateway_key(secret_of(after))
    assert after in _text(answer)
    assert "no-store" in answer["Cache-Control"]
    # a reload of what a form answered would send it again, and end the token that is shown
    assert f'data-address="/nodes/{node.pk}/"' in answer.content.decode()
    assert after not in _text(operator.get(f"/nodes/{node.pk}/token/"))
    assert node.token_version == 2


def test_without_a_reason_there_is_no_new_token(operator: Browser, node: Node) -> None:
    before = node_token(node)
    assert operator.submit(f"/nodes/{node.pk}/token/", {"reason": " "}).status_code == 422
    node.refresh_from_db()
    assert node_token(node) == before


def test_a_viewer_may_not_make_a_token(node: Node) -> None:
    viewer = Browser().hold_session(make_user(Role.VIEWER))
    assert viewer.post(f"/nodes/{node.pk}/token/", headers=viewer.csrf).status_code == 403
    node.refresh_from_db()
    assert node.token_version == 1


def _text(answer: Any) -> str:
    # base64 in a page is escaped: + and = are not, but be exact about what the reader copies
    return str(answer.content.decode()).replace("&#x27;", "'").replace("&amp;", "&")
