"""GET /v1/earnings/{node_id}: its figures, its periods, and who may see them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from waffle.testutils import override_switch

from earnings.models import Line
from jatevo.accounts.models import Role, User
from jatevo.flags.registry import Flag
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.earnings.rows import earn, finalise, make_jtvo, make_rate, move, pay_out
from tests.factories import NodeFactory, UserFactory
from tests.machines import Answer, bearer

pytestmark = pytest.mark.django_db

MARCH = datetime(2026, 3, 4, 12, tzinfo=UTC)
KEYS = [
    "node_id", "fees_usd", "jtvo_est", "held_usd", "next_payout", "payout_ready", "threshold_usd", "eligibility",
    "periods", "next",
]  # fmt: skip
PERIOD_KEYS = ["start", "end", "fees_usd", "jtvo_est", "jtvo_rate", "receipts", "final", "state"]


@pytest.fixture
def operator() -> User:
    return UserFactory.create()


@pytest.fixture
def node(operator: User) -> Node:
    make_rate()
    make_rate("penny", input_usd="0.000001", output_usd="10000")
    return NodeFactory.create(org=operator.org, id="node-a")


def get(user: User | None, name: str = "node-a", **query: Any) -> Answer:
    return Client().get(f"/v1/earnings/{name}", query, headers=bearer(user) if user else {})


def test_a_node_without_receipts_has_earned_nothing(operator: User, node: Node) -> None:
    answer = get(operator)
    assert answer.status_code == 200
    found = answer.json()
    assert list(found) == KEYS
    assert (found["fees_usd"], found["held_usd"], found["periods"], found["next"]) == (
        "0.00",
        "0.00",
        [],
        None,
    )
    assert found["threshold_usd"] == "10.00"
    assert found["jtvo_est"] is None
    assert found["payout_ready"] is False
    due = datetime.fromisoformat(found["next_payout"])
    assert due > timezone.now() and (due.day, due.hour, due.utcoffset()) == (1, 0, timedelta(0))


def test_amounts_have_every_digit(operator: User, node: Node) -> None:
    make_jtvo("12.50000001")
    earn(node, MARCH, model="penny", tokens_input=1, tokens_output=123_456_789_012)
    earn(node, MARCH, tokens_input=7, tokens_output=0, state="held", rule="late")
    earn(node, MARCH, state="excluded", rule="in_service")
    found = get(operator).json()
    assert found["fees_usd"] == "1234567890.120000000001"
    assert found["held_usd"] == "0.0000007"
    (period,) = found["periods"]
    assert list(period) == PERIOD_KEYS
    assert period["start"] == "2026-03-04T00:00:00Z"
    assert period["end"] == "2026-03-05T00:00:00Z"
    assert period["fees_usd"] == "1234567890.120000000001"
    assert period["jtvo_rate"] == "12.50000001"
    assert period["jtvo_est"] == found["jtvo_est"] == "15432098638.84567890121250000001"
    assert period["receipts"] == 3


def test_eligibility_answers_every_rule_with_its_numbers(operator: User, node: Node) -> None:
    rules = {rule["rule"]: rule for rule in get(operator).json()["eligibility"]}
    assert list(rules) == ["threshold", "wallet", "wallet_wait", "fraud", "reputation", "hold_days"]
    assert rules["threshold"]["ok"] is False
    assert "$0.00 of $10.00" in rules["threshold"]["detail"]
    assert rules["fraud"]["ok"] is True


def test_state_is_the_least_advanced_part_of_the_day(operator: User, node: Node) -> None:
    def states() -> list[tuple[str, str, bool]]:
        return [(p["start"][:10], p["state"], p["final"]) for p in get(operator).json()["periods"]]

    days = [MARCH + timedelta(days=n) for n in range(6)]
    earn(node, days[0], tokens_output=10_000_000)
    earn(node, days[1], tokens_output=10_000_000)
    earn(node, days[2])
    earn(node, days[3])
    earn(node, days[3], state="held", rule="late")
    earn(node, days[4], state="excluded", rule="in_service")
    earn(node, days[5])
    for day in days[:5]:
        finalise(day.date())
    pay_out(Line.objects.filter(day=days[0].date()), at=days[0] + timedelta(days=20))
    ready = Line.objects.get(day=days[1].date())
    move(ready, "ready", "accrued", "ready", ready.payable_usd, at=days[0] + timedelta(days=20))
    assert states() == [
        ("2026-03-09", "running", False),
        ("2026-03-08", "accrued", True),
        ("2026-03-07", "held", True),
        ("2026-03-06", "accrued", True),
        ("2026-03-05", "ready", True),
        ("2026-03-04", "exported", True),
    ]
    assert get(operator).json()["payout_ready"] is True


def test_periods_are_paged_newest_first_and_sum_to_the_total(operator: User, node: Node) -> None:
    for number in range(7):
        earn(node, MARCH + timedelta(days=number), tokens_input=number * 1000 + 1)
        earn(node, MARCH + timedelta(days=number), model="penny")
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        found = get(operator, limit=3, **cursor).json()
        seen += found["periods"]
        if found["next"] is None:
            break
        cursor = {"cursor": found["next"]}
    days = [period["start"][:10] for period in seen]
    assert days == [f"2026-03-{day:02}" for day in range(10, 3, -1)]
    assert sum(Decimal(period["fees_usd"]) for period in seen) == Decimal(found["fees_usd"])


def test_jtvo_counts_at_midnight_and_is_null_without_a_rate(operator: User, node: Node) -> None:
    make_jtvo("2", holds_from=datetime(2026, 3, 5, 0, 0, tzinfo=UTC))
    make_jtvo("3", holds_from=datetime(2026, 3, 6, 0, 0, 1, tzinfo=UTC))
    for number in range(4):
        earn(node, MARCH + timedelta(days=number), tokens_output=1_000_000, tokens_input=0)
    found = get(operator).json()
    assert [(p["jtvo_rate"], p["jtvo_est"]) for p in found["periods"]] == [
        ("3.00", "1.20"),
        ("2.00", "0.80"),
        ("2.00", "0.80"),
        (None, None),
    ]
    assert found["jtvo_est"] == "2.80"


def test_jtvo_is_not_told_while_estimates_are_off(operator: User, node: Node) -> None:
    make_jtvo()
    earn(node, MARCH)
    with override_switch(Flag.SHOW_JTVO_ESTIMATES.value, active=False):
        found = get(operator).json()
    assert found["jtvo_est"] is found["periods"][0]["jtvo_est"] is found["periods"][0]["jtvo_rate"] is None


@pytest.mark.parametrize(
    "query",
    [
        {"step": "day"}, {"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"cursor": "%%"}, {"cursor": "WzFd"},
        {"cursor": ""}, {"limit": ["1", "2"]},
    ],
)  # fmt: skip
def test_unknown_and_malformed_parameters_are_refused(
    operator: User, node: Node, query: dict[str, str]
) -> None:
    answer = get(operator, **query)
    assert answer.status_code == 422
    assert answer.json()["error"]["type"] == "invalid_request"


def test_another_organisations_node_answers_like_one_that_does_not_exist(node: Node) -> None:
    earn(node, MARCH)
    outsider = UserFactory.create()
    hidden, missing = get(outsider), get(outsider, "node-x")
    assert hidden.status_code == missing.status_code == 404

    def told(answer: Answer) -> dict[str, Any]:
        return {name: text for name, text in answer.json()["error"].items() if name != "request_id"}

    assert told(hidden) == told(missing)


def test_a_node_that_changed_hands_shows_each_organisation_its_own(operator: User, node: Node) -> None:
    new_owner = UserFactory.create()
    earn(node, MARCH)
    Node.objects.filter(pk=node.pk).update(org=new_owner.org)
    assert get(new_owner).json()["periods"] == []
    earn(node, MARCH + timedelta(days=1), org=new_owner.org, tokens_output=0)
    former, present = get(operator).json(), get(new_owner).json()
    assert [p["start"][:10] for p in former["periods"]] == ["2026-03-04"]
    assert [p["start"][:10] for p in present["periods"]] == ["2026-03-05"]
    assert (former["fees_usd"], present["fees_usd"]) == ("0.0003", "0.0001")
    admin = UserFactory.create(role=Role.ADMIN)
    assert get(admin).json()["fees_usd"] == "0.0004"


@pytest.mark.parametrize(("role", "status"), [(Role.VIEWER, 403), (None, 401)])
def test_viewers_and_visitors_see_no_earnings(node: Node, role: Role | None, status: int) -> None:
    user = UserFactory.create(role=role, org=node.org) if role else None
    assert get(user).status_code == status


def test_cookies_work_and_head_has_no_body(operator: User, node: Node) -> None:
    browser = Browser().hold_session(operator)
    assert browser.get("/v1/earnings/node-a").json()["node_id"] == "node-a"
    head = browser.head("/v1/earnings/node-a")
    assert (head.status_code, head.content) == (200, b"")
    posted = Client().post(
        "/v1/earnings/node-a", {}, content_type="application/json", headers=bearer(operator)
    )
    assert posted.status_code == 405


def test_reads_are_limited(operator: User, node: Node, settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "reads": "2/minute"}
    assert [get(operator).status_code for _ in range(3)] == [200, 200, 429]


def test_a_date_in_the_far_past_is_a_period_like_any_other(operator: User, node: Node) -> None:
    earn(node, datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC))
    finalise(date(2024, 2, 29))
    (period,) = get(operator).json()["periods"]
    assert (period["start"], period["end"]) == ("2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z")
