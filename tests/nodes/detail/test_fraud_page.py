"""The page of a node's findings of fraud, which only admins can see and decide."""

import re
from datetime import UTC, datetime
from html import unescape

import pytest
from django.utils import timezone
from nacl.signing import SigningKey

from jatevo.accounts.models import Org, Role
from jatevo.audit.record import Actor
from jatevo.wire import signing
from nodes import actions
from nodes.models import FindingState, FraudCause, FraudFinding, Node, NodeMark
from nodes.rules.lifecycle import Event, Status
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.factories import NodeFactory, receipt_payload
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db


@pytest.fixture
def node(org: Org) -> Node:
    made: Node = NodeFactory.create(id="macbook-001", org=org, status=Status.ACTIVE)
    return made


@pytest.fixture
def admin() -> Browser:
    return Browser().hold_session(make_user(Role.ADMIN))


def text_of(browser: Browser, node: Node) -> str:
    return browser.get(f"/nodes/{node.pk}/fraud/").content.decode()


def test_an_admin_opens_a_finding_and_confirms_it(admin: Browser, node: Node) -> None:
    url = f"/nodes/{node.pk}/fraud/"
    assert "No finding of fraud has been opened" in text_of(admin, node)
    assert admin.submit(url, {"reason": "Counts made up", "decision": "open"}).status_code == 302
    assert "Counts made up" in text_of(admin, node)
    assert "Confirm the fraud" in text_of(admin, node)
    assert admin.submit(url, {"reason": "Proven", "decision": "confirm"}).status_code == 302
    finding = FraudFinding.objects.get()
    assert (finding.state, finding.decision) == (FindingState.CONFIRMED, "Proven")
    page = text_of(admin, node)
    assert "Proven" in page
    assert "Confirm the fraud" not in page
    status = admin.get(f"/nodes/{node.pk}/").content.decode()
    assert "An admin confirmed the fraud." in status
    refused = admin.submit(f"/nodes/{node.pk}/clear/", {"reason": "Mercy"})
    assert refused.status_code == 422
    assert "quarantine is permanent" in refused.content.decode()


def test_an_admin_says_from_when_on_the_node_is_in_doubt(admin: Browser, node: Node) -> None:
    url = f"/nodes/{node.pk}/fraud/"
    future = {"reason": "Too soon", "decision": "open", "doubtful_from": "2999-01-01T00:00"}
    refused = admin.submit(url, future)
    assert refused.status_code == 422
    assert "cannot begin in the future" in refused.content.decode()
    chosen = {"reason": "Counts made up", "decision": "open", "doubtful_from": "2026-03-04T05:06"}
    assert admin.submit(url, chosen).status_code == 302
    finding = FraudFinding.objects.get()
    assert finding.doubtful_from == datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    assert "In doubt: what the node served from" in text_of(admin, node)
    assert "4 Mar 2026" in text_of(admin, node)


def test_a_finding_of_a_forged_receipt_leads_to_it(admin: Browser, node: Node) -> None:
    forged = signing.sign(receipt_payload(node.pk, request_id="r_forged"), SigningKey.generate())
    assert SignedSender.node(node).send("/v1/receipts", forged).status_code == 422
    (url,) = re.findall(r'href="([^"]*)">The forged receipts<', text_of(admin, node))
    assert "r_forged" in admin.get(unescape(url)).content.decode()


def test_an_admin_clears_a_finding_on_its_page(admin: Browser, node: Node) -> None:
    actions.find_fraud(
        node.pk,
        cause=FraudCause.RECEIPT_FORGED,
        by=Actor("node", node.pk),
        at=timezone.now(),
        evidence={"request_id": "r_1"},
    )
    assert "r_1" in text_of(admin, node)
    answer = admin.submit(f"/nodes/{node.pk}/fraud/", {"reason": "A bug of ours", "decision": "clear"})
    assert answer.status_code == 302
    node.refresh_from_db()
    assert node.status == Status.PENDING
    assert "A bug of ours" in text_of(admin, node)


@pytest.mark.parametrize("sent", [{"reason": "", "decision": "open"}, {"reason": "Why not", "decision": "x"}])
def test_without_a_reason_or_a_decision_nothing_happens(
    admin: Browser, node: Node, sent: dict[str, str]
) -> None:
    assert admin.submit(f"/nodes/{node.pk}/fraud/", sent).status_code == 422
    assert not FraudFinding.objects.exists()


def test_matches_with_other_orgs_are_shown_and_hold_nothing(admin: Browser, node: Node) -> None:
    other = NodeFactory.create(id="elsewhere-1")
    for each in (node, other):
        NodeMark.objects.create(node=each, kind="hardware", value="blake3:5f5f", gained_at=timezone.now())
    page = text_of(admin, node)
    assert "elsewhere-1" in page
    assert other.org.name in page
    other.refresh_from_db()
    assert other.status == Status.PENDING


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])
def test_no_one_else_sees_or_decides(node: Node, role: Role) -> None:
    browser = Browser().hold_session(make_user(role, org=node.org if role == Role.OPERATOR else None))
    assert browser.get(f"/nodes/{node.pk}/fraud/").status_code == 403
    fields = {"reason": "Revenge", "decision": "open"}
    answer = browser.post(f"/nodes/{node.pk}/fraud/", fields, headers=browser.csrf)
    assert answer.status_code == 403
    assert not FraudFinding.objects.exists()


def test_the_operator_of_a_held_node_sees_why_and_what_to_do(org: Org, node: Node) -> None:
    actions.happen(
        node.pk,
        Event.RELATED_TO_FRAUD,
        by=Actor("node", node.pk),
        at=timezone.now(),
        evidence={"related_to": "rogue-1", "ground": "hardware"},
    )
    operator = Browser().hold_session(make_user(Role.OPERATOR, org=org))
    page = operator.get(f"/nodes/{node.pk}/?tab=history").content.decode()
    assert "suspected of fraud" in page
    assert "contact an admin" in page
    assert "rogue-1" in page
