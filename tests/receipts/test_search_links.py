"""The links around the search: a chip for each filter, "zoom out", and a link with absolute times."""

import html
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.http import QueryDict
from django.utils import timezone

from jatevo.accounts.models import Org, Role, User
from jatevo.web.query_values import moment
from nodes.models import Node
from receipts.ranges import zoomed_out
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, ReceiptFactory

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 5, 0, 30, tzinfo=UTC)  # 08:30 in Shanghai


@pytest.fixture
def in_shanghai(operator: Browser) -> Browser:
    User.objects.update(time_zone="Asia/Shanghai")
    with time_machine.travel(NOW, tick=False):
        operator.hold_session(User.objects.get())
    return operator


def chips(page: str) -> dict[str, QueryDict]:
    """The query that the link of each chip leads to."""
    found = re.findall(r'<a class="chip[^"]*" href="/receipts/\??([^"]*)"[^>]*><span[^>]*>([^<]*)<', page)
    return {html.unescape(label): QueryDict(html.unescape(query)) for query, label in found}


def link(page: str, words: str) -> str:
    (found,) = re.findall(rf'href="([^"]*)"[^>]*>(?:<svg.*?</svg>)?{words}<', page)
    return html.unescape(found)


def at(browser: Browser, query: str, **headers: str) -> str:
    with time_machine.travel(NOW, tick=False):
        return text_of(browser.get(f"/receipts/?{query}", headers=headers))


EVERY_FILTER = {
    "request_id": ("r_01", "Request ID: r_01"),
    "node_id": ("macbook-001", "Node: macbook-001"),
    "model_id": ("<b>", "Model: <b>"),
    "region": ("eu", "Region: eu"),
    "outcome": ("error", "Outcome: Failed"),
    "payment": ("held", "Payment: Held"),
    "hedged": ("true", "Hedged"),
    "cache_hit": ("false", "No cache hit"),
    "key": ("former", "Signed with: A former key"),
    "sha256": ("ab" * 32, "SHA-256: abababababab…"),
    "from": ("1772625600", "From: 4 Mar 2026, 20:00:00 UTC+8"),
    "to": ("2026-03-05", "To: 5 Mar 2026"),
}


def test_each_filter_is_a_chip_in_words_whose_link_removes_it_and_keeps_the_others(
    in_shanghai: Browser,
) -> None:
    query = QueryDict(mutable=True)
    query.update({name: value for name, (value, _) in EVERY_FILTER.items()})
    page = at(in_shanghai, f"{query.urlencode()}&cursor=abc")
    shown = chips(page)
    assert list(shown) == [words for _, words in EVERY_FILTER.values()]
    for name, (_, words) in EVERY_FILTER.items():
        assert shown[words].dict() == {key: value for key, value in query.items() if key != name}
    assert link(page, "Clear all") == "/receipts/"


def test_every_filter_of_the_form_has_a_chip_and_a_field_that_shows_it(in_shanghai: Browser) -> None:
    from receipts.forms import ReceiptSearch

    assert set(EVERY_FILTER) == set(ReceiptSearch.base_filters)
    query = QueryDict(mutable=True)
    query.update({name: value for name, (value, _) in EVERY_FILTER.items()})
    page = at(in_shanghai, query.urlencode())
    form = page.partition('role="search"')[2].partition("</form>")[0]
    for name, (value, _) in EVERY_FILTER.items():
        field = re.search(rf'<(input|select)[^>]* name="{name}".*?(?=<label|$)', form, re.DOTALL)
        assert field, name
        if field[1] == "select":
            assert f'value="{value}" selected' in field[0], name
        elif name != "from":  # as an instant of the person's zone; see test_pages_list
            assert f'value="{html.escape(value)}"' in field[0], name
    assert '<details class="col-span-full" open>' in page
    assert '<details class="col-span-full">' in at(in_shanghai, "region=eu")


@pytest.mark.parametrize(
    ("query", "words"),
    [("outcome=lost", "Outcome: lost"), ("from=tomorrow", "From: tomorrow"), ("sha256=12", "SHA-256: 12")],
)
def test_a_value_that_makes_no_sense_is_a_chip_too(in_shanghai: Browser, query: str, words: str) -> None:
    assert list(chips(at(in_shanghai, query))) == [words]


def test_without_a_filter_there_is_no_chip(in_shanghai: Browser) -> None:
    page = at(in_shanghai, "request_id=&node_id=&from=")
    assert chips(page) == {}
    assert "Clear all" not in page


