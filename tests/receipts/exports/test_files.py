"""/receipts/~export/ and its files: what is in them, for whom, and that they are what the list shows."""

import csv
import io
import json
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import django_filters
import pytest
import time_machine
from django.contrib.messages import get_messages
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from guardian.shortcuts import assign_perm

from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from jatevo.web.capped_work import EXPORTS
from nodes.models import Node
from receipts.exports import columns, query, views
from receipts.exports.query import OWN_PARAMETERS
from receipts.filters import MomentField
from receipts.forms import ReceiptSearch
from receipts.models import Receipt
from receipts.serializers import ReceiptLine
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.earnings.rows import earn
from tests.factories import NodeFactory, ReceiptFactory

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
NOW = NOON + timedelta(days=2)
PAGE = "/receipts/~export/"
CSV = "/receipts/~export.csv"
JSONL = "/receipts/~export.jsonl"


@pytest.fixture(autouse=True)
def now() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def csv_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.content
    text = answer.getvalue().decode()
    assert text.startswith("\ufeffrequest_id,node_id,")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def jsonl_of(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.content
    return [json.loads(line) for line in answer.getvalue().decode().splitlines()]


def shown_rows(page: str) -> str:
    found = re.search(r'id="export-rows">([\d,]+)<', page)
    assert found, page
    return found[1]


def action_of(page: str) -> str:
    """The query string that the form of the page sends."""
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)
    return urlencode([(name, text) for name, text in fields if name != "csrfmiddlewaretoken"])


def test_page_says_what_and_how_many_and_the_file_keeps_it(operator: Browser, node: Node) -> None:
    for number in range(3):
        ReceiptFactory(node=node, request_id=f"r_{number}", region="eu", at=NOON)
    ReceiptFactory(node=node, request_id="r_other", region="us-east", at=NOON)
    page = text_of(operator.get(PAGE, {"region": "eu"}))
    assert shown_rows(page) == "3"
    assert re.search(r"<dt>Region</dt>\s*<dd[^>]*>eu</dd>", page)
    ReceiptFactory(node=node, request_id="r_later", region="eu", at=NOW - timedelta(seconds=1))
    rows = csv_of(operator.get(f"{CSV}?{action_of(page)}"))
    assert [row["request_id"] for row in rows] == ["r_2", "r_1", "r_0"]
    assert len(jsonl_of(operator.get(JSONL, {"region": "eu"}))) == 4, "without as_of, up to now"


def test_what_may_still_be_committed_is_not_counted(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node, at=NOW - timedelta(seconds=6))
    ReceiptFactory(node=node, at=NOW - timedelta(seconds=4))
    assert shown_rows(text_of(operator.get(PAGE))) == "1"


def test_a_choice_is_shown_with_its_label(operator: Browser, node: Node) -> None:
    page = text_of(operator.get(PAGE, {"hedged": "true", "from": "2026-03-01"}))
    assert re.search(r"<dt>Hedged</dt>\s*<dd[^>]*>Hedged</dd>", page)
    assert re.search(r"<dt>From</dt>\s*<dd[^>]*>2026-03-01</dd>", page)
    assert shown_rows(page) == "0"
    assert "<button" not in page.split('id="export-rows"')[1].split("</section>")[0]


def test_files_have_the_fields_of_the_api_and_the_verdict(operator: Browser, node: Node) -> None:
    receipt = ReceiptFactory(
        node=node, request_id="r_a", p95_ms=12.5, hedged=True, cache_hit=False, model_id="=cmd()", at=NOON
    )
    (row,), (each,) = csv_of(operator.get(CSV)), jsonl_of(operator.get(JSONL))
    assert set(row) == set(each) == {
        *(set(ReceiptLine.Meta.fields) - {"payment"}), "payment_state", "payment_rule", "time_zone"
    }  # fmt: skip
    assert each == {
        **each,
        "request_id": "r_a",
        "accepted_at": "2026-03-04T12:00:00Z",
        "ts_start": "2026-03-04T11:59:44Z",
        "time_zone": "UTC",
        "p95_ms": 12.5,
        "hedged": True,
        "cache_hit": False,
        "model_id": "=cmd()",
        "payment_state": "pending",
        "payment_rule": None,
        "sha256": bytes(receipt.sha256).hex(),
    }
    assert row["model_id"] == "'=cmd()", "a spreadsheet must not run it"
    assert (row["hedged"], row["p95_ms"], row["payment_rule"]) == ("true", "12.5", "")
    assert row["tokens_input"] == "128"


