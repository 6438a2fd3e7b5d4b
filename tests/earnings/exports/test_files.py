"""Exports of earnings: what is in the files, that they sum to the page, and who gets them."""

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from waffle.testutils import override_switch

from earnings.exports.tables import What
from earnings.figures.scope import Scope
from earnings.figures.sums import sums
from earnings.models import Item, Line
from jatevo.accounts.models import Role, User
from jatevo.audit.models import AuditEvent
from jatevo.web.capped_work import EXPORTS
from jatevo.web.csv_export import csv_lines
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.earnings.rows import earn, finalise, judge, make_jtvo, make_rate, pay_out
from tests.factories import NodeFactory, OrgFactory, UserFactory

pytestmark = pytest.mark.django_db

MARCH = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)
SPRING = {"from": "2026-03-01", "to": "2026-03-10"}


@pytest.fixture
def operator() -> User:
    return UserFactory.create(time_zone="Asia/Shanghai")


@pytest.fixture
def node(operator: User) -> Node:
    """Two nodes of the operator and one of a rival, over three days, with every verdict."""
    node = NodeFactory.create(org=operator.org, id="node-a")
    other = NodeFactory.create(org=operator.org, id="node-b")
    make_rate(input_usd="0.333333", output_usd="1.000001", cache_hit_discount="0.1234")
    make_jtvo("2", holds_from=datetime(2026, 3, 5, tzinfo=UTC))
    for number in range(3):
        ended = MARCH + timedelta(days=number)
        earn(
            node,
            ended,
            tokens_input=1_000_003 + number,
            cache_hit=True,
            confirmed=True,
            request_id=f"a_{number}",
        )
        earn(other, ended, model="QWEN3:latest", tokens_output=7, request_id=f"b_{number}")
        earn(NodeFactory.create(id=f"rival-{number}"), ended, request_id=f"r_{number}")
    earn(node, MARCH, state="held", rule="late", cause="late", request_id="a_held", with_receipt=False)
    wrong = earn(node, MARCH, state="held", rule="implausible", cause="speed", request_id="a_wrong")
    judge(wrong, "excluded", at=MARCH, rule="implausible", actor="admin@example.org", reason="=impossible")
    finalise(date(2026, 3, 4))
    return node


def get(user: User | None, path: str, **query: Any) -> Any:
    client = Browser().hold_session(user) if user else Client()
    return client.get(f"/earnings/export/{path}", query)


