"""Rules 1 to 6, each at its edge: what passes, what fails, with which cause and which sentence."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from earnings.rules.facts import Dispatch, ItemFacts
from earnings.rules.payability import RuleCheck, checks, judge
from earnings.rules.verdicts import CAUSES, Cause, CheckResult, PayRule, VerdictState
from tests.earnings.rules.examples import ENDED, NOW, alone, dispatch, item, seconds

EXCLUDED, HELD, PAYABLE = VerdictState.EXCLUDED, VerdictState.HELD, VerdictState.PAYABLE
WEEK = timedelta(days=7)


def verdict(one: ItemFacts, *dispatches: Dispatch, at: datetime = NOW) -> tuple[str, str, str]:
    judged = judge(one, alone(one, *dispatches), at=at)
    return judged.state, judged.rule, judged.cause


def check_of(rule: PayRule, one: ItemFacts, *dispatches: Dispatch, at: datetime = NOW) -> RuleCheck:
    return next(check for check in checks(one, alone(one, *dispatches), at=at) if check.rule is rule)


def said(rule: PayRule, one: ItemFacts, *dispatches: Dispatch, at: datetime = NOW) -> str:
    return check_of(rule, one, *dispatches, at=at).sentence


def test_a_good_receipt_passes_all_eight_rules_in_order() -> None:
    found = checks(item(), alone(item(), dispatch()), at=NOW)
    assert [check.rule for check in found] == list(PayRule)
    assert {check.result for check in found} == {CheckResult.PASSED}
    assert verdict(item(), dispatch()) == (PAYABLE, "", "")
    assert judge(item(), alone(item(), dispatch()), at=NOW).confirmed


def test_after_the_first_failure_nothing_is_checked() -> None:
    found = checks(item(failed=True, in_service=False), alone(item()), at=NOW)
    assert [check.result for check in found] == [CheckResult.FAILED] + [CheckResult.NOT_REACHED] * 7
    assert found[0].sentence == "The request failed. Failed requests are not paid."
    assert found[1].sentence == "Not checked: an earlier rule failed."


def test_a_failed_request_is_not_paid() -> None:
    assert verdict(item(failed=True)) == (EXCLUDED, "outcome", "failed")


def test_a_node_out_of_service_earns_nothing() -> None:
    assert verdict(item(in_service=False)) == (EXCLUDED, "in_service", "not_in_service")
    assert verdict(item(in_service=False), dispatch()) == (EXCLUDED, "in_service", "not_in_service")
    assert said(PayRule.IN_SERVICE, item(in_service=False)) == (
        "The node was not active within 5 minutes of the request's end (3 Jun 2026, 14:05:09 UTC)."
    )


def test_a_node_that_only_silence_took_offline_is_paid_for_what_a_gateway_sent_it() -> None:
    silent = item(in_service=False, silent_only=True)
    assert verdict(silent) == (EXCLUDED, "in_service", "not_in_service")
    assert "no gateway reported sending it" in said(PayRule.IN_SERVICE, silent)
    assert verdict(silent, dispatch("another")) == (EXCLUDED, "in_service", "not_in_service")
    assert verdict(silent, dispatch()) == (PAYABLE, "", "")
    assert verdict(silent, dispatch(received_at=ENDED + WEEK + seconds(1)))[1] == "in_service"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"node_since": ENDED - seconds(4) + seconds(300)}, ""),
        ({"node_since": ENDED - seconds(4) + seconds(301)}, Cause.BEFORE_NODE),
        ({"key_since": ENDED + seconds(300)}, ""),
        ({"key_since": ENDED + seconds(301)}, Cause.BEFORE_KEY),
        ({"key_since": None}, ""),
        ({"key_until": ENDED - seconds(300)}, ""),
        ({"key_until": ENDED - seconds(301)}, Cause.AFTER_KEY),
    ],
)
def test_work_lies_within_the_life_of_node_and_key(changes: dict[str, Any], cause: str) -> None:
    expected = (EXCLUDED, "lifetime", cause) if cause else (PAYABLE, "", "")
    assert verdict(item(**changes)) == expected


def test_a_lifetime_says_both_moments() -> None:
    assert said(PayRule.LIFETIME, item(node_since=ENDED + timedelta(days=7))) == (
        "The request began at 3 Jun 2026, 14:05:05 UTC, more than 5 minutes before the node was registered"
        " (10 Jun 2026, 14:05:09 UTC)."
    )
    assert said(PayRule.LIFETIME, item(key_until=ENDED - timedelta(days=1))).endswith(
        "after the key that signed the receipt was replaced (2 Jun 2026, 14:05:09 UTC)."
    )


@pytest.mark.parametrize(
    ("delay", "outage", "late"),
    [
        (900, 0, False),
        (900.000001, 0, True),
        (1500, 600, False),
        (1501, 600, True),
        (-300, 0, False),  # a clock that runs ahead
        (86_400 * 6, 86_400 * 6, False),  # a long outage of the console
    ],
)
def test_a_receipt_comes_within_a_quarter_of_an_hour(delay: float, outage: int, late: bool) -> None:
    one = item(accepted_at=ENDED + seconds(delay), outage_seconds=outage)
    assert verdict(one) == ((HELD, "late", "late") if late else (PAYABLE, "", ""))


def test_a_dispatch_explains_any_delay() -> None:
    one = item(accepted_at=ENDED + timedelta(days=3))
    assert verdict(one, dispatch("another")) == (HELD, "late", "late")
    assert verdict(one, dispatch()) == (PAYABLE, "", "")


def test_lateness_in_words() -> None:
    late = item(accepted_at=ENDED + seconds(22 * 60))
    assert said(PayRule.LATE, late) == (
        "Came 22 minutes after the request ended; the limit is 15 minutes, and no outage explains it."
    )
    outage = item(accepted_at=ENDED + seconds(7200), outage_seconds=1800)
    assert said(PayRule.LATE, outage) == (
        "Came 2 hours after the request ended; the limit is 15 minutes, and recorded outages explain only"
        " 30 minutes of the delay."
    )
    assert said(PayRule.LATE, late, dispatch()) == (
        "Came 22 minutes after the request ended. A gateway sent the request to this node, which explains the delay."
    )
    barely = item(accepted_at=ENDED + seconds(900.5))
    assert said(PayRule.LATE, barely).startswith("Came 15 minutes 1 second after")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"tokens_output": 5000}, ""),  # 4 seconds and one, at 1000 a second
        ({"tokens_output": 5001}, Cause.SPEED),
        ({"tokens_output": 100_000_000}, Cause.SPEED),
        ({"limit_output_per_second": Decimal("20.00")}, ""),
        ({"limit_output_per_second": Decimal("19.99")}, Cause.SPEED),
        ({"limit_context": 300}, ""),
        ({"limit_context": 299}, Cause.CONTEXT),
        ({"ts_start": ENDED - timedelta(hours=24)}, ""),
        ({"ts_start": ENDED - timedelta(hours=24, seconds=1)}, Cause.DURATION),
        ({"offered": False}, Cause.MODEL),
        ({"offered": None}, ""),
        ({"concurrent": 4}, ""),
        ({"concurrent": 5}, Cause.CONCURRENCY),
        ({"ts_start": ENDED, "second_tokens": 8000}, ""),
        ({"ts_start": ENDED, "second_tokens": 8001}, Cause.BURST),
        ({"second_tokens": 8001}, ""),  # not of an empty span
    ],
)
def test_numbers_can_be_true(changes: dict[str, Any], cause: str) -> None:
    expected = (HELD, "implausible", cause) if cause else (PAYABLE, "", "")
    assert verdict(item(**changes)) == expected


def test_each_implausible_number_is_named() -> None:
    one = item(tokens_output=100_000_000, offered=False, concurrent=9)
    check = check_of(PayRule.IMPLAUSIBLE, one)
    assert check.numbers["causes"] == ["speed", "context", "model", "concurrency"]
    assert check.sentence == (
        "100,000,000 output tokens in at most 5 seconds; the limit for the model is 1,000 per second."
        " 100,000,200 tokens of input and output; the limit for the model is 2,000,000."
        " The node did not offer llama3.1-8b in the 24 hours before."
        " 9 requests ran at the same time; the node says that it serves 4 at once."
    )


def test_plausible_numbers_in_words() -> None:
    assert said(PayRule.IMPLAUSIBLE, item(offered=None)) == (
        "100 output tokens in at most 5 seconds, and 1 request at once (the node serves 4): within the limits."
        " Which models the node offered then is not known."
    )
    burst = item(ts_start=ENDED, tokens_output=1, second_tokens=9000)
    assert said(PayRule.IMPLAUSIBLE, burst) == (
        "9,000 output tokens from requests that began and ended in the same second; the limit is 8,000."
    )
    long = item(ts_start=ENDED - timedelta(hours=30))
    assert said(PayRule.IMPLAUSIBLE, long) == "The request took 1 day 6 hours; the limit is 24 hours."


def test_without_gateways_an_unconfirmed_receipt_passes_and_says_so() -> None:
    judged = judge(item(), alone(item()), at=NOW)
    assert (judged.state, judged.confirmed) == (PAYABLE, False)
    assert judged.sentence == "Passed every rule. No gateway confirms it."


def test_where_dispatches_are_required_it_waits_a_week_for_one() -> None:
    one = item(require_dispatch=True)
    assert verdict(one, at=ENDED + WEEK) == (HELD, "dispatch", "unconfirmed")
    assert verdict(one, at=ENDED + WEEK + seconds(1)) == (EXCLUDED, "dispatch", "unconfirmed")
    assert verdict(one, dispatch()) == (PAYABLE, "", "")
    assert said(PayRule.DISPATCH, one) == (
        "No gateway has reported this request yet. It is not paid unless one does by 10 Jun 2026, 14:05:09 UTC."
    )


def test_a_dispatch_counts_if_it_came_within_a_week() -> None:
    one = item(require_dispatch=True)
    assert verdict(one, dispatch(received_at=ENDED + WEEK)) == (PAYABLE, "", "")
    assert verdict(one, dispatch(received_at=ENDED + WEEK + seconds(1)))[2] == "unconfirmed"


def test_whoever_guesses_the_id_of_another_nodes_request_earns_nothing() -> None:
    theirs = dispatch("somebody-elses")
    assert verdict(item(), theirs) == (HELD, "dispatch", "contradicts")
    assert verdict(item(), theirs, at=ENDED + WEEK + seconds(1)) == (EXCLUDED, "dispatch", "contradicts")
    judged = judge(item(), alone(item(), theirs), at=NOW)
    assert "somebody" not in judged.sentence + json.dumps(judged.numbers)


@pytest.mark.parametrize(
    ("changes", "disagrees"),
    [
        ({"model": "qwen3"}, ["model"]),
        ({"at": ENDED - seconds(304)}, []),
        ({"at": ENDED - seconds(305)}, ["time"]),
        ({"at": ENDED + seconds(300)}, []),
        ({"at": ENDED + seconds(301)}, ["time"]),
        ({"tokens_input": 137}, []),  # 110 % of it and 50 are 200.7
        ({"tokens_input": 136}, ["tokens_input"]),  # 199.6
        ({"tokens_input": None, "max_tokens": None}, []),
        ({"max_tokens": 100}, []),
        ({"max_tokens": 99}, ["tokens_output"]),
        ({"model": "qwen3", "max_tokens": 1}, ["model", "tokens_output"]),
    ],
)
def test_a_receipt_agrees_with_its_dispatch(changes: dict[str, Any], disagrees: list[str]) -> None:
    judged = judge(item(), alone(item(), dispatch(**changes)), at=NOW)
    check = check_of(PayRule.DISPATCH, item(), dispatch(**changes))
    assert check.numbers["disagrees"] == disagrees
    assert judged.confirmed is not bool(disagrees)
    assert judged.cause == ("contradicts" if disagrees else "")
    json.dumps(check.numbers)


@pytest.mark.parametrize(("counted", "agrees"), [(160, True), (161, False)])
def test_tokenisers_may_differ_by_a_tenth_and_fifty(counted: int, agrees: bool) -> None:
    one = item(tokens_input=counted)
    assert judge(one, alone(one, dispatch(tokens_input=100)), at=NOW).confirmed is agrees


def test_of_several_dispatches_to_a_node_the_one_that_agrees_best_counts() -> None:
    bad, worse = dispatch(max_tokens=50), dispatch(max_tokens=40, model="qwen3")
    assert verdict(item(), bad, dispatch(), worse) == (PAYABLE, "", "")
    for order in ((bad, worse), (worse, bad)):
        assert said(PayRule.DISPATCH, item(), *order).startswith(
            "The receipt counts 100 output tokens, and the gateway allowed 50."
        )


def test_a_disagreement_says_both_sides() -> None:
    told = said(PayRule.DISPATCH, item(), dispatch(model="qwen3", max_tokens=50, tokens_input=10))
    assert told.startswith(
        "The receipt says llama3.1-8b, and the gateway asked for qwen3."
        " The receipt counts 200 input tokens, and the gateway 10."
        " The receipt counts 100 output tokens, and the gateway allowed 50."
    )


def test_every_cause_belongs_to_one_rule_and_has_words() -> None:
    listed = [cause for causes in CAUSES.values() for cause in causes]
    assert sorted(listed) == sorted(Cause)
    assert list(CAUSES) == list(PayRule)
    assert all(cause.label for cause in Cause)
    assert all(rule.label and rule.sentence and rule.otherwise for rule in PayRule)
