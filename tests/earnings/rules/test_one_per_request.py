"""Rule 7: one receipt of a request is paid. Hedges, disputes, stolen ids, newcomers and what admins decided."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from earnings.rules.facts import Dispatch, ItemFacts, RequestFacts, Winner
from earnings.rules.payability import Judged, checks, judge_request
from earnings.rules.verdicts import PayRule
from tests.earnings.rules.examples import ENDED, NOW, dispatch, excluded, item, released, seconds, winner

PAID, LOSES, DISPUTED = ("payable", ""), ("excluded", "hedged_loser"), ("held", "disputed")
LATER = ENDED + timedelta(days=20)


def verdicts(
    items: Sequence[ItemFacts], *dispatches: Dispatch, won: Winner | None = None
) -> list[tuple[str, str]]:
    judged = judge_request(items, dispatches, won, at=NOW)
    return [(str(judged[one.receipt_id].state), judged[one.receipt_id].cause) for one in items]


def final(receipt_id: int, **changes: Any) -> ItemFacts:
    """A receipt whose day is final by now."""
    return item(receipt_id, final_at=ENDED + timedelta(days=9), **changes)


def newcomer(receipt_id: int, **changes: Any) -> ItemFacts:
    """A receipt accepted after the day of `final` became final, of a request that ended that late."""
    moments: dict[str, Any] = {
        "ts_start": LATER - seconds(4),
        "ts_end": LATER,
        "accepted_at": LATER + seconds(2),
    }
    return item(receipt_id, **moments | changes)


def test_a_hedged_request_of_one_org_goes_to_the_first_accepted() -> None:
    assert verdicts([item(2, hedged=True), item(1, hedged=True), item(3, hedged=True)]) == [
        LOSES,
        PAID,
        LOSES,
    ]


def test_the_dispatched_answers_of_one_org_go_to_the_first_accepted() -> None:
    assert verdicts([item(1), item(2)], dispatch("node-1"), dispatch("node-2")) == [PAID, LOSES]


def test_the_gateways_winner_is_paid_whoever_came_first() -> None:
    sent = [dispatch("node-1"), dispatch("node-2")]
    assert verdicts([item(1), item(2)], *sent, won=winner("node-2")) == [LOSES, PAID]
    assert verdicts([item(1), item(2, org_id=2)], *sent, won=winner("node-2")) == [LOSES, PAID]


def test_a_winner_counts_if_it_was_named_within_a_week() -> None:
    sent = [dispatch("node-1"), dispatch("node-2")]
    in_time = winner("node-2", received_at=ENDED + timedelta(days=7))
    too_late = winner("node-2", received_at=ENDED + timedelta(days=7, seconds=1))
    assert verdicts([item(1), item(2)], *sent, won=in_time) == [LOSES, PAID]
    assert verdicts([item(1), item(2)], *sent, won=too_late) == [PAID, LOSES]


def test_where_the_winner_sent_no_receipt_or_a_bad_one_another_is_paid() -> None:
    sent = [dispatch("node-1"), dispatch("node-2")]
    assert verdicts([item(1)], *sent, won=winner("node-2")) == [PAID]
    assert verdicts([item(1), item(2, failed=True)], *sent, won=winner("node-2")) == [
        PAID,
        ("excluded", "failed"),
    ]


def test_two_orgs_and_no_dispatch_are_a_dispute() -> None:
    assert verdicts([item(1), item(2, org_id=2)]) == [DISPUTED, DISPUTED]
    assert verdicts([item(1, hedged=True), item(2, org_id=2, hedged=True)]) == [DISPUTED, DISPUTED]


def test_two_orgs_both_dispatched_wait_for_the_winner() -> None:
    rivals = [item(1), item(2, org_id=2)]
    sent = [dispatch("node-1"), dispatch("node-2")]
    assert verdicts(rivals, *sent) == [DISPUTED, DISPUTED]
    assert verdicts(rivals, *sent, won=winner("node-1")) == [PAID, LOSES]


def test_one_org_that_claims_a_request_twice_without_a_hedge_is_a_dispute() -> None:
    assert verdicts([item(1), item(2)]) == [DISPUTED, DISPUTED]
    assert verdicts([item(1, hedged=True), item(2)]) == [DISPUTED, DISPUTED]


def test_a_stolen_id_neither_pays_the_thief_nor_costs_the_dispatched_node() -> None:
    thief = item(1, org_id=2)  # posted first
    assert verdicts([thief, item(2)], dispatch("node-2")) == [("held", "contradicts"), PAID]


def test_a_receipt_that_fails_an_earlier_rule_competes_with_nobody() -> None:
    assert verdicts([item(1, failed=True), item(2, org_id=2)]) == [("excluded", "failed"), PAID]
    assert verdicts([item(1, concurrent=9), item(2, org_id=2)]) == [("held", "concurrency"), PAID]


@pytest.mark.parametrize(("org", "expected"), [(1, LOSES), (2, DISPUTED)])
def test_a_newcomer_reopens_no_final_day(org: int, expected: tuple[str, str]) -> None:
    assert verdicts([final(1), newcomer(2, org_id=org)]) == [PAID, expected]
    assert verdicts([final(1, hedged=True), newcomer(2, org_id=org, hedged=True)]) == [PAID, expected]


def test_whatever_is_accepted_from_the_moment_of_finality_on_is_a_newcomer() -> None:
    closed = ENDED + timedelta(days=9)
    assert verdicts([final(1), newcomer(2, org_id=2, accepted_at=closed)]) == [PAID, DISPUTED]
    assert verdicts([final(1), newcomer(2, org_id=2, accepted_at=closed - seconds(1))]) == [
        DISPUTED,
        DISPUTED,
    ]


def test_a_newcomer_joins_a_dispute_that_is_still_open() -> None:
    items = [final(1), final(2, org_id=2), newcomer(3, org_id=3), newcomer(4, org_id=2)]
    assert verdicts(items) == [DISPUTED, DISPUTED, DISPUTED, LOSES]


def test_ids_taken_long_before_cost_the_node_that_is_dispatched_later_nothing() -> None:
    sent = dispatch("node-2", at=LATER - seconds(4), received_at=LATER)
    assert verdicts([final(1, org_id=2), newcomer(2)], sent) == [PAID, PAID]
    assert verdicts([final(1, org_id=2), newcomer(3, org_id=3), newcomer(2)], sent)[2] == PAID
    # one that a gateway sent it too holds its place
    both = [dispatch("node-1"), sent]
    assert verdicts([final(1, org_id=2), newcomer(2)], *both) == [PAID, DISPUTED]


def test_a_newcomer_that_was_dispatched_does_not_displace_one_that_was_dispatched_before_it() -> None:
    first, second = final(1, org_id=1), newcomer(2, org_id=2, final_at=LATER + timedelta(days=9))
    third_ended = LATER + timedelta(days=20)
    third = newcomer(
        3, org_id=3, ts_start=third_ended, ts_end=third_ended, accepted_at=third_ended + seconds(2)
    )
    sent = [
        dispatch("node-2", at=LATER, received_at=LATER),
        dispatch("node-3", at=third_ended, received_at=third_ended),
    ]
    assert verdicts([first, second, third], *sent) == [PAID, PAID, DISPUTED]


def test_what_a_newcomer_is_told() -> None:
    disputed = judge_request([final(1), newcomer(2, org_id=2)], at=NOW)[2]
    assert disputed.sentence.startswith("2 receipts claim this request")
    assert disputed.numbers["settled_before"] is True
    own = judge_request([final(1), newcomer(2)], at=NOW)[2]
    assert own.sentence == "Each request is paid once, and node-1 is paid for this one."
    late = item(3, org_id=2, accepted_at=ENDED + timedelta(hours=3), decision=released())
    behind_both = judge_request([final(1), late, newcomer(2, org_id=2)], at=NOW)[2]
    assert behind_both.sentence == "An admin decided that another receipt is paid for this request."
    assert behind_both.numbers["settled_before"] is False


def test_final_days_of_both_keep_what_was_decided() -> None:
    settled = newcomer(2, org_id=2, final_at=LATER + timedelta(days=9))
    assert verdicts([final(1), settled]) == [PAID, DISPUTED]


def test_an_admin_who_releases_one_of_a_dispute_decides_it() -> None:
    assert verdicts([item(1), item(2, org_id=2, decision=released())]) == [LOSES, PAID]
    judged = judge_request([item(1), item(2, org_id=2, decision=released())], at=NOW)
    assert judged[1].sentence == "An admin decided that another receipt is paid for this request."
    assert judged[2].actor == "ada@jatevo.example"


def test_an_admin_who_excludes_one_of_a_dispute_decides_it() -> None:
    assert verdicts([item(1), item(2, org_id=2, decision=excluded())]) == [PAID, ("excluded", "speed")]


def test_a_released_hedge_is_the_one_that_is_paid() -> None:
    late = item(1, hedged=True, accepted_at=ENDED + timedelta(hours=3))
    assert verdicts([late, item(2, hedged=True)]) == [("held", "late"), PAID]
    assert verdicts([item(1, hedged=True, decision=released()), item(2, hedged=True)]) == [PAID, LOSES]


def test_a_release_for_being_late_takes_nothing_from_another_org() -> None:
    """Otherwise late receipts for guessed ids, released among many, would take from whoever served the requests."""
    late = item(1, accepted_at=ENDED + timedelta(hours=3), decision=released())
    assert verdicts([late, item(2, org_id=2)]) == [PAID, PAID]
    assert verdicts([late, item(2, org_id=2), item(3, org_id=3)]) == [PAID, DISPUTED, DISPUTED]
    assert verdicts([late, item(2)]) == [PAID, LOSES]  # its own organisation's


def test_a_release_takes_nothing_from_the_gateways_winner() -> None:
    sent = [dispatch("node-1"), dispatch("node-2")]
    both = [item(1, decision=released()), item(2)]
    assert verdicts(both, *sent, won=winner("node-2")) == [PAID, PAID]


def test_no_verdict_names_the_node_of_another_org() -> None:
    rivals = [item(1, "mine"), item(2, "rival", org_id=2), item(3, "mine-too")]

    def told(judged: Judged) -> str:
        return judged.sentence + json.dumps(judged.numbers)

    for sent, won in (
        ([], None),
        ([dispatch("rival")], None),
        ([dispatch("mine"), dispatch("rival")], winner("rival")),
        ([dispatch("mine"), dispatch("mine-too")], winner("mine")),
    ):
        judged = judge_request(rivals, sent, won, at=NOW)
        assert "rival" not in told(judged[1]) + told(judged[3])
        assert "mine" not in told(judged[2])
    judged = judge_request(rivals[::2], [dispatch("mine"), dispatch("mine-too")], winner("mine"), at=NOW)
    assert judged[3].sentence == "Each request is paid once, and mine is paid for this one."


def test_the_other_sentences() -> None:
    def said(items: Sequence[ItemFacts], *dispatches: Dispatch, won: Winner | None = None) -> str:
        found = checks(items[0], RequestFacts(items, dispatches, won), at=NOW)
        return next(check.sentence for check in found if check.rule is PayRule.ONE_PER_REQUEST)

    sent = [dispatch("node-1"), dispatch("node-2")]
    rival = item(2, org_id=2)
    assert said([item()]) == "No other receipt competes for this request."
    assert said([item(), item(2)], *sent) == "Of 2 receipts for this request, this is the one that is paid."
    assert said([item(), rival], *sent, won=winner("node-1")) == (
        "Of 2 receipts for this request, the gateway used this node's answer."
    )
    assert said([item(), rival], *sent, won=winner("node-2")) == (
        "Each request is paid once, and a gateway sent this one to another node."
    )
    assert said([item(), rival]) == (
        "2 receipts claim this request, and no dispatch decides between them. It is held until an admin decides."
    )
