"""How many requests ran at once: against a count of every second, and for a cheat's many receipts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnings.rules import concurrency
from earnings.rules.concurrency import EmptySpan, concurrent_counts, second_tokens

SPANS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    max_size=40,
)


def by_the_second(spans: list[tuple[int, int]]) -> list[int]:
    """The definition, second by second."""
    return [
        max((sum(s <= second < e for s, e in spans[: number + 1]) for second in range(start, end)), default=1)
        for number, (start, end) in enumerate(spans)
    ]


@given(SPANS)
def test_counts_are_those_of_every_second(spans: list[tuple[int, int]]) -> None:
    assert concurrent_counts(spans) == by_the_second(spans)


@given(SPANS)
def test_the_tree_alone_counts_the_same(spans: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrency, "_SMALL", 0)
        assert concurrent_counts(spans) == by_the_second(spans)


@given(SPANS, st.tuples(st.integers(0, 40), st.integers(0, 12)))
def test_a_later_receipt_changes_nothing_about_earlier_ones(
    spans: list[tuple[int, int]], later: tuple[int, int]
) -> None:
    with_it = [*spans, (later[0], later[0] + later[1])]
    assert concurrent_counts(with_it)[:-1] == concurrent_counts(spans)


def test_back_to_back_is_one_at_a_time() -> None:
    assert concurrent_counts([(0, 5), (5, 9), (9, 9), (4, 6)]) == [1, 1, 1, 2]


def test_moments_may_be_times() -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    later = [noon + timedelta(seconds=number) for number in range(4)]
    assert concurrent_counts([(later[0], later[2]), (later[1], later[3])]) == [1, 2]


def test_a_hundred_thousand_overlapping_receipts_are_counted_exactly() -> None:
    many = 100_000
    assert concurrent_counts([(number, many + number) for number in range(many)]) == list(range(1, many + 1))


def test_tokens_of_one_second_add_up_in_order_of_acceptance() -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    next_second = noon + timedelta(seconds=1)
    receipts = [EmptySpan(noon, 10), EmptySpan(next_second, 5), EmptySpan(noon, 7), EmptySpan(noon, 0)]
    assert second_tokens(receipts) == [10, 5, 17, 17]
