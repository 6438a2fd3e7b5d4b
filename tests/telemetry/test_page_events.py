"""What people do on pages is counted once, without who they were."""

from collections import Counter
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from jatevo.accounts.models import Role
from jatevo.web.page_events import NODE_FILTERS, PageEvent
from nodes.list.query import FILTERS
from nodes.rules.lifecycle import Status
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.factories import NodeFactory, ReceiptFactory

pytestmark = pytest.mark.django_db

Counted = Callable[[], Counter[str]]


@pytest.fixture
def counted() -> Counted:
    """The events since the last call."""

    def now() -> Counter[str]:
        return Counter(
            {
                event: int(REGISTRY.get_sample_value("frontend_events_total", {"event": event}) or 0)
                for event in PageEvent
            }
        )

    seen = [now()]

    def since() -> Counter[str]:
        seen.append(now())
        return seen[-1] - seen[-2]

    return since


def into(target: str) -> dict[str, str]:
    return {"HX-Request": "true", "HX-Target": target}


def test_each_event_is_counted_and_refreshing_parts_are_not(counted: Counted) -> None:
    client = Browser().hold_session(make_user(Role.ADMIN))
    node = NodeFactory.create(status=Status.ACTIVE)
    receipt = ReceiptFactory(node=node)
    client.get("/")
    client.get("/", headers=into("overview-live"))
    assert counted() == {"view_overview": 1}
    client.get("/nodes/")
    client.get("/nodes/?status=active")
    client.get("/nodes/?status=active", headers=into("nodes-page"))
    client.get("/nodes/?status=active&page=2", headers=into("nodes-page"))
    client.get("/nodes/?status=active", headers=into("nodes-list"))
    assert counted() == {"filter_nodes": 2}
    client.get(f"/nodes/{node.pk}/")
    client.get(f"/nodes/{node.pk}/", headers=into("drawer-body"))
    client.get(f"/nodes/{node.pk}/", headers=into("node-status"))
    client.get("/nodes/no-such-node/")
    assert counted() == {"open_node_detail": 2}
    client.get(f"/receipts/{node.pk}/{receipt.request_id}/")
    assert counted() == {"view_receipt": 1}
    client.get("/nodes/~export.csv")
    assert counted() == {"export_csv": 1}
    client.get(f"/run-a-node/nodes/{node.pk}/agent.yaml")
    assert counted() == {"generate_agent_yaml": 1}


@pytest.mark.parametrize("header", ["Sec-GPC", "DNT"])
def test_browsers_that_ask_not_to_be_tracked_are_not_counted(counted: Counted, header: str) -> None:
    client = Browser().hold_session(make_user(Role.VIEWER))
    assert client.get("/", headers={header: "1"}).status_code == 200
    assert not counted()


def test_filters_are_those_of_the_list() -> None:
    assert NODE_FILTERS == FILTERS
