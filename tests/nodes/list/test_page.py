"""/nodes/ through the front door: visibility, filters, pages, fragments, figures and query counts."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jatevo.accounts.models import Org, Role
from nodes.list.columns import COLUMNS, columns_for
from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.earnings.rows import earn
from tests.factories import NodeFactory, OrgFactory, UserFactory
from tests.nodes.list.node_list import names_in, stand

pytestmark = pytest.mark.django_db


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


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=offline", {"gpu-2"}),
        ("region=eu-central", {"mac-1", "gpu-2"}),
        ("region=eu-central&status=active", {"mac-1"}),
        ("runtime=vllm", {"gpu-2"}),
        ("reachable=no", {"gpu-2"}),
        ("reachable=unknown&runtime=vllm", set()),
        ("q=MAC", {"mac-1", "mac-3"}),
        ("reputation_range=40-90", {"mac-3"}),
        ("status=attention", {"gpu-2"}),
        ("q=llama&runtime=vllm", {"gpu-2"}),
        ("q=%C3%A9", set()),
        ("mine=1", {"mac-1", "gpu-2", "mac-3"}),
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
        id="gpu-2",
        org=org,
        region="eu-central",
        status=Status.OFFLINE,
        runtime="vllm",
        reputation=95,
        reachable=False,
        reachable_since=timezone.now(),
    )
    NodeFactory.create(id="mac-3", org=org, region="us-east", status=Status.PENDING, reputation=40)
    page = text_of(operator.get(f"/nodes/?{query}"))
    assert {each for each in ("mac-1", "gpu-2", "mac-3") if f'href="/nodes/{each}/"' in page} == expected
    assert ("No matching nodes" in page) == (not expected)


def test_twenty_five_a_page_and_the_links_keep_the_filters(operator: Browser, org: Org) -> None:
    NodeFactory.create_batch(27, org=org, region="us-east")
    first = text_of(operator.get("/nodes/?region=us-east"))
    assert first.count("data-open ") == 25
    assert 'href="/nodes/?region=us-east&amp;page=2"' in first
    second = text_of(operator.get("/nodes/?region=us-east&page=2"))
    assert second.count("data-open ") == 2
    assert text_of(operator.get("/nodes/?region=us-east&page=999")).count("data-open ") == 2
    for none in ("nonsense", "0", "-1"):
        assert names_in(text_of(operator.get(f"/nodes/?page={none}", follow=True))) == names_in(
            text_of(operator.get("/nodes/"))
        )


def test_links_to_pages_are_as_tidy_as_the_address(operator: Browser, org: Org) -> None:
    NodeFactory.create_batch(51, org=org, region="us-east")
    asked = {"HX-Request": "true", "HX-Target": "nodes-page"}
    messy = "q=&region=us-east&reputation_min=&reputation_max=&column=p95&column=region"
    page = text_of(operator.get(f"/nodes/?{messy}&page=2", headers=asked))
    kept = "region=us-east&amp;columns=p95,region"
    for url in (f"/nodes/?{kept}", f"/nodes/?{kept}&amp;page=3"):
        assert f'href="{url}" hx-get="{url}"' in page
    assert f'hx-get="/nodes/?{kept}&amp;page=2" hx-trigger="refresh"' in page
    assert "reputation_min=" not in page


def test_no_nodes_at_all_leads_to_run_a_node(operator: Browser) -> None:
    page = text_of(operator.get("/nodes/"))
    assert "No nodes yet" in page
    assert 'href="/run-a-node/"' in page


def test_no_match_offers_to_clear_the_filters(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org)
    page = text_of(operator.get("/nodes/?q=nothing-like-it"))
    assert "No matching nodes" in page
    assert 'href="/nodes/">Clear filters</a>' in page


def test_htmx_gets_only_the_rows_and_a_history_restore_the_page(operator: Browser, org: Org) -> None:
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


def test_the_last_measured_p95_and_uptime_are_in_the_list(operator: Browser, org: Org) -> None:
    stand(NodeFactory.create(id="measured", org=org), p95_ms=287.4, uptime_7d=0.995)
    NodeFactory.create(id="unmeasured", org=org)
    page = text_of(operator.get("/nodes/"))
    assert "287 ms" in page
    assert "99.5 %" in page
    assert "No probe has measured it in the past hour." in page
    assert "is not responding" not in page


def test_old_standings_are_shown_and_called_old(operator: Browser, org: Org) -> None:
    stand(NodeFactory.create(org=org), p95_ms=287.4, ago=timedelta(minutes=10))
    page = text_of(operator.get("/nodes/"))
    assert "287 ms" in page
    assert "Latency and uptime are out of date" in page


# The order of four nodes by each column, up and down. But for the names', none is the order that there is without:
# that would be no test.
ORDERS = {
    "name": ("abcd", "dcba"),
    "status": ("bdac", "cadb"),
    "reachable": ("bdac", "abdc"),  # c
    "region": ("dbca", "acbd"),
    "runtime": ("cbda", "adbc"),
    "reputation": ("cabd", "bacd"),  # d's is unknown: last either way, as are these:
    "p95": ("cabd", "acbd"),  # b, d
    "uptime": ("cbad", "bcad"),  # a, d
    "heartbeat": ("bacd", "cabd"),  # d
    "models": ("dbac", "cabd"),  # by how many
    "gpu": ("bacd", "cabd"),  # d
    "agent": ("dacb", "cadb"),  # b
    "energy": ("acbd", "bdac"),
    "since": ("cdab", "badc"),
    "registered": ("cdba", "abdc"),
    "asn": ("cbad", "bcad"),  # a, d
    "earnings": ("bcda", "adcb"),
}


@pytest.fixture
def four(org: Org) -> None:
    now, day = timezone.now(), timedelta(days=1)
    rows: list[dict[str, Any]] = [
        {
            "id": "a", "status": "pending", "region": "us", "runtime": "vllm", "reputation": 80,
            "last_heartbeat_at": now - day, "models_offered": ["m", "n"], "agent_version": "1.1",
            "green_energy": False, "status_since": now - day, "asn_hint": "", "reachable": True,
        },
        {
            "id": "b", "status": "active", "region": "ap", "runtime": "tensorrtllm", "reputation": 90,
            "last_heartbeat_at": now - 2 * day, "models_offered": ["m"], "agent_version": "",
            "green_energy": True, "status_since": now, "asn_hint": "AS2", "reachable": False,
        },
        {
            "id": "c", "status": "quarantine", "region": "eu", "runtime": "ollama", "reputation": 10,
            "last_heartbeat_at": now, "models_offered": ["m", "n", "o"], "agent_version": "1.2",
            "green_energy": False, "status_since": now - 3 * day, "asn_hint": "AS1", "reachable": None,
        },
        {
            "id": "d", "status": "offline", "region": "af", "runtime": "tgi", "reputation": None,
            "last_heartbeat_at": None, "models_offered": [], "agent_version": "1.0",
            "green_energy": True, "status_since": now - 2 * day, "asn_hint": "", "reachable": False,
        },
    ]  # fmt: skip
    gpus = {"a": "B200", "b": "A100", "c": "H100", "d": ""}
    ages = {"a": 1, "b": 2, "c": 4, "d": 3}
    figures = {"a": (500.0, None), "b": (None, 0.7), "c": (10.0, 0.5), "d": (None, None)}
    for row in rows:
        since = None if row["reachable"] is None else now
        node = NodeFactory.create(org=org, reachable_since=since, **row)
        node.attestation.gpu_model = gpus[node.pk]
        node.attestation.save()
        Node.objects.filter(pk=node.pk).update(created_at=now - ages[node.pk] * day)
        p95_ms, uptime_7d = figures[node.pk]
        stand(node, p95_ms=p95_ms, uptime_7d=uptime_7d)
        if tokens := {"a": 3000, "c": 1000, "d": 2000}.get(node.pk):
            earn(node, now, tokens_input=tokens)


def test_the_columns_that_sort_are_all_but_those_without_a_figure() -> None:
    admin = UserFactory.build(role=Role.ADMIN)
    sortable = {column.key for column in columns_for(admin) if column.order}
    assert {column.key for column in COLUMNS} == sortable
    assert {*ORDERS, "org"} == sortable


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize("key", list(ORDERS))
def test_a_column_sorts_both_ways_and_what_is_unknown_is_last(operator: Browser, key: str) -> None:
    for sort, way, order in zip((key, f"-{key}"), ("ascending", "descending"), ORDERS[key], strict=True):
        page = text_of(operator.get(f"/nodes/?sort={sort}&columns={key}"))
        assert "".join(names_in(page)) == order
        assert page.count("aria-sort=") == page.count(f'aria-sort="{way}"') == 1


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize("sort", ["org", "wallet_address", "-bogus", "models_offered"])
def test_what_is_no_column_of_ones_own_sorts_by_name(operator: Browser, sort: str) -> None:
    assert names_in(text_of(operator.get(f"/nodes/?sort={sort}"))) == ["a", "b", "c", "d"]


def test_an_admin_sorts_by_organisation() -> None:
    for name, node_id in (("Alpha", "n-2"), ("Beta", "n-1")):
        NodeFactory.create(id=node_id, org=OrgFactory.create(name=name))
    admin = Browser().hold_session(make_user(Role.ADMIN))
    assert names_in(text_of(admin.get("/nodes/?sort=org&columns=org"))) == ["n-2", "n-1"]
    assert names_in(text_of(admin.get("/nodes/?sort=-org&columns=org"))) == ["n-1", "n-2"]


def test_the_head_of_a_column_turns_its_order_and_keeps_the_filters(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org, region="us")
    page = text_of(operator.get("/nodes/?region=us&sort=-reputation"))
    assert 'aria-sort="descending"' in page
    assert 'href="/nodes/?region=us&amp;sort=reputation"' in page
    assert 'href="/nodes/?region=us&amp;sort=-p95"' in page  # numbers begin with the largest


def test_each_choice_says_how_many_nodes_it_would_leave(operator: Browser, org: Org) -> None:
    NodeFactory.create_batch(2, org=org, region="us", status="active")
    NodeFactory.create(org=org, region="eu", status="active", runtime="vllm")
    NodeFactory.create(org=org, region="eu", status="offline")
    NodeFactory.create(region="us", status="active")  # a rival's
    page = text_of(operator.get("/nodes/?region=us"))
    assert ">us (2)<" in page
    assert ">eu (2)<" in page  # given all other filters, not this one
    assert ">Active (2)<" in page
    assert ">Offline (0)<" in page
    assert ">vLLM (0)<" in page
    assert ">Mine (2)<" in page
    assert '<option value="us" selected>' in page


def test_filters_that_are_on_can_be_taken_off_one_by_one(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org, region="us", status="active")
    page = text_of(operator.get("/nodes/?region=us&status=active&sort=-p95"))
    assert re.search(r'href="/nodes/\?region=us&amp;sort=-p95"[^>]*><span[^>]*>Status: Active', page)
    assert re.search(r'href="/nodes/\?status=active&amp;sort=-p95"[^>]*><span[^>]*>Region: us', page)


@pytest.mark.parametrize(
    ("messy", "tidy"),
    [
        ("q=&status=active&region=", "/nodes/?status=active"),
        ("status=&region=", "/nodes/"),
        ("reputation_min=40&reputation_max=90", "/nodes/?reputation_range=40-90"),
        ("reputation_min=&reputation_max=90", "/nodes/?reputation_range=0-90"),
        ("reputation_min=0&reputation_max=100", "/nodes/"),
        ("reputation_min=&reputation_max=&reputation_range=40-90", "/nodes/"),
        ("column=p95&column=region", "/nodes/?columns=p95,region"),
        ("unknown=1&page=2", "/nodes/?page=2"),
        ("page=1", "/nodes/"),
        ("page=-1&region=us", "/nodes/?region=us"),
        ("mine=0", "/nodes/"),
        ("mine=true", "/nodes/?mine=1"),
    ],
)
def test_the_address_says_what_is_asked_and_no_more(
    operator: Browser, org: Org, messy: str, tidy: str
) -> None:
    NodeFactory.create_batch(26, org=org, region="us", reputation=50)
    answer = operator.get(f"/nodes/?{messy}")
    assert (answer.status_code, answer["Location"]) == (302, tidy)
    asked = {"HX-Request": "true", "HX-Target": "nodes-page"}
    assert operator.get(f"/nodes/?{messy}", headers=asked)["HX-Push-Url"] == tidy


def test_a_poll_of_the_rows_does_not_change_the_address(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org)
    asked = {"HX-Request": "true", "HX-Target": "nodes-list"}
    answer = operator.get("/nodes/?q=&status=&unknown=1", headers=asked)
    assert "HX-Push-Url" not in answer
    again = operator.get("/nodes/?q=&status=", headers={**asked, "If-None-Match": answer["ETag"]})
    assert again.status_code == 304
    assert "HX-Push-Url" not in again


def test_a_range_that_makes_no_sense_is_said_and_finds_nothing(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org, reputation=50)
    page = text_of(operator.get("/nodes/?reputation_range=90-40"))
    assert "Enter two numbers from 0 to 100" in page
    assert names_in(page) == []


def test_columns_are_chosen_in_a_form_and_remembered(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org, agent_version="9.8.7")
    assert "9.8.7" not in text_of(operator.get("/nodes/"))
    sent = operator.get("/nodes/?column=agent&column=region")
    assert sent["Location"] == "/nodes/?columns=agent,region"
    chosen = text_of(operator.get(sent["Location"]))
    assert "9.8.7" in chosen
    assert 'id="sort-reputation"' not in chosen
    assert "9.8.7" in text_of(operator.get("/nodes/"))
    assert 'id="sort-org"' not in text_of(operator.get("/nodes/?columns=org,asn"))  # an admin's


def test_a_link_that_names_columns_does_not_choose_them_for_good(operator: Browser, org: Org) -> None:
    NodeFactory.create(org=org, agent_version="9.8.7")
    assert "9.8.7" in text_of(operator.get("/nodes/?columns=agent"))
    assert "node_columns" not in operator.cookies
    assert "9.8.7" not in text_of(operator.get("/nodes/"))


def test_a_node_in_service_that_cannot_be_reached_says_so(operator: Browser, org: Org) -> None:
    now = timezone.now()
    NodeFactory.create(org=org, id="n-1", status="active", reachable=False, reachable_since=now)
    NodeFactory.create(org=org, id="n-2", status="offline", reachable=False, reachable_since=now)
    page = text_of(operator.get("/nodes/"))
    row = {name: page[page.index(f'id="open-{name}"') :].partition("</tr>")[0] for name in ("n-1", "n-2")}
    assert "Not reachable" in row["n-1"]
    assert "Not reachable" not in row["n-2"]  # it is offline, which says more
