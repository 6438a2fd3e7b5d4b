"""Amounts equal the receipts behind them to the last digit, and nobody sees another organisation's."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from earnings.figures.as_of import BEHIND, NO_RATE, STALE_AFTER, Amounts, judged_until
from earnings.figures.balances import Balances, balances, balances_by_node, balances_by_org
from earnings.figures.held import held_by_cause
from earnings.figures.items import item_sums, items
from earnings.figures.jtvo import JtvoRates
from earnings.figures.scope import NotYours, Scope, scope_for
from earnings.figures.sums import (
    Sums,
    fees_and_held,
    sums,
    sums_by,
    sums_by_day,
    sums_by_model,
    sums_by_node,
    sums_by_org,
    total,
)
from earnings.models import Item, Line
from earnings.page.node_rows import earners_balances
from jatevo.accounts.models import Role
from jatevo.web.figures import Knowledge
from tests.accounts.people import make_user
from tests.earnings.rows import earn, finalise, make_jtvo, make_rate, move, pay_out
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FAILED = {"held": ("late", "late"), "excluded": ("outcome", "failed"), "payable": ("", "")}


@pytest.fixture
def earned() -> list[Item]:
    """Two organisations, three nodes, two models, four days, all states; prices with six digits."""
    dice = random.Random(12)
    make_rate(input_usd="0.123457", output_usd="0.987653", cache_hit_discount="0.3333")
    make_rate("qwen3", input_usd="0.000001", output_usd="9999.999999")
    org = OrgFactory.create()
    nodes = [NodeFactory.create(org=org), NodeFactory.create(org=org), NodeFactory.create()]
    found = []
    for _ in range(60):
        state = dice.choice(["payable", "payable", "held", "excluded"])
        rule, cause = FAILED[state]
        found.append(
            earn(
                dice.choice(nodes),
                AT - dice.randrange(4) * DAY - timedelta(minutes=dice.randrange(600)),
                state=state,
                rule=rule,
                cause=cause,
                confirmed=dice.random() < 0.5,
                model=dice.choice(["llama3.1-8b", "qwen3"]),
                tokens_input=dice.randrange(1_000_000),
                tokens_output=dice.randrange(1_000_000),
                cache_hit=dice.random() < 0.5,
            )
        )
    return found


def naive(earned: list[Item], **wanted: Any) -> Sums:
    """The sums, receipt by receipt."""
    found = []
    for item in items(Scope(None)):
        if not _is(item, wanted):
            continue
        one: dict[str, Any] = {f"{item.state}_receipts": 1, f"{item.state}_usd": item.fee_usd}
        if item.state == "payable" and item.confirmed:
            one["confirmed_usd"] = item.fee_usd
        found.append(
            Sums(receipts=1, tokens_input=item.tokens_input, tokens_output=item.tokens_output, **one)
        )
    return Sums.of_all(found)


def test_every_way_to_sum_equals_the_receipts(earned: list[Item]) -> None:
    everything = naive(earned)
    assert everything.receipts == 60 and everything.payable_usd > 1
    assert sums(Scope(None)) == everything
    assert sums(Scope(None, first=date(2020, 1, 1))) == everything
    assert item_sums(items(Scope(None))) == everything
    for by, key in (
        (sums_by_node, "node_id"),
        (sums_by_model, "model"),
        (sums_by_day, "day"),
        (sums_by_org, "org_id"),
    ):
        found = by(Scope(None))
        assert found == {each: naive(earned, **{key: each}) for each in found}
        assert Sums.of_all(found.values()) == everything


def test_a_narrow_figure_equals_the_receipts_that_it_opens(earned: list[Item]) -> None:
    for item in earned[:8]:
        scope = Scope(item.org_id, item.node_id, item.model, item.day, item.day)
        assert (
            sums(scope)
            == item_sums(items(scope))
            == naive(earned, node_id=item.node_id, model=item.model, day=item.day)
        )
        of_line = Scope(item.org_id, line_id=item.line_id)
        assert sums(of_line) == item_sums(items(of_line))


@pytest.mark.parametrize("of_org", [True, False])
@pytest.mark.parametrize("of_model", [True, False])
@pytest.mark.parametrize("of_day", [True, False])
def test_every_scope_is_summed_from_the_receipts_in_it(
    earned: list[Item], of_org: bool, of_model: bool, of_day: bool
) -> None:
    """Each is read from another table of totals."""
    item = earned[0]
    wanted: dict[str, Any] = (
        ({"org_id": item.org_id} if of_org else {})
        | ({"model": item.model} if of_model else {})
        | ({"day": item.day} if of_day else {})
    )
    days = (item.day, item.day) if of_day else (date(2020, 1, 1), None)
    scope = Scope(wanted.get("org_id"), None, wanted.get("model"), *days)
    assert sums(scope) == naive(earned, **wanted)
    for by, key in ((sums_by_model, "model"), (sums_by_day, "day"), (sums_by_org, "org_id")):
        found = by(scope)
        there = {getattr(each, key) for each in earned if _is(each, wanted)}
        assert found == {each: naive(earned, **{**wanted, key: each}) for each in there}
    steps = {each[:3]: each[3] for each in fees_and_held(scope, ["org_id", "model"], "day")}
    assert steps.keys() == {(each.org_id, each.model, each.day) for each in earned if _is(each, wanted)}
    for org_id, model, day in steps:
        whole = naive(earned, org_id=org_id, model=model, day=day)
        assert steps[org_id, model, day] == whole.fees_usd


def _is(item: Item, wanted: dict[str, Any]) -> bool:
    return all(getattr(item, name) == value for name, value in wanted.items())


def test_receipts_of_one_state_sum_to_that_figure(earned: list[Item]) -> None:
    whole = sums(Scope(None))
    for state in FAILED:
        assert total(item.fee_usd for item in items(Scope(None), state=state)) == getattr(
            whole, f"{state}_usd"
        )
    assert items(Scope(None), state="held", rule="late", cause="late").count() == whole.held_receipts
    assert items(Scope(None), state="held", rule="dispatch").count() == 0


def test_held_amounts_by_cause_sum_to_what_is_held(earned: list[Item]) -> None:
    for org_id in {item.org_id for item in earned}:
        causes = held_by_cause(Scope(org_id))
        assert total(each.fees_usd for each in causes) == sums(Scope(org_id)).held_usd
        assert [(each.rule, each.cause) for each in causes] == [("late", "late")]


def test_weeks_and_months_are_sums_of_their_days(earned: list[Item]) -> None:
    whole = sums(Scope(None))
    assert list(fees_and_held(Scope(None), [], "month")) == [
        (date(2026, 3, 1), whole.fees_usd, whole.held_usd)
    ]
    assert sums_by(Scope(None), "month") == {(date(2026, 3, 1),): whole}
    weeks = list(fees_and_held(Scope(None), ["node_id"], "week"))
    assert {row[1] for row in weeks} <= {date(2026, 3, 2), date(2026, 3, 9)}
    assert total(row[2] for row in weeks) == whole.fees_usd
    assert total(row[3] for row in weeks) == whole.held_usd


def test_an_operator_sees_their_organisation_only(earned: list[Item]) -> None:
    mine, rival = earned[0].org, OrgFactory.create()
    operator = make_user(Role.OPERATOR, org=rival)
    assert sums(scope_for(operator)) == Sums()
    assert sums(scope_for(operator, node_id=earned[0].node_id)) == Sums()
    with pytest.raises(NotYours):
        scope_for(operator, org=mine)
    for user in (make_user(Role.VIEWER, org=mine), None):
        with pytest.raises(NotYours):
            scope_for(user)
    admin = make_user(Role.ADMIN, org=rival)
    assert sums(scope_for(admin)).receipts == 60
    assert sums(scope_for(admin, org=mine)) == naive(earned, org_id=mine.pk)


def test_a_node_that_changed_hands_keeps_the_amounts_of_each_organisation_apart() -> None:
    node = NodeFactory.create()
    former = node.org
    earn(node, AT - DAY, tokens_input=7)
    node.org = OrgFactory.create()
    node.save(update_fields=["org"])
    earn(node, AT, tokens_input=5)
    assert sums_by_node(Scope(former.pk))[node.pk].tokens_input == 7
    assert sums_by_node(Scope(node.org_id))[node.pk].tokens_input == 5
    assert sums(Scope(None, node.pk)).tokens_input == 12


def test_balances_are_those_of_the_ledger() -> None:
    item = earn(NodeFactory.create(), AT - 12 * DAY)
    finalise(item.day)
    part = item.fee_usd / 4
    move(item.line, "ready", "accrued", "ready", part, at=AT)
    found = balances(Scope(item.org_id))
    assert (found.available, found.ready, found.exported) == (item.fee_usd - part, part, 0)
    assert balances_by_node(Scope(None)) == {item.node_id: found}
    assert balances_by_org(Scope(None)) == {item.org_id: found}
    assert balances(Scope(OrgFactory.create().pk)).available == 0


def test_the_balances_of_nodes_and_the_carried_rest_add_up_to_the_organisations() -> None:
    paid, waiting = NodeFactory.create(), NodeFactory.create()
    for node in (paid, waiting):
        item = earn(node, AT - 12 * DAY, tokens_input=12_345_678)
    finalise(item.day)
    pay_out(Line.objects.filter(node=paid), at=AT)
    assert balances(Scope(paid.org_id)).carried > 0
    for scope in (Scope(paid.org_id), Scope(waiting.org_id), Scope(None), Scope(None, paid.pk)):
        assert Balances.of_all(earners_balances(scope).values()) == balances(scope)
    assert Balances.of_all([]) == Balances()


def test_a_day_counts_in_jtvo_at_the_rate_of_its_first_moment() -> None:
    make_jtvo("10", holds_from=datetime(2026, 3, 9, tzinfo=UTC))
    make_jtvo("20", holds_from=datetime(2026, 3, 9, 0, 0, 1, tzinfo=UTC))
    node = NodeFactory.create()
    first, second = earn(node, AT - DAY), earn(node, AT)
    rates = JtvoRates()
    found = rates.estimate(sums_by_day(Scope(None)))
    assert found.value == first.fee_usd * 10 + second.fee_usd * 20
    assert found.whole and [rate.jtvo_per_usd for rate in found.rates] == [20, 10]


def test_a_day_without_a_jtvo_rate_is_unknown() -> None:
    make_jtvo(holds_from=AT)
    earn(NodeFactory.create(), AT)
    assert JtvoRates().estimate(sums_by_day(Scope(None))).value is None
    earn(NodeFactory.create(), AT + DAY)
    found = JtvoRates().estimate(sums_by_day(Scope(None)))
    assert found.value and found.days_without == 1 and not found.whole


def test_amounts_say_as_of_when_they_are_known() -> None:
    now = timezone.now()
    unknown = Amounts(at=now).of(Decimal(0))
    assert (unknown.value, unknown.state, unknown.reason) == (None, Knowledge.UNKNOWN, NO_RATE)
    make_rate()
    assert Amounts(at=now).of(Decimal(1)).as_of == now
    late = now - STALE_AFTER - timedelta(seconds=1)
    ReceiptFactory(node=NodeFactory.create(), at=late)
    stale = Amounts(at=now).of(Decimal(1))
    assert (stale.value, stale.state, stale.reason) == (1, Knowledge.STALE, BEHIND)
    assert stale.as_of == late - timedelta(microseconds=1)
    assert judged_until(late - DAY) == late - DAY
