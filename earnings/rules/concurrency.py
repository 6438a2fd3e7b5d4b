"""How many requests a node served at once, by its receipts. Pure.

A receipt is compared with those accepted no later than itself, so that one that comes later never changes what was
found about an earlier one.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

Moment = TypeVar("Moment", int, float, datetime)

# Up to this size comparing all pairs is faster than a tree.
_SMALL = 12


def concurrent_counts(spans: Sequence[tuple[Moment, Moment]]) -> list[int]:
    """For each span (start, end), the most spans that run at one moment of it, itself included.

    Spans are half-open and in the order in which their receipts were accepted; only those up to and including the span
    itself count. An empty span counts 1 and is not seen by the others. O(n log n), also where all overlap.
    """
    counts = [1] * len(spans)
    for group in _overlapping(spans):
        if len(group) <= _SMALL:
            _count_pairs(spans, group, counts)
        else:
            _count_in_tree(spans, group, counts)
    return counts


@dataclass(frozen=True)
class EmptySpan:
    """A receipt whose request began and ended in the same second."""

    second: datetime
    tokens_output: int


def second_tokens(receipts: Sequence[EmptySpan]) -> list[int]:
    """For each, the output tokens of the receipts of its second up to and including it, in order of acceptance."""
    sums: dict[datetime, int] = {}
    found = []
    for receipt in receipts:
        sums[receipt.second] = sums.get(receipt.second, 0) + receipt.tokens_output
        found.append(sums[receipt.second])
    return found


def _overlapping(spans: Sequence[tuple[Moment, Moment]]) -> Iterator[list[int]]:
    """The spans in groups that share no moment, without the empty ones and those that meet no other.

    Each group lists positions in order of acceptance.
    """
    by_start = sorted((i for i, (start, end) in enumerate(spans) if start < end), key=lambda i: spans[i][0])
    group: list[int] = []
    ends_at: Moment | None = None  # of the group so far
    for i in by_start:
        start, end = spans[i]
        if ends_at is not None and start < ends_at:
            group.append(i)
            ends_at = max(ends_at, end)
            continue
        if len(group) > 1:
            yield sorted(group)
        group, ends_at = [i], end
    if len(group) > 1:
        yield sorted(group)


def _count_pairs(spans: Sequence[tuple[Moment, Moment]], group: Sequence[int], counts: list[int]) -> None:
    """Most of them run at the start of one: of the span itself, or of one that begins during it."""
    accepted: list[tuple[Moment, Moment]] = []
    for i in group:
        accepted.append(spans[i])
        first, last = spans[i]
        counts[i] = _running_at(accepted, first)
        for start, _ in accepted:
            if first < start < last:
                counts[i] = max(counts[i], _running_at(accepted, start))


def _running_at(spans: Sequence[tuple[Moment, Moment]], moment: Moment) -> int:
    return sum(start <= moment < end for start, end in spans)


def _count_in_tree(spans: Sequence[tuple[Moment, Moment]], group: Sequence[int], counts: list[int]) -> None:
    """A segment tree over the moments at which a span begins: each span adds 1 to its range, then takes its maximum.

    `most[p]` is the maximum below p, with `added[p]` included; what was added to the ancestors of p is not. Both happen
    in one walk from the range's ends up to the root.
    """
    starts = sorted({spans[i][0] for i in group})
    leaf_of = {start: leaf for leaf, start in enumerate(starts)}
    size = 1 << (len(starts) + 1).bit_length()
    most, added = [0] * (2 * size), [0] * (2 * size)
    for i in group:
        start, end = spans[i]
        left = leaf_of[start] + size  # leaves are numbered from 1, so this is the one before the range
        right = bisect_left(starts, end) + 1 + size  # the one after it
        of_left = of_right = -len(group)  # nothing of the range seen on that side yet
        while left ^ right ^ 1:
            if not left & 1:
                inside = left + 1
                most[inside] += 1
                added[inside] += 1
                if most[inside] > of_left:
                    of_left = most[inside]
            if right & 1:
                inside = right - 1
                most[inside] += 1
                added[inside] += 1
                if most[inside] > of_right:
                    of_right = most[inside]
            left >>= 1
            right >>= 1
            of_left += added[left]
            of_right += added[right]
            low, high = most[2 * left], most[2 * left + 1]
            most[left] = (low if low > high else high) + added[left]
            low, high = most[2 * right], most[2 * right + 1]
            most[right] = (low if low > high else high) + added[right]
        found = max(of_left, of_right)
        left >>= 1
        while left:
            low, high = most[2 * left], most[2 * left + 1]
            most[left] = (low if low > high else high) + added[left]
            found += added[left]
            left >>= 1
        counts[i] = found
