"""/receipts/ through the front door: who sees what, search, pages, following what comes in, its cost."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from guardian.shortcuts import assign_perm

from jatevo.accounts.models import Org, Role, User
from nodes.models import Node
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, ReceiptFactory

pytestmark = pytest.mark.django_db
POLL = {"HX-Request": "true", "HX-Target": "receipts-list"}


def test_an_anonymous_visitor_is_sent_to_the_login_page() -> None:
    assert Browser().get("/receipts/")["Location"] == "/login/?next=/receipts/"


def test_an_operator_sees_the_orgs_receipts_and_an_admin_all(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node, request_id="r_mine")
    ReceiptFactory(node=NodeFactory.create(), request_id="r_rival")
    page = text_of(operator.get("/receipts/"))
    assert "r_mine" in page
    assert "r_rival" not in page
    page = text_of(Browser().hold_session(make_user(Role.ADMIN)).get("/receipts/"))
    assert "r_mine" in page
    assert "r_rival" in page


def test_a_viewer_sees_the_receipts_of_shared_nodes_granted_by_name(node: Node) -> None:
    viewer = make_user(Role.VIEWER)
    browser = Browser().hold_session(viewer)
    ReceiptFactory(node=node, request_id="r_shared")
    Node.objects.update(shared=True)
    # a receipt names its node, which this viewer knows by its pseudonym only
    assert "No receipts are shared with you" in text_of(browser.get("/receipts/"))
    assign_perm("nodes.view_node", viewer, node)
    assert "r_shared" in text_of(browser.get("/receipts/"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("request_id=r_b", {"r_b", "r_bb"}),
        ("request_id=r_bb", {"r_bb"}),
        ("request_id=%25", set()),
        ("node_id=gpu-1", {"r_bb"}),
        ("node_id=macbook-001&request_id=r_a", {"r_a"}),
        ("model_id=mixtral", {"r_b"}),
        ("region=us-east", {"r_a"}),
        ("hedged=true", {"r_bb"}),
        ("hedged=false", {"r_a", "r_b"}),
        ("cache_hit=true", {"r_a"}),
        ("outcome=error", {"r_b"}),
        ("outcome=ok", {"r_a", "r_bb"}),
        ("payment=held", set()),
        ("payment=pending&outcome=error", {"r_b"}),
        ("key=current&hedged=true", {"r_bb"}),
        ("key=former", set()),
        (f"sha256={'0' * 64}", set()),
        ("from=2026-03-04&to=2026-03-04", {"r_b"}),
        ("from=2026-03-04&to=2026-03-05T12:00:00Z", {"r_b"}),
        ("to=2026-03-04", {"r_b", "r_bb"}),
        ("from=tomorrow", set()),
        ("request_id=%00", set()),
        ("request_id=", {"r_a", "r_b", "r_bb"}),
    ],
)
def test_the_search_of_the_url_narrows_the_list(
    operator: Browser, node: Node, org: Org, query: str, expected: set[str]
) -> None:
    noon = datetime(2026, 3, 4, 12, tzinfo=UTC)
    gpu = NodeFactory.create(id="gpu-1", org=org)
    ReceiptFactory(node=node, request_id="r_a", region="us-east", at=noon + timedelta(days=1), cache_hit=True)
    ReceiptFactory(node=node, request_id="r_b", model_id="mixtral", at=noon, cache_hit=False, outcome="error")
    ReceiptFactory(node=gpu, request_id="r_bb", hedged=True, at=noon - timedelta(days=1), cache_hit=False)
    page = text_of(operator.get(f"/receipts/?{query}"))
    assert {each for each in ("r_a", "r_b", "r_bb") if f">{each}</a>" in page} == expected
    assert ("No matching receipts" in page) == (not expected)


def test_the_newest_come_first_and_pages_meet_without_gap_or_overlap(operator: Browser, node: Node) -> None:
    now = timezone.now()
    for number in range(60):
        # several share one moment, as those of a batch do
        ReceiptFactory(node=node, request_id=f"r_{number:03}", at=now - timedelta(seconds=number // 7))
    seen: list[str] = []
    url = "/receipts/?node_id=macbook-001"
    for _ in range(3):
        page = text_of(operator.get(url))
        rows = [f"r_{number:03}" for number in range(60) if f">r_{number:03}</a>" in page]
        assert not set(rows) & set(seen)
        seen += rows
        if 'rel="next" href="' in page:
            onward = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
            assert "node_id=macbook-001" in onward
            url = onward
    assert len(seen) == 60
    assert 'rel="next"' not in page


def walk_by(browser: Browser, url: str, rel: str) -> list[list[str]]:
    """The receipts of each page, from that one on by its links."""
    pages = []
    while url:
        page = text_of(browser.get(url))
        pages.append(re.findall(r">(r_\d+)</a>", page))
        found = re.search(rf'rel="{rel}" href="([^"]*)"', page)
        url = html.unescape(found[1]) if found else ""
        assert not url or "region=ap-southeast" in url
        assert url.count("cursor=") + url.count("before=") == bool(url)
    return pages


def test_pages_lead_back_as_they_led_on(operator: Browser, node: Node) -> None:
    now = timezone.now()
    for number in range(80):
        ReceiptFactory(node=node, request_id=f"r_{number:03}", at=now - timedelta(seconds=number // 7))
    forth = walk_by(operator, "/receipts/?region=ap-southeast", "next")
    assert [len(each) for each in forth] == [25, 25, 25, 5]
    last = text_of(operator.get("/receipts/?region=ap-southeast"))
    for _ in range(3):
        last = text_of(operator.get(html.unescape(re.findall(r'rel="next" href="([^"]*)"', last)[0])))
    ReceiptFactory(node=node, request_id="r_999", at=now + timedelta(seconds=1))
    back = walk_by(operator, html.unescape(re.findall(r'rel="prev" href="([^"]*)"', last)[0]), "prev")
    assert back[:2] == [forth[2], forth[1]]
    # the page before has all that was new, and one that begins at the top is the first page
    assert back[2] == forth[0]
    assert back[3] == ["r_999", *forth[0][:24]]
    assert len(back) == 4


@pytest.mark.parametrize("name", ["before", "cursor"])
@pytest.mark.parametrize("cursor", ["nonsense", "W10", "AAAA", "%00", "WyJub3doZW4iLDFd"])
def test_a_cursor_that_is_none_of_ours_starts_at_the_top(
    operator: Browser, node: Node, cursor: str, name: str
) -> None:
    ReceiptFactory(node=node, request_id="r_mine")
    assert "r_mine" in text_of(operator.get(f"/receipts/?{name}={cursor}"))


def test_a_receipt_that_came_in_shows_at_the_next_poll_and_until_then_304(
    operator: Browser, node: Node
) -> None:
    ReceiptFactory(node=node, request_id="r_first")
    first = operator.get("/receipts/", headers=POLL)
    assert "<html" not in text_of(first)
    unchanged = operator.get("/receipts/", headers={**POLL, "If-None-Match": first["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    ReceiptFactory(node=node, request_id="r_second")
    news = operator.get("/receipts/", headers={**POLL, "If-None-Match": first["ETag"]})
    assert "r_second" in text_of(news)
    assert text_of(news).index("r_second") < text_of(news).index("r_first")


def test_only_the_first_page_follows(operator: Browser, node: Node) -> None:
    for number in range(26):
        ReceiptFactory(node=node, request_id=f"r_{number}")
    page = text_of(operator.get("/receipts/"))
    # under two seconds for a new receipt, and over one for programs that wait for a quiet network
    assert 'data-poll-seconds="1.5"' in page
    onward = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = text_of(operator.get(onward))
    assert "receipts-list" in second and 'data-poll-seconds="1.5"' not in second
    assert 'rel="first"' in second


def test_the_number_of_queries_does_not_grow_with_the_rows(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node)
    operator.get("/receipts/")
    with CaptureQueriesContext(connection) as few:
        operator.get("/receipts/")
    for _ in range(24):
        ReceiptFactory(node=node)
    with CaptureQueriesContext(connection) as many:
        assert text_of(operator.get("/receipts/")).count("data-open ") == 25
    assert len(many) == len(few)
    # the person, the person's nodes and how many there are, the receipts in limited time (five), their verdicts, what was
    # refused, the nodes to choose from, and the saved views
    assert len(many) <= 12, [query["sql"] for query in many]
    with CaptureQueriesContext(connection) as polled:
        operator.get("/receipts/", headers=POLL)
    assert len(polled) <= 9, [query["sql"] for query in polled]
    assert not any('"raw"' in query["sql"] or '"payload"' in query["sql"] for query in many)


def test_empty_states_say_what_to_do_next(operator: Browser, org: Org) -> None:
    nothing = text_of(operator.get("/receipts/"))
    assert 'href="/run-a-node/"' in nothing
    NodeFactory.create(org=org)
    waiting = text_of(operator.get("/receipts/"))
    assert "within two seconds" in waiting
    missed = text_of(operator.get("/receipts/?request_id=zzz"))
    assert 'href="/receipts/">Clear search</a>' in missed


@pytest.fixture
def in_shanghai(operator: Browser) -> Browser:
    User.objects.update(time_zone="Asia/Shanghai")
    return operator


def shown_in(page: str, name: str) -> tuple[str, str]:
    """The type and the value of that field."""
    (tag,) = re.findall(rf'<input[^>]* name="{name}"[^>]*>', page)
    value = re.search(r' value="([^"]*)"', tag)
    return re.findall(r' type="(\w+)"', tag)[0] if " type=" in tag else "", value[1] if value else ""


def test_today_is_the_persons_day_also_in_the_morning(in_shanghai: Browser, node: Node) -> None:
    ReceiptFactory(
        node=node, request_id="r_now", at=datetime(2026, 3, 4, 23, 0, tzinfo=UTC)
    )  # 07:00 on the 5th
    ReceiptFactory(node=node, request_id="r_yesterday", at=datetime(2026, 3, 4, 15, 59, tzinfo=UTC))
    with time_machine.travel(datetime(2026, 3, 5, 0, 30, tzinfo=UTC), tick=False):
        page = text_of(in_shanghai.hold_session(User.objects.get()).get("/receipts/"))
        today, yesterday = re.findall(r'href="(/receipts/\?from=[^"]*)"[^>]*>(?:Today|Yesterday)<', page)
        assert today == "/receipts/?from=2026-03-05&amp;to=2026-03-05"
        page = text_of(in_shanghai.get(today.replace("&amp;", "&")))
        assert "r_now" in page
        assert "r_yesterday" not in page
        assert "Asia/Shanghai (UTC+8)" in page
        assert re.search(r'aria-current="true">Today<', page)
        page = text_of(in_shanghai.get(yesterday.replace("&amp;", "&")))
        assert "r_now" not in page
        assert "r_yesterday" in page


@pytest.mark.parametrize(
    ("held", "kind", "shown"),
    [
        ("2026-03-04", "date", "2026-03-04"),
        ("1772625600", "text", "2026-03-04T20:00:00+08:00"),
        ("1772625600.25", "text", "2026-03-04T20:00:00.250000+08:00"),
        ("2026-03-04T12:00:00Z", "text", "2026-03-04T20:00:00+08:00"),
        ("2026-03-04T12:00:00-03:30", "text", "2026-03-04T23:30:00+08:00"),
        ("2026-13-45", "text", "2026-13-45"),
        ("tomorrow", "text", "tomorrow"),
        ("", "date", ""),
    ],
)
def test_the_form_shows_whatever_the_address_holds_and_an_edit_keeps_it(
    in_shanghai: Browser, node: Node, held: str, kind: str, shown: str
) -> None:
    ReceiptFactory(node=node, request_id="r_a", at=datetime(2026, 3, 4, 13, 0, tzinfo=UTC))
    for name in ("from", "to"):
        page = text_of(in_shanghai.get("/receipts/", {name: held}))
        assert shown_in(page, name) == (kind, shown)
        again = text_of(in_shanghai.get("/receipts/", {name: shown, "region": ""}))
        assert shown_in(again, name) == (kind, shown)
        assert ("r_a" in page) == ("r_a" in again)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=tomorrow", "From: an RFC 3339 time"),
        ("to=99999999999", "To: an RFC 3339 time"),
        ("from=2026-03-05&to=2026-03-04", "From: must be before To"),
        ("from=1772625600&to=1772625600", "From: must be before To"),
        ("hedged=maybe", "Hedged: "),
        (f"node_id={'x' * 65}", "Node: "),
        ("outcome=lost", "Outcome: "),
        ("payment=paid", "Payment: "),
        ("key=mine", "Signed with: "),
        ("sha256=12", "SHA-256: Enter 64 hexadecimal digits."),
        ("model=mixtral", "model: unknown parameter. Did you mean model_id?"),
        ("zzz=1", "zzz: unknown parameter"),
        ("state=held", "state: unknown parameter"),
        ("as_of=2026-01-01", "as_of: unknown parameter"),
        ("hedged=true&hedged=false", "hedged: given more than once"),
    ],
)
def test_what_cannot_be_searched_is_said_and_not_dropped(
    operator: Browser, node: Node, query: str, words: str
) -> None:
    ReceiptFactory(node=node, request_id="r_anything")
    for headers in ({}, {"HX-Request": "true", "HX-Target": "receipts-found"}):
        page = text_of(operator.get(f"/receipts/?{query}", headers=headers))
        assert words in page
        assert "No matching receipts" in page
        assert "r_anything" not in page
        assert "Copy link" not in page, "it would leave the problem out"
        assert "Correct the search to save it." in page


def test_presets_keep_the_rest_of_the_search(operator: Browser, node: Node) -> None:
    page = text_of(operator.get("/receipts/?region=eu&from=2026-03-01&cursor=x"))
    assert 'href="/receipts/?region=eu"' in page  # any time
    assert re.search(r'href="/receipts/\?region=eu&amp;from=[\d-]+&amp;to=[\d-]+"', page)
