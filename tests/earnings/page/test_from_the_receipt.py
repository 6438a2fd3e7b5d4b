"""From a receipt's page to its amount and back, and who is shown that way."""

from datetime import timedelta

import pytest
from django.utils import timezone
from guardian.shortcuts import assign_perm

from jatevo.accounts.models import Org, Role
from nodes.models import Node
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.earnings.rows import earn
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db

RECEIPT = "/receipts/macbook-001/r_1/"
ITEM = "/earnings/receipts/macbook-001/r_1/"


@pytest.fixture
def node(org: Org) -> Node:
    made: Node = NodeFactory.create(id="macbook-001", org=org, shared=True)
    earn(made, timezone.now() - timedelta(minutes=3), request_id="r_1")
    return made


def test_a_receipt_leads_to_its_amount_and_back(operator: Browser, node: Node) -> None:
    assert f'href="{ITEM}">Details</a>' in text_of(operator.get(RECEIPT))
    item = text_of(operator.get(ITEM))
    assert "Payment of r_1" in item
    assert f'href="{RECEIPT}"' in item


def test_a_viewer_of_the_receipt_is_not_led_to_its_amount(node: Node) -> None:
    person = make_user(Role.VIEWER)
    assign_perm("nodes.view_node", person, node)
    viewer = Browser().hold_session(person)
    assert "/earnings/" not in text_of(viewer.get(RECEIPT))
    assert viewer.get(ITEM).status_code == 403