def read_csv(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.content
    text = answer.getvalue().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def read_jsonl(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.getvalue().decode().splitlines()]


def both(user: User, what: str, **query: Any) -> list[dict[str, Any]]:
    """The file as JSON Lines, after a look that the CSV file says the same."""
    objects = read_jsonl(get(user, f"{what}.jsonl", **query))
    cells = read_csv(get(user, f"{what}.csv", **query))
    words = {True: "true", False: "false", None: ""}

    def cell(value: Any) -> str:
        text = words[value] if isinstance(value, bool) or value is None else str(value)
        return f"'{text}" if text.startswith("=") else text

    assert cells == [{name: cell(value) for name, value in each.items()} for each in objects]
    return objects


def total(rows: list[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(row[name]) for row in rows), Decimal(0))


def whole(user: User) -> Any:
    return sums(Scope(user.org_id))


@pytest.mark.parametrize("what", [What.PERIODS, What.NODES, What.MODELS, What.LINES])
@pytest.mark.parametrize(
    "name", ["fees_usd", "confirmed_usd", "held_usd", "excluded_usd", "receipts", "tokens_input"]
)
def test_every_file_sums_to_the_figures_of_the_page(
    operator: User, node: Node, what: What, name: str
) -> None:
    rows = both(operator, what, **SPRING)
    assert total(rows, name) == getattr(whole(operator), name)


def test_periods_list_quiet_days_as_zero_and_whole_weeks_and_months(operator: User, node: Node) -> None:
    days = both(operator, "periods", **SPRING)
    assert [row["first_day"] for row in days] == [f"2026-03-{day:02}" for day in range(10, 0, -1)]
    by_day = {row["first_day"]: row for row in days}
    assert (by_day["2026-03-01"]["fees_usd"], by_day["2026-03-01"]["final"]) == ("0.00", True)
    assert by_day["2026-03-04"]["final"] is True and by_day["2026-03-05"]["final"] is False
    assert by_day["2026-03-04"]["jtvo_est"] is None
    assert Decimal(by_day["2026-03-05"]["jtvo_est"]) == 2 * Decimal(by_day["2026-03-05"]["fees_usd"])
    assert by_day["2026-03-05"]["jtvo_per_usd"] == "2.00"
    weeks = both(operator, "periods", step="week", **SPRING)
    assert [(row["first_day"], row["last_day"]) for row in weeks] == [
        ("2026-03-09", "2026-03-10"),
        ("2026-03-02", "2026-03-08"),
        ("2026-03-01", "2026-03-01"),
    ]
    (month,) = both(operator, "periods", step="month", **SPRING)
    assert total(days, "fees_usd") == total(weeks, "fees_usd") == Decimal(month["fees_usd"])
    assert (month["final"], month["days_without_jtvo_rate"]) == (False, 1)


def test_estimates_are_left_out_while_they_are_not_shown(operator: User, node: Node) -> None:
    with override_switch("show_jtvo_estimates", active=False):
        assert "jtvo_est" not in both(operator, "periods", **SPRING)[0]


def test_nodes_and_models_are_listed_by_name(operator: User, node: Node) -> None:
    pay_out(Line.objects.filter(node=node, balance__isnull=False), at=MARCH + timedelta(days=20))
    rows = both(operator, "nodes", **SPRING)
    assert [row["node_id"] for row in rows] == ["node-a", "node-b"]
    assert rows[0]["organisation"] == str(operator.org)
    line = Line.objects.get(node=node, day=date(2026, 3, 4))
    assert (Decimal(rows[0]["paid_out_usd"]), rows[0]["available_usd"]) == (line.payable_usd, "0.00")
    assert [row["model"] for row in both(operator, "models", **SPRING)] == ["llama3.1-8b", "qwen3"]


def test_lines_name_the_rate_that_priced_them(operator: User, node: Node) -> None:
    rows = both(operator, "lines", node="node-a", to="2026-03-04", **{"from": "2026-03-04"})
    (row,) = rows
    assert row["rate_from"] == "2020-01-01T00:00:00Z"
    assert (row["input_usd_per_million"], row["cache_hit_discount"]) == ("0.333333", "0.1234")
    assert row["final_at"] == "2026-03-13T00:05:00Z"
    assert Decimal(row["available_usd"]) == Decimal(row["fees_usd"])


def test_receipts_are_those_behind_the_figure_with_their_hashes(operator: User, node: Node) -> None:
    rows = both(operator, "receipts", **SPRING)
    assert [row["request_id"] for row in rows] == [
        "b_2",
        "a_2",
        "b_1",
        "a_1",
        "a_wrong",
        "a_held",
        "b_0",
        "a_0",
    ]
    by_request = {row["request_id"]: row for row in rows}
    for item in Item.objects.filter(org=operator.org):
        row = by_request[item.request_id]
        assert Decimal(row["fee_usd"]) == item.fee_usd
        assert row["sha256"] == bytes(item.sha256).hex()
    assert by_request["a_held"]["rule"] == "late"  # its receipt is beyond its retention
    assert by_request["a_wrong"]["decided_by"] == "admin"
    assert by_request["a_wrong"]["reason"] == "=impossible"
    payable = both(operator, "receipts", state="payable", **SPRING)
    assert total(payable, "fee_usd") == whole(operator).fees_usd
    held = both(operator, "receipts", state="held", rule="late", cause="late", **SPRING)
    assert [row["request_id"] for row in held] == ["a_held"]
    line = Line.objects.get(node=node, day=date(2026, 3, 5))
    assert [row["request_id"] for row in both(operator, "receipts", line=line.pk)] == ["a_1"]


def test_receipts_are_in_utc_or_in_the_persons_zone_and_the_file_says_which(
    operator: User, node: Node
) -> None:
    utc = get(
        operator, "receipts.csv", node="node-a", state="payable", to="2026-03-04", **{"from": "2026-03-04"}
    )
    assert utc["Content-Disposition"] == (
        'attachment; filename="jatevo-earnings-receipts-node-a-payable-2026-03-04-to-2026-03-04-utc.csv"'
    )
    (row,) = read_csv(utc)
    assert (row["ended_at"], row["time_zone"], row["day"]) == ("2026-03-04T23:30:00Z", "UTC", "2026-03-04")
    mine = get(
        operator,
        "receipts.csv",
        node="node-a",
        state="payable",
        zone="mine",
        to="2026-03-04",
        **{"from": "2026-03-04"},
    )
    assert "to-2026-03-04-asia-shanghai.csv" in mine["Content-Disposition"]
    (row,) = read_csv(mine)
    assert (row["ended_at"], row["time_zone"]) == ("2026-03-05T07:30:00+08:00", "Asia/Shanghai")
    (other,) = read_jsonl(get(operator, "receipts.jsonl", state="held", zone="mine", **SPRING))
    assert other["ended_at"] == "2026-03-05T07:30:00+08:00"


@pytest.mark.parametrize("what", What)
@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_a_file_made_again_has_the_same_bytes(
    operator: User, node: Node, what: What, file_format: str
) -> None:
    first = get(operator, f"{what}.{file_format}", **SPRING)
    again = get(operator, f"{what}.{file_format}", **SPRING)
    assert first.getvalue() == again.getvalue() != b""
    assert first["Content-Disposition"] == again["Content-Disposition"]


def test_many_receipts_come_in_parts_without_gap_or_repeat(
    operator: User, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earnings.exports.receipts._AT_ONCE", 2)
    monkeypatch.setattr("earnings.exports.tables._LINES_AT_ONCE", 2)
    assert len({row["request_id"] for row in both(operator, "receipts", **SPRING)}) == 8
    lines = both(operator, "lines", **SPRING)
    assert len({(row["day"], row["node_id"]) for row in lines}) == len(lines) == 6


def test_queries_do_not_grow_with_the_number_of_receipts(
    operator: User, node: Node, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        earn(node, MARCH, request_id=f"more_{number}")
    with django_assert_max_num_queries(20):
        assert len(read_jsonl(get(operator, "receipts.jsonl", **SPRING))) == 38


@pytest.mark.parametrize("what", What)
def test_a_rivals_earnings_are_in_no_file(operator: User, node: Node, what: What) -> None:
    rival = Node.objects.get(pk="rival-0")
    for query in (
        {},
        {"node": "rival-0"},
        {"line": str(Line.objects.get(node=rival, day=date(2026, 3, 4)).pk)},
    ):
        text = get(operator, f"{what}.csv", **{**SPRING, **query}).getvalue().decode()
        assert "rival" not in text and "r_0" not in text
        assert str(rival.org) not in text
    for org in (rival.org_id, OrgFactory.create().pk, "nonsense"):
        assert get(operator, f"{what}.csv", org=str(org), **SPRING).status_code == (404 if org else 200)


def test_an_admin_exports_any_organisation_or_all(node: Node) -> None:
    admin = UserFactory.create(role=Role.ADMIN)
    rival = Node.objects.get(pk="rival-0")
    assert {row["node_id"] for row in both(admin, "receipts", org=str(rival.org_id), **SPRING)} == {"rival-0"}
    assert len(both(admin, "receipts", **SPRING)) == 11


def test_whoever_has_the_node_now_is_not_told_to_its_former_organisation(operator: User, node: Node) -> None:
    buyer = OrgFactory.create(name="Secret Buyer")
    Node.objects.filter(pk=node.pk).update(org=buyer)
    rows = both(operator, "nodes", **SPRING)
    assert [(row["node_id"], row["organisation"]) for row in rows] == [
        ("node-a", ""),
        ("node-b", str(operator.org)),
    ]


@pytest.mark.parametrize("path", ["", "periods.csv", "receipts.jsonl"])
def test_viewers_get_no_files_and_visitors_sign_in(node: Node, path: str) -> None:
    assert get(UserFactory.create(role=Role.VIEWER, org=node.org), path).status_code == 403
    assert get(None, path).status_code == 302


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"from": "2026-03-05", "to": "2026-03-04"}, "From"),
        ({"from": "yesterday"}, "From"),
        ({"step": "hour"}, "Step: one of day, week, month"),
        ({"zone": "Mars"}, "Zone: one of mine, utc"),
        ({"status": "held"}, "Status: unknown parameter"),
        ({"state": "lost"}, "State: one of"),
        ({"node": ["a", "b"]}, "Node: given more than once"),
    ],
)
def test_filters_that_make_no_sense_export_nothing_and_say_so(
    operator: User, query: dict[str, Any], said: str
) -> None:
    answer = get(operator, "periods.csv", **query)
    assert answer.status_code == 302
    assert "Nothing was exported" in str(next(iter(get_messages(answer.wsgi_request))))
    page = Browser().hold_session(operator).get(answer["Location"])
    assert page.status_code == 422
    assert said in page.content.decode()


