"""Fraud, a person's decisions, and what holds of every request that there can be."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnings.rules.facts import Coverage, Dispatch, ItemFacts, RequestFacts, Winner
from earnings.rules.payability import Judged, checks, judge, judge_request
from earnings.rules.verdicts import CheckResult, PayRule, VerdictState
from tests.earnings.rules.examples import (
    ENDED,
    NOW,
    alone,
    dispatch,
    excluded,
    item,
    released,
    seconds,
    winner,
)

OPEN, CONFIRMED = Coverage(7, confirmed=False), Coverage(7, confirmed=True)


def under(one: ItemFacts, *coverages: Coverage) -> Judged:
    return judge(one, alone(one, coverages={"node-1": coverages}), at=NOW)


def test_an_open_finding_holds_and_a_confirmed_one_excludes() -> None:
    assert (under(item(), OPEN).state, under(item(), OPEN).cause) == ("held", "fraud_suspected")
    assert (under(item(), CONFIRMED).state, under(item(), CONFIRMED).cause) == ("excluded", "fraud_confirmed")
    assert under(item(), OPEN, replace(CONFIRMED, finding=9)).numbers["finding"] == 9
    assert under(item()).state == "payable"


def test_a_finding_covers_its_node_from_the_first_doubtful_receipt_on() -> None:
    assert under(item(), replace(OPEN, since=ENDED)).state == "held"
    assert under(item(), replace(OPEN, since=ENDED + seconds(1))).state == "payable"
    other = judge(item(), alone(item(), coverages={"node-2": [CONFIRMED]}), at=NOW)
    assert other.state == "payable"


def test_a_finding_in_words() -> None:
    assert under(item(), replace(OPEN, since=ENDED)).sentence == (
        "Finding of fraud 7 covers this node's receipts from 3 Jun 2026, 14:05:09 UTC on. They are paid if it is"
        " cleared, and not paid if it is confirmed."
    )


def test_a_persons_release_overrides_every_rule_but_fraud() -> None:
    bad = item(failed=True, in_service=False, offered=False, decision=released())
    judged = under(bad)
    assert (judged.state, judged.rule, judged.actor) == ("payable", "", "ada@jatevo.example")
    assert judged.sentence == "Released by an admin: The operator's provider confirmed the outage."
    assert under(bad, OPEN).cause == "fraud_suspected"
    assert under(bad, CONFIRMED).state == "excluded"
    assert under(bad, CONFIRMED).actor == ""


def test_a_persons_exclusion_stands_whatever_the_rules_say() -> None:
    judged = under(item(decision=excluded()))
    assert (judged.state, judged.rule, judged.cause) == ("excluded", "implausible", "speed")
    assert judged.sentence == "Excluded by an admin: Made up."
    assert under(item(decision=excluded()), OPEN).state == "excluded"


def test_checks_of_a_released_receipt_show_what_was_overridden_and_go_on_to_fraud() -> None:
    late = item(accepted_at=ENDED + timedelta(hours=3), offered=False, decision=released())
    found = {c.rule: c for c in checks(late, alone(late, coverages={"node-1": [OPEN]}), at=NOW)}
    assert found[PayRule.LATE].overridden
    assert found[PayRule.IMPLAUSIBLE].overridden
    assert found[PayRule.FRAUD].result is CheckResult.FAILED
    assert not found[PayRule.FRAUD].overridden
    assert CheckResult.NOT_REACHED not in {check.result for check in found.values()}


def test_the_verdict_carries_the_numbers_of_the_rule_that_decided() -> None:
    judged = under(item(accepted_at=ENDED + seconds(1320)))
    assert judged.numbers == {
        "cause": "late",
        "delay_seconds": 1320,
        "outage_seconds": 0,
        "limit_seconds": 900,
        "dispatched": False,
    }


# ------------------------------------------------------------------ every request that there can be

MOMENTS = st.integers(-3, 3).map(lambda days: ENDED + timedelta(days=days))
DAYS_AHEAD = st.one_of(st.none(), st.integers(8, 12).map(lambda days: ENDED + timedelta(days=days)))


@st.composite
def items(draw: st.DrawFn, decided: bool) -> list[ItemFacts]:
    found = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        ended = draw(MOMENTS) + (timedelta(days=20) if draw(st.booleans()) else timedelta(0))
        decision = draw(st.sampled_from([None, None, released(), excluded()])) if decided else None
        found.append(
            item(
                number,
                org_id=draw(st.integers(1, 3)),
                ts_start=ended - seconds(4),
                ts_end=ended,
                accepted_at=ended + draw(st.sampled_from([seconds(1), seconds(100), timedelta(hours=1)])),
                hedged=draw(st.booleans()),
                failed=draw(st.integers(0, 5)) == 0,
                in_service=draw(st.integers(0, 5)) != 0,
                silent_only=draw(st.booleans()),
                require_dispatch=draw(st.integers(0, 4)) == 0,
                concurrent=draw(st.sampled_from([1, 4, 5])),
                final_at=ended + timedelta(days=9) if draw(st.booleans()) else None,
                decision=decision,
            )
        )
    return sorted(found, key=lambda one: one.accepted_at)


@st.composite
def dispatches(draw: st.DrawFn) -> list[Dispatch]:
    nodes = draw(st.sets(st.integers(1, 6), max_size=4))
    return [
        dispatch(f"node-{number}", at=at, received_at=at + seconds(1), tokens_input=None, max_tokens=None)
        for number in sorted(nodes)
        for at in [draw(MOMENTS) + (timedelta(days=20) if draw(st.booleans()) else timedelta(0))]
    ]


WINNERS = st.one_of(
    st.none(),
    st.tuples(st.integers(1, 6), MOMENTS).map(lambda pair: winner(f"node-{pair[0]}", received_at=pair[1])),
)
COVERAGES = st.dictionaries(
    st.integers(1, 5).map(lambda number: f"node-{number}"),
    st.lists(
        st.builds(Coverage, st.integers(1, 9), st.booleans(), st.one_of(st.none(), MOMENTS)), max_size=2
    ),
    max_size=3,
)
AT = st.integers(0, 40).map(lambda days: ENDED + timedelta(days=days))


@given(items(decided=True), dispatches(), WINNERS, COVERAGES, AT)
def test_checks_and_verdict_tell_the_same_story(
    of: list[ItemFacts],
    sent: list[Dispatch],
    won: Winner | None,
    coverages: dict[str, list[Coverage]],
    at: Any,
) -> None:
    request = RequestFacts(of, sent, won, coverages)
    together = judge_request(of, sent, won, coverages, at=at)
    for one in of:
        judged = together[one.receipt_id]
        assert judge(one, request, at=at) == judged
        found = checks(one, request, at=at)
        assert [check.rule for check in found] == list(PayRule)
        failed = [c for c in found if c.result is CheckResult.FAILED and not c.overridden]
        assert len(failed) <= 1
        assert all(c.sentence and (c.cause is None) is (c.result is not CheckResult.FAILED) for c in found)
        json.dumps([dict(c.numbers) for c in found])
        stored = json.loads(json.dumps(dict(judged.numbers)))
        assert replace(judged, numbers=stored).sentence == judged.sentence
        if one.decision is None:
            expected = (failed[0].state, failed[0].rule) if failed else (VerdictState.PAYABLE, "")
            assert (judged.state, judged.rule) == expected


@given(items(decided=False), dispatches(), WINNERS, COVERAGES, AT)
def test_the_order_in_which_receipts_are_read_does_not_matter(
    of: list[ItemFacts],
    sent: list[Dispatch],
    won: Winner | None,
    coverages: dict[str, list[Coverage]],
    at: Any,
) -> None:
    assert judge_request(of, sent, won, coverages, at=at) == judge_request(
        of[::-1], sent[::-1], won, coverages, at=at
    )


@given(items(decided=False), dispatches(), WINNERS, COVERAGES, AT)
def test_no_request_is_paid_twice(
    of: list[ItemFacts],
    sent: list[Dispatch],
    won: Winner | None,
    coverages: dict[str, list[Coverage]],
    at: Any,
) -> None:
    """But for one that was final before a gateway sent the request to another node."""
    judged = judge_request(of, sent, won, coverages, at=at)
    paid = [one for one in of if judged[one.receipt_id].state is VerdictState.PAYABLE]
    paid.sort(key=lambda one: one.accepted_at)
    for earlier, later in pairwise(paid):
        assert earlier.final_at is not None
        assert earlier.final_at <= later.accepted_at
        assert judged[later.receipt_id].confirmed or (won is not None and won.node_id == later.node_id)


@given(items(decided=False), dispatches(), WINNERS, AT)
def test_only_a_gateway_can_take_from_a_final_receipt(
    of: list[ItemFacts], sent: list[Dispatch], won: Winner | None, at: Any
) -> None:
    """Without what was accepted after a receipt's day was final, its verdict is the same."""
    judged = judge_request(of, sent, won, at=at)
    for one in of:
        if one.final_at is not None:
            before = [other for other in of if other.accepted_at < one.final_at]
            assert (
                judge_request(before, sent, won, at=at)[one.receipt_id].state == judged[one.receipt_id].state
            )


@pytest.mark.parametrize("size", [300])
def test_many_receipts_of_one_request_are_judged_in_a_moment(size: int) -> None:
    """A fleet that claims one id with every node, day after day."""
    days = [timedelta(days=10 * number) for number in range(size)]
    of: Sequence[ItemFacts] = [
        item(
            number + 1,
            org_id=number,
            ts_start=ENDED + day,
            ts_end=ENDED + day,
            accepted_at=ENDED + day,
            final_at=ENDED + day + timedelta(days=9),
        )
        for number, day in enumerate(days)
    ]
    states = [judged.state for judged in judge_request(of, at=NOW + days[-1]).values()]
    assert states == [VerdictState.PAYABLE] + [VerdictState.HELD] * (size - 1)
