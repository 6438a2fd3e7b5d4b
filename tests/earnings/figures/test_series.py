"""Earnings over time: quiet is zero, unknown is unknown, and each step equals its receipts."""

from datetime import UTC, date, datetime, timedelta

import pytest

from earnings.figures import series as room
from earnings.figures.periods import PeriodState, day_periods, month_so_far
from earnings.figures.scope import Scope
from earnings.figures.series import By, Step, TooManyReceipts, merged, series
from nodes.models import Node
from tests.earnings.rows import earn, finalise, make_rate, move
from tests.factories import NodeFactory

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def node() -> Node:
    made = NodeFactory.create()
    Node.objects.filter(pk=made.pk).update(created_at=datetime(2026, 3, 7, 6, tzinfo=UTC))
    return made


def test_days_are_unknown_before_the_node_and_zero_when_quiet(node: Node) -> None:
    item = earn(node, AT - 2 * DAY)
    (found,) = series(
        Scope(node.org_id, node.pk), Step.DAY, By.ALL,
        first=date(2026, 3, 5), last=date(2026, 3, 20), at=AT, judged_until=AT,
    )  # fmt: skip
    assert [(point.start.day, point.fees_usd) for point in found.points] == [
        (5, None), (6, None), (7, 0), (8, item.fee_usd), (9, 0), (10, 0),
    ]  # fmt: skip
    assert [point.running for point in found.points] == [False] * 5 + [True]


def test_days_that_accrual_has_not_reached_are_unknown(node: Node) -> None:
    (found,) = series(
        Scope(node.org_id, node.pk), Step.DAY, By.ALL,
        first=date(2026, 3, 8), last=date(2026, 3, 10), at=AT, judged_until=AT - 2 * DAY,
    )  # fmt: skip
    assert [point.fees_usd for point in found.points] == [0, None, None]


def test_hours_come_from_the_receipts(node: Node) -> None:
    early, late = earn(node, AT - timedelta(hours=3)), earn(node, AT)
    held = earn(node, AT, state="held", rule="late", cause="late", model="qwen3")
    today = AT.date()
    found = series(
        Scope(node.org_id, node.pk), Step.HOUR, By.MODEL, first=today, last=today, at=AT, judged_until=AT
    )
    by_model = {each.key: {point.start.hour: point for point in each.points} for each in found}
    assert len(by_model["qwen3"]) == 13
    assert by_model["llama3.1-8b"][9].fees_usd == early.fee_usd
    assert by_model["llama3.1-8b"][12].fees_usd == late.fee_usd
    assert by_model["qwen3"][12].held_usd == held.fee_usd
    assert by_model["qwen3"][11].fees_usd == 0
    together = merged(found, "all")
    assert together.points[12].held_usd == held.fee_usd


def test_hours_of_too_many_receipts_are_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    earn(node, AT)
    monkeypatch.setattr(room, "MOST_RECEIPTS_BY_HOUR", 0)
    with pytest.raises(TooManyReceipts):
        series(Scope(None), Step.HOUR, By.ALL, first=AT.date(), last=AT.date(), at=AT, judged_until=AT)


def test_series_by_node_are_largest_first(node: Node) -> None:
    other = NodeFactory.create(org=node.org)
    earn(node, AT, tokens_input=1)
    earn(other, AT, tokens_input=10_000)
    found = series(
        Scope(node.org_id), Step.WEEK, By.NODE,
        first=AT.date() - 20 * DAY, last=AT.date(), at=AT, judged_until=AT,
    )  # fmt: skip
    assert [each.key for each in found] == [other.pk, node.pk]
    assert [point.start.date().isoformat() for point in found[0].points] == [
        "2026-02-16",
        "2026-02-23",
        "2026-03-02",
        "2026-03-09",
    ]


def test_a_day_says_how_far_it_has_come(node: Node) -> None:
    make_rate()
    paid, ready, final = (earn(node, AT - days * DAY) for days in (13, 12, 11))
    earn(node, AT - 2 * DAY)
    for item in (paid, ready, final):
        finalise(item.day)
    for item in (paid, ready):
        move(item.line, "ready", "accrued", "ready", item.fee_usd, at=AT)
    move(paid.line, "export", "ready", "exported", paid.fee_usd, at=AT)
    scope = Scope(node.org_id, node.pk)
    found = {period.start: period for period in day_periods(scope, paid.day, AT.date(), at=AT)}
    assert list(found) == sorted(found, reverse=True)
    assert found[paid.day].state is PeriodState.PAID
    assert found[ready.day].state is PeriodState.READY
    assert found[final.day].state is PeriodState.FINAL
    assert found[final.day].final_at is not None
    assert found[AT.date() - 2 * DAY].state is PeriodState.SETTLING
    assert found[AT.date()].state is PeriodState.RUNNING
    assert found[AT.date() - DAY].sums.fees_usd == 0


def test_the_month_so_far_runs(node: Node) -> None:
    earn(node, AT)
    last_month = earn(node, datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC))
    found = month_so_far(Scope(node.org_id), at=AT)
    assert (found.start, found.end) == (date(2026, 3, 1), date(2026, 3, 31))
    assert found.state is PeriodState.RUNNING and not found.final
    assert found.sums.receipts == 1
    assert last_month.day == date(2026, 2, 28)


def test_a_quiet_day_is_final_once_its_time_is_over(node: Node) -> None:
    Node.objects.filter(pk=node.pk).update(created_at=AT - 30 * DAY)
    first = AT.date() - 10 * DAY
    states = [
        period.state for period in day_periods(Scope(node.org_id, node.pk), first, first + 2 * DAY, at=AT)
    ]
    assert states == [PeriodState.SETTLING, PeriodState.FINAL, PeriodState.FINAL]


def test_a_quiet_day_after_the_first_receipt_is_zero(node: Node) -> None:
    earn(node, AT - 6 * DAY)
    (found,) = series(
        Scope(node.org_id, node.pk), Step.DAY, By.ALL,
        first=AT.date() - 7 * DAY, last=AT.date() - 4 * DAY, at=AT, judged_until=AT,
    )  # fmt: skip
    assert [point.fees_usd is None for point in found.points] == [True, False, False, False]
    assert found.points[2].fees_usd == 0
