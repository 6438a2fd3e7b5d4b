"""Why do I earn nothing? The causes that the data show, in order, with what to do."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from earnings.rules.causes_of_nothing import (
    ADVICE,
    NothingCause,
    NothingFacts,
    VerdictCount,
    causes_of_nothing,
)
from earnings.rules.verdicts import Cause, VerdictState

PAYABLE, HELD, EXCLUDED = VerdictState.PAYABLE, VerdictState.HELD, VerdictState.EXCLUDED
EARNING = NothingFacts(
    phase="active",
    explanation="In service. A validator has confirmed it.",
    next_step="Nothing to do.",
    heard_share=1.0,
    failed_probes=0,
    passed_probes=40,
    models=2,
    dispatched=100,
    verdicts=[VerdictCount(PAYABLE, "", 100)],
    payable_usd=Decimal("1.5"),
    days=7,
)


def causes(**changes: Any) -> list[NothingCause]:
    return causes_of_nothing(replace(EARNING, **changes))


def keys(**changes: Any) -> list[str]:
    return [str(cause.key) for cause in causes(**changes)]


def test_a_node_that_earns_has_no_causes() -> None:
    assert causes() == []


@pytest.mark.parametrize("phase", ["probing", "offline", "quarantine"])
def test_a_node_out_of_service_is_told_so_first(phase: str) -> None:
    found = causes(phase=phase, explanation="Why.", next_step="Do this.", verdicts=[], dispatched=0)
    assert [str(cause.key) for cause in found] == [phase, "no_requests"]
    assert found[0].what == "The node is not in service, so it is sent no requests. Why."
    assert found[0].what_to_do == "Do this."


def test_a_node_that_never_started_is_told_only_that() -> None:
    assert keys(phase="registered", verdicts=[], dispatched=0, models=0, heard_share=None) == ["not_started"]


def test_service_comes_before_work_and_work_before_pay() -> None:
    assert keys(heard_share=0.5, failed_probes=3, models=0, dispatched=0, verdicts=[]) == [
        "irregular",
        "probes_fail",
        "no_models",
        "no_requests",
    ]


@pytest.mark.parametrize(
    ("dispatched", "key", "says"),
    [
        (0, "no_requests", "Gateways sent this node no requests in the last 7 days."),
        (
            1,
            "no_receipts",
            "Gateways sent this node 1 request in the last 7 days, and no receipt for them came.",
        ),
        (None, "no_receipts", "No receipt came from this node in the last 7 days."),
    ],
)
def test_no_receipts_has_a_cause_that_gateways_may_know(dispatched: int | None, key: str, says: str) -> None:
    (cause,) = causes(dispatched=dispatched, verdicts=[])
    assert (str(cause.key), cause.what) == (key, says)


def test_verdicts_are_named_the_most_frequent_first() -> None:
    found = causes(
        verdicts=[
            VerdictCount(PAYABLE, "", 2),
            VerdictCount(EXCLUDED, "hedged_loser", 1),
            VerdictCount(HELD, "late", 37),
            VerdictCount(EXCLUDED, "", 3),
            VerdictCount(HELD, "speed", 0),
        ]
    )
    assert [cause.what for cause in found] == [
        "37 of 43 receipts are held: late.",
        "3 of 43 receipts are excluded: an admin decided so.",
        "1 of 43 receipts is excluded: another receipt is paid for the request.",
    ]
    assert [cause.cause for cause in found] == ["late", "", "hedged_loser"]


def test_work_without_a_price_is_named() -> None:
    (cause,) = causes(payable_usd=Decimal(0))
    assert cause.what == "100 receipts passed every rule, but their fees are $0."


def test_every_cause_of_a_verdict_has_advice() -> None:
    assert set(ADVICE) == set(Cause)
    assert all(text.endswith(".") for text in ADVICE.values())


def test_a_node_in_service_that_cannot_be_reached_is_told_why_no_requests_come() -> None:
    found = causes(reachable=False, dispatched=0, verdicts=[])
    assert [str(cause.key) for cause in found] == ["not_reachable", "no_requests"]
    assert "gateways cannot send it requests" in found[0].what


@pytest.mark.parametrize("reachable", [True, None])
def test_a_node_that_is_reachable_or_not_known_yet_is_not_told_so(reachable: bool | None) -> None:
    assert keys(reachable=reachable) == []


def test_a_quarantined_node_is_told_that_alone() -> None:
    assert keys(phase="quarantine", reachable=False) == ["quarantine"]
