"""/nodes/ through the front door: who sees what, filters, pages, fragments, figures, and what it costs."""

import uuid
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from guardian.shortcuts import assign_perm

from jatevo.accounts.models import Org, Role
from jatevo.metrics.facts import LatencyFact
from jatevo.metrics.store import MetricsUnavailable, Store
from jatevo.metrics.writer import write
from nodes import figures
from nodes.lifecycle import Status
from nodes.models import Node
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory
from tests.metrics.conftest import chdb_store

__all__ = ["chdb_store"]
pytestmark = pytest.mark.django_db


class DownStore:
    """Answers like a ClickHouse that is not there."""

    def execute(self, sql: str, params: Any = None) -> NoReturn:
        raise MetricsUnavailable("connection refused")


def measure(store: Store, node: Node, p95: float) -> None:
    at = int(timezone.now().timestamp())
    fact = LatencyFact(
        probe_id=str(uuid.uuid4()),
        node_id=node.pk,
        region=node.region,
        ts=at,
        p50=1.0,
        p95=p95,
        p99=9.0,
        tps=1.0,
    )
    write(store, uuid.uuid4(), [(0, fact)])


def test_an_anonymous_visitor_is_sent_to_the_login_page() -> None:
    answer = Browser().get("/nodes/?status=active")
    assert answer.status_code == 302
    assert answer["Location"] == "/login/?next=/nodes/%3Fstatus%3Dactive"


def test_an_operator_sees_the_orgs_nodes_and_no_rivals(operator: Browser, org: Org) -> None:
    NodeFactory.create(id="mine", org=org)
    NodeFactory.create(id="rival")
    page = text_of(operator.get("/nodes/"))
    assert 'href="/nodes/mine/"' in page
    assert "rival" not in page


def test_an_admin_sees_all_nodes() -> None:
    NodeFactory.create(id="one")
    NodeFactory.create(id="two")
    page = text_of(Browser().hold_session(make_user(Role.ADMIN)).get("/nodes/"))
    assert 'href="/nodes/one/"' in page
    assert 'href="/nodes/two/"' in page


def test_a_viewer_sees_the_nodes_that_were_shared() -> None:
    viewer = make_user(Role.VIEWER)
    browser = Browser().hold_session(viewer)
    shared = NodeFactory.create(id="shared")
    NodeFactory.create(id="not-shared")
    assert "No nodes are shared with you" in text_of(browser.get("/nodes/"))
    assign_perm("nodes.view_node", viewer, shared)
    page = text_of(browser.get("/nodes/"))
    assert 'href="/nodes/shared/"' in page
    assert "not-shared" not in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=offline", {"gpu-2"}),
        ("region=eu-central", {"mac-1", "gpu-2"}),
        ("region=eu-central&status=active", {"mac-1"}),
        ("runtime=vllm", {"gpu-2"}),
        ("q=MAC", {"mac-1", "mac-3"}),
        ("reputation_range=40-90", {"mac-3"}),
        ("status=", {"mac-1", "gpu-2", "mac-3"}),
        ("status=quarantine", set()),
        ("status=bogus", set()),
        ("reputation_range=90-40", set()),
        ("q=%00", set()),
    ],
)
def test_filters_of_the_url_narrow_the_list(
    operator: Browser, org: Org, query: str, expected: set[str]
) -> None:
    NodeFactory.create(id="mac-1", org=org, region="eu-central", status=Status.ACTIVE)
    NodeFactory.create(
        id="gpu-2", org=org, region="eu-central", status=Status.OFFLINE, runtime="vllm", reputation=95
    )
    NodeFactory.create(id="mac-3", org=org, region="us-east", status=Status.PENDING, reputation=40)
    page = text_of(operator.get(f"/nodes/?{query}"))
    assert {each for each in ("mac-1", "gpu-2", "mac-3") if f'href="/nodes/{each}/"' in page} == expected
    assert ("No node matches" in page) == (not expected)