def test_times_are_in_utc_or_in_the_persons_zone_which_the_file_names(operator: Browser, node: Node) -> None:
    User.objects.update(time_zone="Asia/Shanghai")
    ReceiptFactory(node=node, at=NOON)
    (row,) = csv_of(operator.get(CSV))
    assert (row["accepted_at"], row["time_zone"]) == ("2026-03-04T12:00:00Z", "UTC")
    answer = operator.get(CSV, {"zone": "mine"})
    assert "asia-shanghai.csv" in answer["Content-Disposition"]
    (row,) = csv_of(answer)
    assert (row["accepted_at"], row["time_zone"]) == ("2026-03-04T20:00:00+08:00", "Asia/Shanghai")
    assert jsonl_of(operator.get(JSONL, {"zone": "mine"}))[0]["ts_end"] == "2026-03-04T20:00:00+08:00"
    # a day of the search is the person's day in either
    for zone in ("mine", "utc"):
        asked = {"from": "2026-03-04", "to": "2026-03-04", "zone": zone}
        assert len(csv_of(operator.get(CSV, asked))) == 1
        assert len(csv_of(operator.get(CSV, asked | {"to": "2026-03-03", "from": "2026-03-01"}))) == 0


def test_everybody_exports_what_they_see(operator: Browser, node: Node, org: Org) -> None:
    ReceiptFactory(node=node, request_id="r_mine", at=NOON)
    ReceiptFactory(node=NodeFactory.create(), request_id="r_rival", at=NOON)
    assert {row["request_id"] for row in csv_of(operator.get(CSV))} == {"r_mine"}
    assert shown_rows(text_of(operator.get(PAGE))) == "1"
    admin = Browser().hold_session(make_user(Role.ADMIN))
    assert {row["request_id"] for row in csv_of(admin.get(CSV))} == {"r_mine", "r_rival"}
    viewer = make_user(Role.VIEWER)
    browser = Browser().hold_session(viewer)
    Node.objects.update(shared=True)  # by pseudonym, which a receipt would give away
    assert csv_of(browser.get(CSV)) == []
    assign_perm("nodes.view_node", viewer, node)
    assert {row["request_id"] for row in csv_of(browser.get(CSV))} == {"r_mine"}
    for path in (PAGE, CSV, JSONL):
        assert Browser().get(path)["Location"].startswith("/login/")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"from": "tomorrow"}, "From: an RFC 3339 time"),
        ({"regoin": "eu"}, "regoin: unknown parameter"),
        ({"zone": "Mars"}, "Zone: one of utc, mine"),
        ({"as_of": "soon"}, "As of: an RFC 3339 time"),
        ({"as_of": "2026-03-07T00:00:00Z"}, "As of: must not be in the future"),
        ({"from": "2026-03-05", "to": "2026-03-04"}, "From: must be before To"),
    ],
)
def test_a_search_that_makes_no_sense_exports_nothing_and_says_so(
    operator: Browser, node: Node, asked: dict[str, str], words: str
) -> None:
    answer = operator.get(CSV, asked)
    assert answer.status_code == 302
    assert "Nothing was exported" in str(next(iter(get_messages(answer.wsgi_request))))
    page = operator.get(answer["Location"])
    assert page.status_code == 422
    assert words in page.content.decode()
    assert not AuditEvent.objects.filter(verb="receipts.export").exists()


def test_list_leads_to_the_export_of_its_search(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node, at=NOON)
    page = text_of(operator.get("/receipts/?region=&request_id=r_&hedged=false&cursor=W10"))
    assert 'href="/receipts/~export/?request_id=r_&amp;hedged=false"' in page
    assert 'href="/receipts/~export/"' in text_of(operator.get("/receipts/"))
    export = text_of(operator.get("/receipts/~export/?request_id=r_&hedged=false"))
    assert 'href="/receipts/?request_id=r_&amp;hedged=false"' in export


def test_exports_are_audited_limited_and_capped(operator: Browser, node: Node, settings: Any) -> None:
    operator.get(CSV, {"region": "eu"}).getvalue()
    event = AuditEvent.objects.get(verb="receipts.export")
    assert (event.subject_id, event.details["query"]) == ("csv", "?region=eu")
    running = [EXPORTS.held_through(iter(["x"])) for _ in range(2)]
    assert operator.get(CSV).status_code == 503
    del running
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "exports": "1/minute"}
    operator.get(CSV).getvalue()
    assert operator.get(CSV).status_code == 429


