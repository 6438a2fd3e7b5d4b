"""Flags on receipts and nodes: the numbers by which earnings hold them, whatever else decided about the receipt."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine

from earnings.figures.flags import plausibility_of
from earnings.models import VerdictState
from earnings.slots import node_flags
from jatevo.accounts.models import Role, User
from receipts.models import Receipt
from receipts.slots import Plausibility
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.earnings.stage import NOW, Stage
from tests.factories import OrgFactory, ReceiptFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def stage() -> Iterator[Stage]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield Stage(clock)


def found_about(stage: Stage, request: str = "r") -> Plausibility:
    found = plausibility_of(Receipt.objects.get(request_id=request), at=stage.now)
    assert found
    return found


def operator_of(stage: Stage, org: str) -> User:
    return make_user(Role.OPERATOR, org=stage.org(org))


def words_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_impossible_speed_is_flagged_with_its_numbers(stage: Stage) -> None:
    stage.receipt("thief", tokens_output=1_000_000)
    stage.accrue()
    flags = {flag.label: flag.sentence for flag in found_about(stage).flags}
    assert flags["Too many tokens per second"].startswith(
        "1,000,000 output tokens in at most 11 seconds; the limit"
    )
    assert "Context too long" in flags


def test_overlap_beyond_concurrency_is_flagged_with_its_numbers(stage: Stage) -> None:
    stage.node("busy", concurrency=2)
    for number in range(3):
        stage.receipt("busy", f"r{number}")
    stage.accrue()
    (flag,) = found_about(stage, "r2").flags
    assert (flag.label, flag.sentence) == (
        "Too many simultaneous requests",
        "3 requests ran at the same time; the node says that it serves 2 at once.",
    )
    assert not found_about(stage, "r1").flags


def test_a_flag_shows_also_where_another_rule_excluded_the_receipt(stage: Stage) -> None:
    stage.receipt("thief", tokens_output=1_000_000, outcome="error")
    stage.accrue()
    assert stage.verdict("thief") == "excluded: failed"
    assert "Too many tokens per second" in {flag.label for flag in found_about(stage).flags}


def test_a_plausible_receipt_shows_its_numbers_too(stage: Stage) -> None:
    stage.receipt("honest")
    stage.accrue()
    assert found_about(stage) == Plausibility(
        [],
        [
            "Came 20 seconds after the request ended; the limit is 15 minutes.",
            "92 output tokens in at most 11 seconds, and 1 request at once (the node serves 4): within the limits.",
        ],
    )


def test_what_is_not_judged_is_unknown(stage: Stage) -> None:
    stage.receipt("honest")
    assert plausibility_of(Receipt.objects.get(), at=stage.now) is None


def test_a_nodes_flags_are_what_is_held_for_implausibility(stage: Stage) -> None:
    for number in range(3):
        stage.receipt("thief", f"fast{number}", tokens_output=30_000, ago=100 * number + 20)
    stage.receipt("thief", "late", ago=3600)
    stage.receipt("rival", "theirs", tokens_output=30_000)
    stage.accrue()
    for reader in (operator_of(stage, "thief"), stage.admin):
        flags = {flag.label: flag for flag in node_flags(stage.node("thief"), reader)}
        assert {label: flag.receipts for label, flag in flags.items()} == {
            "Too many tokens per second": 3,
            "Late": 1,
        }
        assert flags["Late"].sentence.startswith("Came 1 hour after the request ended")
        assert flags["Late"].url == "/earnings/receipts/thief/late/"
        browser = Browser().hold_session(reader)
        for flag in flags.values():
            assert browser.get(flag.url).status_code == 200
            page = text_of(browser.get(flag.all_url))
            assert flag.example in page
            assert "theirs" not in page
    stage.decide(VerdictState.EXCLUDED, "thief", "late")
    assert [flag.label for flag in node_flags(stage.node("thief"), stage.admin)] == [
        "Too many tokens per second"
    ]


def test_others_see_no_flags_of_a_node(stage: Stage) -> None:
    stage.receipt("thief", tokens_output=30_000)
    stage.accrue()
    for reader in (operator_of(stage, "rival"), make_user(Role.VIEWER, org=OrgFactory.create()), None):
        assert node_flags(stage.node("thief"), reader) == []


def test_the_pages_of_receipt_and_node_show_the_flags(stage: Stage) -> None:
    stage.receipt("thief", tokens_output=30_000)
    stage.accrue()
    browser = Browser().hold_session(operator_of(stage, "thief"))
    numbers = "30,000 output tokens in at most 11 seconds; the limit"
    for path in ("/receipts/thief/r/", "/nodes/thief/?tab=receipts"):
        page = words_of(text_of(browser.get(path)))
        assert f"Too many tokens per second {numbers}" in page or (
            f"Too many tokens per second 1 receipt {numbers}" in page
        )


@pytest.mark.parametrize(("seconds", "flagged"), [(11, True), (10, False), (0, False), (-3000, False)])
def test_a_request_that_ended_after_its_receipt_came_shows_a_clock_ahead(
    stage: Stage, seconds: int, flagged: bool
) -> None:
    ended = int((stage.now + timedelta(seconds=seconds)).timestamp())
    ReceiptFactory(node=stage.node("early"), request_id="r", at=stage.now, ts_start=ended - 5, ts_end=ended)
    browser = Browser().hold_session(operator_of(stage, "early"))
    page = words_of(text_of(browser.get("/receipts/early/r/")))
    assert ("The request ended 11 s after its receipt was accepted" in page) == flagged
    assert ("Clock ahead" in page) == flagged
    assert "Not judged yet." in page
