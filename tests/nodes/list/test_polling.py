"""The list's polls return 304 while nothing changes, and new rows once something has changed."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jatevo.accounts.models import Org, Role
from nodes.list.columns import COLUMNS, Column
from nodes.models import Node, NodeAttestation, NodeStanding, SavedView
from tests.accounts.browser import Browser
from tests.accounts.people import make_user
from tests.earnings.rows import earn
from tests.factories import NodeFactory, OrgFactory
from tests.nodes.list.node_list import stand

pytestmark = pytest.mark.django_db

ROWS = {"HX-Request": "true", "HX-Target": "nodes-list"}
PAGE = {"HX-Request": "true", "HX-Target": "nodes-page"}


def _node(**changes: object) -> None:
    Node.objects.filter(pk="n-1").update(**changes)


CHANGES: dict[str, Callable[[], object]] = {
    "name": lambda: _node(green_energy=True),
    "status": lambda: _node(status="offline"),
    "reachable": lambda: _node(reachable=False, reachable_since=timezone.now()),
    "region": lambda: _node(region="eu-west"),
    "runtime": lambda: _node(runtime="vllm"),
    "reputation": lambda: _node(reputation=12),
    "p95": lambda: NodeStanding.objects.update(p95_ms=999),
    "uptime": lambda: NodeStanding.objects.update(uptime_7d=0.123),
    "heartbeat": lambda: _node(last_heartbeat_at=timezone.now() - timedelta(hours=2)),
    "models": lambda: _node(models_offered=["qwen3-8b"]),
    "gpu": lambda: NodeAttestation.objects.update(gpu_model="RTX 4090"),
    "agent": lambda: _node(agent_version="9.9.9"),
    "energy": lambda: _node(green_energy=True),
    "since": lambda: _node(status_since=F("status_since") - timedelta(days=3)),
    "registered": lambda: _node(created_at=F("created_at") - timedelta(days=3)),
    "org": lambda: Org.objects.update(name="Renamed"),
    "asn": lambda: _node(asn_hint="AS64500"),
    "earnings": lambda: earn(Node.objects.get(pk="n-1"), timezone.now()),
}


@pytest.fixture
def admin() -> Browser:
    return Browser().hold_session(make_user(Role.ADMIN))


@pytest.fixture
def node(org: Org) -> Node:
    node = NodeFactory.create(id="n-1", org=org, status="active", last_heartbeat_at=timezone.now())
    stand(node, p95_ms=100.0, uptime_7d=0.5)
    return node


def test_every_column_has_a_change_to_try() -> None:
    assert set(CHANGES) == {column.key for column in COLUMNS}


@pytest.mark.parametrize(
    "column", [each for each in COLUMNS if each.key in CHANGES], ids=lambda each: each.key
)
def test_a_change_of_any_shown_field_reaches_the_next_poll(
    admin: Browser, node: Node, column: Column
) -> None:
    url = f"/nodes/?columns=region,{column.key}"
    known = {**ROWS, "If-None-Match": admin.get(url, headers=ROWS)["ETag"]}
    assert admin.get(url, headers=known).status_code == 304
    CHANGES[column.key]()
    assert admin.get(url, headers=known).status_code == 200


@pytest.mark.parametrize("column", COLUMNS, ids=lambda each: each.key)
def test_a_column_declares_all_the_fields_that_it_reads(admin: Browser, node: Node, column: Column) -> None:
    counts = []
    for columns in ("region", f"region,{column.key}"):
        with CaptureQueriesContext(connection) as asked:
            admin.get(f"/nodes/?columns={columns}", headers=ROWS)
        counts.append(len(asked))
        with CaptureQueriesContext(connection) as exported:
            admin.get(f"/nodes/~export.csv?columns={columns}").getvalue()
        counts.append(len(exported))
    assert counts[:2] == counts[2:]


def test_a_poll_is_not_news_because_time_passes(admin: Browser, node: Node) -> None:
    first = admin.get("/nodes/?columns=heartbeat", headers=ROWS)
    Node.objects.filter(pk=node.pk).update(last_heartbeat_at=F("last_heartbeat_at"))
    again = admin.get("/nodes/?columns=heartbeat", headers=ROWS)
    assert first["ETag"] == again["ETag"]


def test_saved_views_belong_to_what_the_page_part_shows(admin: Browser, node: Node) -> None:
    known = {**PAGE, "If-None-Match": admin.get("/nodes/", headers=PAGE)["ETag"]}
    assert admin.get("/nodes/", headers=known).status_code == 304
    answer = admin.post(
        "/nodes/~views/", {"name": "Asia", "query": "?region=ap-southeast"}, headers=admin.csrf
    )
    assert (answer.status_code, SavedView.objects.count()) == (302, 1)
    admin.get("/nodes/")  # shows the message that it was saved
    shown = admin.get("/nodes/", headers=known)
    assert shown.status_code == 200
    assert "Asia" in shown.content.decode()


def test_a_node_that_comes_or_goes_is_news(admin: Browser, node: Node) -> None:
    known = {**ROWS, "If-None-Match": admin.get("/nodes/", headers=ROWS)["ETag"]}
    NodeFactory.create(id="n-2", org=OrgFactory.create())
    assert admin.get("/nodes/", headers=known).status_code == 200
