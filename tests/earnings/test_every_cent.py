"""Every cent of random stories, against an independent calculation: verdict by verdict, to the last digit.

The calculation is `tests/earnings/oracle.py`. The stories are told by `tests/earnings/story.py`.
"""

from collections import defaultdict
from datetime import date
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
import time_machine
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earnings.accrual.contested import load_requests
from earnings.accrual.coverage import current_coverage
from earnings.accrual.fsck import examine
from earnings.models import (
    FinalDay,
    HeldItem,
    Item,
    Line,
    LineBalance,
    Movement,
    NodeBalance,
    Verdict,
)
from earnings.rules.verdicts import Cause
from receipts.models import UnjudgedReceipt
from tests.earnings.oracle import LineKey, Ruling, Sums
from tests.earnings.story import Story

pytestmark = pytest.mark.django_db

EXAMPLES = 24
LONG_EVENTS = 5000
COMPARE_EVERY = 50
SEED = 21


def newest_rulings() -> dict[int, Ruling]:
    rows = Verdict.objects.order_by("receipt_id", "-id").distinct("receipt_id")
    return {row.receipt_id: Ruling(row.state, row.rule, row.cause, row.confirmed) for row in rows}


def line_sums() -> dict[LineKey, Sums]:
    found: dict[LineKey, Sums] = {}
    for line in Line.objects.select_related("rate"):
        key = (line.node_id, str(line.org_id), line.day, line.model, line.rate.model, line.rate.holds_from)
        assert key not in found
        found[key] = Sums(
            line.receipts, int(line.tokens_input), int(line.tokens_output),
            line.payable_receipts, Fraction(line.payable_usd), Fraction(line.confirmed_usd),
            line.held_receipts, Fraction(line.held_usd), line.excluded_receipts, Fraction(line.excluded_usd),
        )  # fmt: skip
    return found


def compare(story: Story) -> None:
    """The tables against the oracle's books."""
    books = story.books
    assert not UnjudgedReceipt.objects.exists()
    fees = dict(Item.objects.values_list("receipt_id", "fee_usd"))
    assert {number: Fraction(fee) for number, fee in fees.items()} == {
        number: entry.fee for number, entry in books.entries.items()
    }
    found = newest_rulings()
    differing = {
        number: (found.get(number), entry.ruling, entry)
        for number, entry in books.entries.items()
        if found.get(number) != entry.ruling
    }
    assert not differing, "\n".join(map(str, differing.values()))
    lines = books.lines()
    assert line_sums() == lines
    held = {row.receipt_id: (row.rule, row.cause, Fraction(row.fee_usd)) for row in HeldItem.objects.all()}
    assert held == {
        number: (entry.ruling.rule, entry.ruling.cause, entry.fee)
        for number, entry in books.entries.items()
        if entry.ruling is not None and entry.ruling.state == "held"
    }
    days = {entry.day for entry in books.entries.values()}
    assert set(FinalDay.objects.values_list("day", flat=True)) & days == books.final.keys()
    compare_ledger(lines, set(books.final))


def compare_ledger(lines: dict[LineKey, Sums], final: set[date]) -> None:
    """Balances are the sums of movements, and those of final lines are what the oracle says."""
    by_line: dict[int, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    by_node: dict[tuple[str, str], dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for movement in Movement.objects.order_by("id"):
        assert movement.line_id is not None
        for account, sign in ((movement.to_account, 1), (movement.from_account, -1)):
            by_line[movement.line_id][account] += sign * movement.amount_usd
            by_node[str(movement.node_id), str(movement.org_id)][account] += sign * movement.amount_usd
    nodes: dict[tuple[str, str], list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    for line in Line.objects.select_related("rate"):
        accounts = by_line[line.pk]
        key = (line.node_id, str(line.org_id), line.day, line.model, line.rate.model, line.rate.holds_from)
        expected = lines[key]
        if line.day not in final:
            assert not accounts
            assert line.final_at is None
            continue
        assert line.final_at is not None
        assert accounts["accrued"] == expected.payable
        assert accounts["held"] == expected.held
        assert accounts["network"] == -(expected.payable + expected.held)
        nodes[line.node_id, str(line.org_id)][0] += expected.payable
        nodes[line.node_id, str(line.org_id)][1] += expected.held
    for balance in LineBalance.objects.all():
        accounts = by_line[balance.line_id]
        assert (balance.accrued, balance.held) == (accounts["accrued"], accounts["held"])
    stored = {
        (str(row.node_id), str(row.org_id)): [Fraction(row.accrued), Fraction(row.held)]
        for row in NodeBalance.objects.all()
    }
    assert stored == {key: amounts for key, amounts in nodes.items() if key in by_node}


def compare_pure_rules(story: Story) -> None:
    """What was judged in SQL, because it is plain, and what was judged long ago: the pure rules say the same now."""
    judged: dict[int, Ruling] = {}
    for request in load_requests(sorted(story.books.requests)).values():
        for number, verdict in request.judged(current_coverage(), at=story.now).items():
            judged[number] = Ruling(verdict.state, verdict.rule, verdict.cause, verdict.confirmed)
    assert judged == newest_rulings()


def compare_all(story: Story) -> None:
    compare(story)
    compare_pure_rules(story)


@given(random=st.randoms(use_true_random=False), events=st.integers(5, 60))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@pytest.mark.timeout(1800)
def test_random_stories_come_to_the_same(random: Random, events: int) -> None:
    with transaction.atomic():
        story = Story(random, compare_all)
        story.tell(events)
        story.end()
        transaction.set_rollback(True)


@pytest.mark.timeout(1800)
def test_a_long_story_comes_to_the_same() -> None:
    """It is long enough for every cause of every rule to occur, and is compared now and then."""
    seen: set[str] = set()
    runs = 0

    def now_and_then(story: Story) -> None:
        nonlocal runs
        runs += 1
        seen.update(entry.ruling.cause for entry in story.books.entries.values() if entry.ruling)
        if runs % COMPARE_EVERY == 0:
            compare_all(story)

    story = Story(Random(SEED), now_and_then, busy=True)
    story.tell(LONG_EVENTS)
    story.end()
    compare_all(story)
    assert seen == {"", *Cause}
    with time_machine.travel(story.now, tick=False):  # what is held expires by the clock
        assert [result for result in examine(full=True) if not result.ok] == []
    assert any(entry.person for entry in story.books.entries.values())
    assert Movement.objects.exclude(kind__in=["accrue", "hold"]).exists()