def test_more_than_a_web_process_streams_leads_to_the_page(
    operator: Browser, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (query, views):
        monkeypatch.setattr(module, "MOST_AT_ONCE", 2)
    for _ in range(2):
        ReceiptFactory(node=node, at=NOON)
    assert len(csv_of(operator.get(CSV))) == 2
    ReceiptFactory(node=node, at=NOON)
    answer = operator.get(CSV, {"node_id": node.pk})
    assert answer["Location"] == "/receipts/~export/?node_id=macbook-001"


def test_rows_are_read_in_parts_that_meet_without_gap_or_overlap(
    operator: Browser, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "ROWS_AT_ONCE", 4)
    for number in range(17):  # several share one moment, as those of a batch do
        ReceiptFactory(node=node, request_id=f"r_{number:02}", at=NOON - timedelta(seconds=number // 6))
    with CaptureQueriesContext(connection) as queries:
        rows = csv_of(operator.get(CSV))
    expected = Receipt.objects.order_by("-accepted_at", "-id").values_list("request_id", flat=True)
    assert [row["request_id"] for row in rows] == list(expected)
    parts = [each["sql"] for each in queries if "tokens_input" in each["sql"]]
    assert len(parts) == 5
    assert all("LIMIT 4" in sql and '"raw"' not in sql and '"payload"' not in sql for sql in parts)


# --- every filter


def values_of(name: str, each: django_filters.Filter) -> list[str]:
    """Values for a filter: its choices, or what the receipts hold in that column."""
    if choices := each.extra.get("choices"):
        return [str(key) for key, _ in choices]
    if isinstance(each.field, MomentField):
        return ["2026-03-03", "2026-03-04", "2026-03-04T11:30:00Z", "1772539200"]
    column = getattr(each, "field_name", None) or name
    if column in {field.name for field in Receipt._meta.fields} | {"node_id"}:
        held = {getattr(receipt, column) for receipt in Receipt.objects.all()[:40]}
        return [
            bytes(value).hex() if isinstance(value, (bytes, memoryview)) else str(value) for value in held
        ]
    return ["1", "nothing-like-it"]


def listed(browser: Browser, asked: str) -> tuple[list[str], bool]:
    """All request ids that the list shows, page after page, and whether it finds a problem."""
    url, seen = f"/receipts/?{asked}", []
    while True:
        page = text_of(browser.get(url))
        seen += re.findall(r'data-open id="open-\d+"[^>]*title="([^"]*)"', page)
        if 'rel="next" href="' not in page:
            return seen, 'role="alert"' in page
        url = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")


def test_every_filter_of_the_list_also_exports(
    operator: Browser, node: Node, org: Org, settings: Any
) -> None:
    """Rows of the list are rows of the export, for each value of each filter and for combinations of them."""
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "exports": "9999/minute", "pages": "9999/minute"}
    chance = random.Random(20260304)
    nodes = [node, NodeFactory.create(id="gpu-1", org=org), NodeFactory.create(id="rival")]
    for number in range(36):
        ReceiptFactory(
            node=chance.choice(nodes),
            request_id=f"r_{number:02}",
            region=chance.choice(["eu", "us-east"]),
            model_id=chance.choice(["mixtral", "Mixtral:latest", "llama3.1-8b"]),
            hedged=chance.random() < 0.5,
            cache_hit=chance.random() < 0.5,
            outcome=chance.choice(["ok", "error", "cancelled"]),
            at=NOON - timedelta(hours=chance.randrange(40)),
        )
    for number, state in enumerate(["payable", "held", "excluded"] * 3):
        rule = "" if state == "payable" else "late"
        ended = NOON - timedelta(hours=chance.randrange(40))
        earn(nodes[number % 2], ended, state=state, rule=rule, cause=rule, request_id=f"e_{number}")
    Receipt.objects.filter(cache_hit=True).update(key_until=NOON)  # signed with a former key
    filters = ReceiptSearch(QueryDict(), queryset=Receipt.objects.all()).filters
    assert not set(OWN_PARAMETERS) & set(filters), "a filter must not have the name of another parameter"
    values = {name: values_of(name, each) for name, each in filters.items()}
    searches = [{name: text} for name, texts in values.items() for text in texts[:4]]
    for _ in range(20):
        names = chance.sample(sorted(values), k=chance.randint(2, 3))
        searches.append({name: chance.choice(values[name]) for name in names if values[name]})
    narrowed, everything = set(), len(listed(operator, "")[0])
    for asked in searches:
        shown, refused = listed(operator, urlencode(asked))
        answer = operator.get(JSONL, asked)
        assert (answer.status_code == 302) == refused, asked
        if not refused:
            exported = [row["request_id"] for row in jsonl_of(answer)]
            assert exported == shown, asked
            counted = shown_rows(text_of(operator.get(PAGE, asked)))
            assert counted == str(len(shown)), asked
            if 0 < len(shown) < everything:
                narrowed |= set(asked)
    assert narrowed == set(filters), "each filter has been seen to narrow the list"
