"""GET /v1/earnings: steps, splits, ranges, pages, and who sees whose."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from jatevo.accounts.models import Role, User
from nodes.models import Node
from tests.earnings.rows import earn, finalise, judge, make_jtvo, make_rate
from tests.factories import NodeFactory, OrgFactory, UserFactory
from tests.machines import Answer, bearer

pytestmark = pytest.mark.django_db

MARCH = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def operator() -> User:
    return UserFactory.create()


@pytest.fixture
def admin() -> User:
    return UserFactory.create(role=Role.ADMIN)


@pytest.fixture
def node(operator: User) -> Node:
    make_rate(input_usd="1", output_usd="0")
    return NodeFactory.create(org=operator.org, id="node-a")


def get(user: User | None, **query: Any) -> Answer:
    return Client().get("/v1/earnings", query, headers=bearer(user) if user else {})


def rows(user: User, *keys: str, **query: Any) -> list[tuple[Any, ...]]:
    answer = get(user, **query)
    assert answer.status_code == 200, answer.content
    return [tuple(row[key] for key in keys) for row in answer.json()["results"]]


def a_million(node: Node, ended: datetime, dollars: int, **more: Any) -> Any:
    return earn(node, ended, tokens_input=dollars * 1_000_000, tokens_output=0, **more)


def test_days_split_by_node_and_model_newest_first(operator: User, node: Node) -> None:
    other = NodeFactory.create(org=operator.org, id="node-b")
    a_million(node, MARCH, 1)
    a_million(node, MARCH, 2, model="QWEN3:latest")
    a_million(other, MARCH, 4)
    a_million(other, MARCH + timedelta(days=1), 8, state="held", rule="late")
    spring = {"from": "2026-03-01", "to": "2026-03-31"}
    assert rows(operator, "start", "node_id", "model", "fees_usd", "held_usd", **spring) == [
        ("2026-03-05T00:00:00Z", None, None, "0.00", "8.00"),
        ("2026-03-04T00:00:00Z", None, None, "7.00", "0.00"),
    ]
    assert rows(operator, "node_id", "fees_usd", by="node", to="2026-03-04", **{"from": "2026-03-04"}) == [
        ("node-b", "4.00"),
        ("node-a", "3.00"),
    ]
    assert rows(operator, "start", "node_id", "model", "fees_usd", by="node,model", **spring) == [
        ("2026-03-05T00:00:00Z", "node-b", "llama3.1-8b", "0.00"),
        ("2026-03-04T00:00:00Z", "node-b", "llama3.1-8b", "4.00"),
        ("2026-03-04T00:00:00Z", "node-a", "qwen3", "2.00"),
        ("2026-03-04T00:00:00Z", "node-a", "llama3.1-8b", "1.00"),
    ]
    assert rows(operator, "fees_usd", node="node-a", model="Qwen3", **spring) == [("2.00",)]


def test_months_are_whole_and_estimated_day_by_day(operator: User, node: Node) -> None:
    make_jtvo("10")
    make_jtvo("20", holds_from=datetime(2026, 3, 20, tzinfo=UTC))
    a_million(node, datetime(2026, 3, 1, tzinfo=UTC), 1)
    a_million(node, datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC), 2)
    a_million(node, datetime(2026, 4, 1, tzinfo=UTC), 4)
    found = rows(
        operator, "start", "end", "fees_usd", "jtvo_est", "jtvo_rate", "receipts",
        step="month", to="2026-03-15", **{"from": "2026-03-10"},
    )  # fmt: skip
    assert found == [("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", "3.00", "50.00", None, 2)]
    split = rows(
        operator, "start", "jtvo_est", step="month", by="node", to="2026-04-30", **{"from": "2026-03-01"}
    )
    assert split == [("2026-04-01T00:00:00Z", "80.00"), ("2026-03-01T00:00:00Z", "50.00")]


def test_hours_count_receipts_by_their_newest_verdict(operator: User, node: Node) -> None:
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    noon = today - timedelta(hours=12)
    a_million(node, noon, 1)
    a_million(node, noon + timedelta(minutes=59, seconds=59), 2)
    freed = a_million(node, noon + timedelta(hours=1), 4, state="held", rule="late")
    a_million(node, noon + timedelta(hours=1), 8, state="held", rule="late")
    judge(freed, "payable", at=noon, actor="admin@example.org", reason="explained")
    assert rows(
        operator, "start", "end", "fees_usd", "held_usd", "receipts", "node_id", step="hour", by="node"
    ) == [
        (
            f"{noon + timedelta(hours=1):%FT%TZ}",
            f"{noon + timedelta(hours=2):%FT%TZ}",
            "4.00",
            "8.00",
            2,
            "node-a",
        ),
        (f"{noon:%FT%TZ}", f"{noon + timedelta(hours=1):%FT%TZ}", "3.00", "0.00", 2, "node-a"),
    ]


def test_too_many_receipts_by_hour_ask_for_less(
    operator: User, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earnings.figures.listed.MOST_RECEIPTS_BY_HOUR", 1)
    for _ in range(2):
        a_million(node, timezone.now() - timedelta(hours=1), 1)
    answer = get(operator, step="hour")
    assert answer.status_code == 422
    assert "fewer days" in answer.json()["error"]["details"][0]["message"]


def test_pages_neither_skip_nor_repeat_and_sum_to_the_days(operator: User, node: Node) -> None:
    other = NodeFactory.create(org=operator.org, id="node-b")
    for number in range(4):
        a_million(node, MARCH + timedelta(days=number), 1)
        a_million(other, MARCH + timedelta(days=number), 10, model="qwen3")
    finalise(MARCH.date())
    spring = {"from": "2026-03-01", "to": "2026-03-31"}
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        found = get(operator, by="model,node", limit=3, **spring, **cursor).json()
        seen += found["results"]
        if found["next"] is None:
            break
        cursor = {"cursor": found["next"]}
    assert len({(row["start"], row["node_id"], row["model"]) for row in seen}) == len(seen) == 8
    assert sum(Decimal(row["fees_usd"]) for row in seen) == 44
    assert [row["final"] for row in seen] == [False] * 6 + [True] * 2


def test_ranges_without_ends(operator: User, node: Node) -> None:
    today = timezone.now().astimezone(UTC).date()
    found = get(operator).json()
    assert (found["from"], found["to"]) == (str(today - timedelta(days=29)), str(today))
    found = get(operator, step="hour").json()
    assert (found["from"], found["to"]) == (str(today - timedelta(days=1)), str(today))
    found = get(operator, step="month").json()
    assert found["from"][8:] == "01" and found["from"] <= str(today - timedelta(days=334))


@pytest.mark.parametrize(
    "query",
    [
        {"by": "org"}, {"by": "node,node"}, {"by": "node,"}, {"by": ""}, {"by": "all"}, {"step": "week"},
        {"step": "year"}, {"from": "yesterday"}, {"from": "2026-03-05", "to": "2026-03-04"}, {"to": "2026-02-30"},
        {"step": "hour", "from": "2026-01-01", "to": "2026-03-01"}, {"from": "2020-01-01", "to": "2026-03-01"},
        {"org": "mine"}, {"node": "a\u200bb"}, {"limit": "-1"}, {"cursor": "WzFd"}, {"cursor": "W10"}, {"state": "held"},
        {"line": "1"}, {"x": "1"}, {"step": ["day", "day"]},
    ],
)  # fmt: skip
def test_unknown_and_malformed_parameters_are_refused(operator: User, query: dict[str, Any]) -> None:
    answer = get(operator, **query)
    assert answer.status_code == 422, answer.content
    assert answer.json()["error"]["details"]


def test_a_cursor_of_another_split_is_refused(operator: User, node: Node) -> None:
    for number in range(3):
        a_million(node, MARCH + timedelta(days=number), 1)
    cursor = get(operator, by="node", limit=1, **{"from": "2026-03-01", "to": "2026-03-31"}).json()["next"]
    assert get(operator, by="node,model", cursor=cursor).status_code == 422


def test_organisations_see_their_own_and_admins_any(operator: User, admin: User, node: Node) -> None:
    rival = UserFactory.create()
    a_million(node, MARCH, 1)
    a_million(NodeFactory.create(org=rival.org, id="node-r"), MARCH, 2)
    spring = {"from": "2026-03-01", "to": "2026-03-31"}
    assert rows(operator, "fees_usd", **spring) == [("1.00",)]
    assert rows(rival, "fees_usd", **spring) == [("2.00",)]
    assert rows(admin, "fees_usd", **spring) == [("3.00",)]
    assert rows(admin, "fees_usd", org=str(rival.org_id), **spring) == [("2.00",)]
    assert rows(operator, "fees_usd", org=str(operator.org_id), **spring) == [("1.00",)]
    # a rival's node is like one that does not exist
    assert (
        rows(operator, "fees_usd", node="node-r", **spring)
        == rows(operator, "fees_usd", node="node-x", **spring)
        == []
    )
    refused = get(operator, org=str(rival.org_id)), get(operator, org="00000000-0000-4000-8000-000000000000")
    assert [answer.status_code for answer in refused] == [404, 404]
    assert refused[0].json()["error"]["message"] == refused[1].json()["error"]["message"]
    assert get(admin, org=str(OrgFactory.create().pk)).json()["results"] == []


@pytest.mark.parametrize(("role", "status"), [(Role.VIEWER, 403), (None, 401)])
def test_viewers_and_visitors_see_no_earnings(role: Role | None, status: int) -> None:
    assert get(UserFactory.create(role=role) if role else None).status_code == status


def test_reads_are_limited(operator: User, settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "reads": "1/minute"}
    assert [get(operator).status_code for _ in range(2)] == [200, 429]


def test_queries_do_not_grow_with_the_rows(
    operator: User, node: Node, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        a_million(node, MARCH + timedelta(days=number), 1)
    with django_assert_max_num_queries(8):
        assert len(rows(operator, "start", to="2026-03-31", **{"from": "2026-03-01"})) == 20
    with django_assert_max_num_queries(14):
        answer = Client().get("/v1/earnings/node-a", headers=bearer(operator))
    assert len(answer.json()["periods"]) == 20