def test_a_search_by_htmx_brings_its_chips_and_links(in_shanghai: Browser) -> None:
    page = at(in_shanghai, "region=eu", **{"HX-Request": "true", "HX-Target": "receipts-found"})
    assert list(chips(page)) == ["Region: eu"]
    assert "Copy link" in page


@pytest.mark.parametrize(
    ("first", "last", "wider"),
    [
        ("2026-03-02T12:00:00Z", "2026-03-02T14:00:00Z", ("2026-03-02T19:00:00+08:00", "2026-03-02T23:00:00+08:00")),
        ("2026-03-02", "2026-03-03", ("2026-03-01T00:00:00+08:00", "2026-03-05T00:00:00+08:00")),
        # today, which is not over: it ends now
        ("2026-03-05", "2026-03-05", ("2026-03-04T12:00:00+08:00", "2026-03-05T08:30:00+08:00")),
        # without an end: until now, and still without one
        ("2026-03-05", "", ("2026-03-04T19:45:00+08:00", "")),
        ("2026-03-02T12:00:00Z", "2026-03-02T12:00:00Z", None),
        ("2026-03-03", "2026-03-02", None),
        ("2026-03-08", "2026-03-08", None),
        ("2000-01-02", "2026-03-08", ("2000-01-01T08:00:00+08:00", "2026-03-05T08:30:00+08:00")),
        ("", "2026-03-02", None),
        ("", "", None),
    ],
)  # fmt: skip
def test_zoom_out_doubles_the_range_around_its_middle_until_now(
    first: str, last: str, wider: tuple[str, str] | None
) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    with timezone.override(zone):
        times = [moment(text, zone=zone) if text else None for text in (first, last)]
        found = zoomed_out(times[0], times[1], at=NOW)
    assert found == ({"from": wider[0], "to": wider[1]} if wider else {})


def test_zoom_out_keeps_the_rest_of_the_search(in_shanghai: Browser) -> None:
    page = at(in_shanghai, "region=eu&from=2026-03-02&to=2026-03-02&cursor=x")
    assert link(page, "Zoom out") == (
        "/receipts/?region=eu&from=2026-03-01T12%3A00%3A00%2B08%3A00&to=2026-03-03T12%3A00%3A00%2B08%3A00"
    )
    for query in ("region=eu", "from=nonsense", "from=2026-03-05&to=2026-03-01"):
        assert "Zoom out" not in at(in_shanghai, query)


def test_a_copied_link_shows_the_same_receipts_to_somebody_in_another_zone(
    in_shanghai: Browser, node: Node
) -> None:
    ReceiptFactory(node=node, request_id="r_in", at=datetime(2026, 3, 4, 16, 30, tzinfo=UTC))  # 00:30
    ReceiptFactory(node=node, request_id="r_before", at=datetime(2026, 3, 4, 15, 30, tzinfo=UTC))
    ReceiptFactory(node=node, request_id="r_after", at=datetime(2026, 3, 5, 16, 30, tzinfo=UTC))
    page = at(in_shanghai, "node_id=macbook-001&from=2026-03-05&to=2026-03-05")
    (shared,) = re.findall(r'data-copy="([^"]*)"', page)
    assert html.unescape(shared) == (
        "http://testserver/receipts/?node_id=macbook-001"
        "&from=2026-03-05T00%3A00%3A00%2B08%3A00&to=2026-03-06T00%3A00%3A00%2B08%3A00"
    )
    admin = Browser().hold_session(make_user(Role.ADMIN), at=NOW)
    for browser in (in_shanghai, admin):
        found = at(browser, html.unescape(shared).partition("?")[2])
        assert "r_in" in found
        assert "r_before" not in found
        assert "r_after" not in found


def test_operators_choose_among_their_nodes_and_admins_type(operator: Browser, node: Node, org: Org) -> None:
    NodeFactory.create(id="rival-001")
    NodeFactory.create(id="macbook-002", org=org)
    page = text_of(operator.get("/receipts/"))
    assert re.findall(r'<option value="([^"]*-\d+)"></option>', page) == ["macbook-001", "macbook-002"]
    assert 'list="receipts-nodes"' in page
    page = text_of(Browser().hold_session(make_user(Role.ADMIN)).get("/receipts/"))
    assert "macbook-001" not in page