def test_twenty_five_a_page_and_the_links_keep_the_filters(operator: Browser, org: Org) -> None:
    NodeFactory.create_batch(27, org=org, region="us-east")
    first = text_of(operator.get("/nodes/?region=us-east"))
    assert first.count("data-open ") == 25
    assert 'href="?region=us-east&amp;page=2"' in first
    second = text_of(operator.get("/nodes/?region=us-east&page=2"))
    assert second.count("data-open ") == 2
    assert text_of(operator.get("/nodes/?region=us-east&page=999")).count("data-open ") == 2
    assert text_of(operator.get("/nodes/?page=nonsense")).count("data-open ") == 25


def test_no_nodes_at_all_leads_to_run_a_node(operator: Browser) -> None:
    page = text_of(operator.get("/nodes/"))
    assert "No nodes yet" in page
    assert 'href="/run-a-node/"' in page


def test_no_match_offers_to_clear_the_filters(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org)
    page = text_of(operator.get("/nodes/?q=nothing-like-it"))
    assert "No node matches" in page
    assert 'href="/nodes/">Clear filters</a>' in page


def test_htmx_gets_the_rows_alone_and_history_restore_the_page(operator: Browser, org: Org) -> None:
    NodeFactory.create(id="mine", org=org)
    asked = {"HX-Request": "true", "HX-Target": "nodes-list"}
    part = operator.get("/nodes/", headers=asked)
    assert "<html" not in text_of(part)
    assert 'href="/nodes/mine/"' in text_of(part)
    assert "HX-Request" in part["Vary"]
    assert "private" in part["Cache-Control"]
    restored = operator.get("/nodes/", headers={**asked, "HX-History-Restore-Request": "true"})
    assert "<html" in text_of(restored)


def test_an_unchanged_list_answers_a_poll_with_304(operator: Browser, org: Org) -> None:
    node = NodeFactory.create(org=org)
    asked = {"HX-Request": "true", "HX-Target": "nodes-list"}
    etag = operator.get("/nodes/", headers=asked)["ETag"]
    again = operator.get("/nodes/", headers={**asked, "If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    Node.objects.filter(pk=node.pk).update(status=Status.OFFLINE)
    changed = operator.get("/nodes/", headers={**asked, "If-None-Match": etag})
    assert changed.status_code == 200
    assert changed["ETag"] != etag


def test_the_etag_of_one_filter_is_not_that_of_another(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org, region="us-east")
    asked = {"HX-Request": "true", "HX-Target": "nodes-list"}
    one = operator.get("/nodes/", headers=asked)["ETag"]
    assert operator.get("/nodes/?region=us-east", headers=asked)["ETag"] != one


def test_the_number_of_queries_does_not_grow_with_the_rows(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org)
    operator.get("/nodes/")
    with CaptureQueriesContext(connection) as few:
        operator.get("/nodes/")
    NodeFactory.create_batch(24, org=org)
    with CaptureQueriesContext(connection) as many:
        assert text_of(operator.get("/nodes/")).count("data-open ") == 25
    assert len(many) == len(few)
    assert len(many) <= 6, [query["sql"] for query in many]


def test_the_last_measured_p95_is_in_the_list(operator: Browser, org: Org, chdb_store: Store) -> None:
    measure(chdb_store, NodeFactory.create(id="measured", org=org), 287.4)
    NodeFactory.create(id="unmeasured", org=org)
    page = text_of(operator.get("/nodes/"))
    assert "287 ms" in page
    assert "No probe has measured it in the past hour." in page


def test_without_clickhouse_the_last_good_figure_stays_and_says_so(
    operator: Browser, org: Org, chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(chdb_store, NodeFactory.create(org=org), 287.4)
    assert "287 ms" in text_of(operator.get("/nodes/"))
    monkeypatch.setattr(figures, "get_store", DownStore)
    monkeypatch.setattr(figures, "FRESH", timedelta(0))
    page = text_of(operator.get("/nodes/"))
    assert "287 ms" in page
    assert "stale, " in page


def test_without_clickhouse_and_memory_the_figure_is_unknown_and_the_page_answers(
    operator: Browser, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "get_store", DownStore)
    NodeFactory.create(id="mine", org=org)
    page = text_of(operator.get("/nodes/"))
    assert 'href="/nodes/mine/"' in page
    assert "The metrics store cannot be reached." in page