def test_the_form_leads_to_the_file_and_leaves_out_empty_fields(operator: User, node: Node) -> None:
    page = get(operator, "", **SPRING)
    assert page.status_code == 200
    assert 'value="2026-03-01"' in page.content.decode()
    filled = get(operator, "", what="receipts", format="csv", node="", state="held", zone="utc", **SPRING)
    assert filled["Location"] == (
        "/earnings/export/receipts.csv?state=held&zone=utc&from=2026-03-01&to=2026-03-10"
    )


def test_a_long_range_is_a_range_like_any_other(operator: User, node: Node) -> None:
    rows = both(operator, "periods", to="2026-03-10", **{"from": "2020-01-01"})
    assert len(rows) == 2261
    assert total(rows, "fees_usd") == whole(operator).fees_usd


def test_exports_are_audited_limited_and_capped(operator: User, node: Node, settings: Any) -> None:
    get(operator, "receipts.csv", state="held", **SPRING).getvalue()
    event = AuditEvent.objects.filter(verb="earnings.export").get()
    assert (event.subject_id, event.org_id) == ("receipts", operator.org_id)
    streams = [EXPORTS.held_through(csv_lines(["a"], [], zone=UTC)) for _ in range(2)]
    assert get(operator, "receipts.csv", **SPRING).status_code == 503
    del streams
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "exports": "1/minute"}
    get(operator, "periods.csv", **SPRING).getvalue()
    assert get(operator, "periods.csv", **SPRING).status_code == 429
