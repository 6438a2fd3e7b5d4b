"""Silence of most nodes at once: which nodes count, exactly half, gradual silence, and whose outage it is."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from nodes.rules.common_silence import LONGEST_OUTAGE, LastHeard, common_silence, lasts

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)


def heard(*seconds_ago: float, org: str | None = None) -> list[LastHeard]:
    """A node for each argument, with its own organisation unless they share one."""
    return [
        LastHeard(org or f"org-{number}-{ago}", NOW - timedelta(seconds=ago))
        for number, ago in enumerate(seconds_ago)
    ]


def begun(nodes: Iterable[LastHeard]) -> bool:
    return common_silence(list(nodes), at=NOW, offline_after=FIVE_MINUTES) is not None


def test_silence_of_most_is_found_with_its_beginning() -> None:
    found = common_silence(heard(5, 2, 100, 90, 80, 70), at=NOW, offline_after=FIVE_MINUTES)
    assert found is not None
    assert found.since == NOW - timedelta(seconds=100)
    assert (found.silent, found.active, found.silent_orgs, found.orgs) == (4, 6, 4, 6)


@pytest.mark.parametrize(
    ("seconds_ago", "is_outage"),
    [
        ([90] * 5, True),
        ([90] * 4, False),  # too few to tell
        ([90] * 3 + [5] * 3, False),  # exactly half
        ([90] * 4 + [5] * 3, True),
        ([59] * 6, False),  # not long enough yet
        ([60] * 6, True),
        ([180, 170, 160, 80, 70, 60], True),  # within two minutes
        ([290, 280, 270, 100, 90, 80], False),  # three at first, and three much later
        ([300, 240, 180, 120, 60, 0], False),  # trickling, a minute apart
        ([180, 160, 140, 120, 100, 80], True),  # trickling, all within two minutes
        ([5] * 6, False),
        ([], False),
    ],
)
def test_most_within_two_minutes_and_for_a_minute(seconds_ago: list[float], is_outage: bool) -> None:
    assert begun(heard(*seconds_ago)) is is_outage


def test_an_org_that_switches_off_its_nine_tenths_of_the_network_has_its_own_outage() -> None:
    big, others = heard(*[90] * 18, org="big"), heard(5, org="one") + heard(5, org="two")
    assert not begun(big + others)
    assert not begun(big + heard(5, org="one"))  # half of two organisations
    assert begun(big)  # no other node shows that heartbeats arrive
    assert begun(big + heard(95, org="one") + heard(5, org="two"))


def test_an_org_is_silent_with_most_of_its_nodes() -> None:
    half = heard(90, 90, 5, 5, org="a")
    assert not begun(half + heard(90, 90, 90, org="b") + heard(5, org="c"))
    assert begun(heard(90, 90, 5, org="a") + heard(90, 90, 90, org="b") + heard(5, org="c"))


def test_it_lasts_until_half_are_heard_again_and_a_day_at_most() -> None:
    def goes_on(*seconds_ago: float, since: timedelta = timedelta(minutes=10)) -> bool:
        return lasts(heard(*seconds_ago), since=NOW - since, at=NOW, offline_after=FIVE_MINUTES)

    assert goes_on(600, 600, 600, 5, 5)
    assert not goes_on(600, 600, 5, 5)
    assert not goes_on()
    assert not goes_on(600, 600, 600, since=LONGEST_OUTAGE)


def test_it_is_found_before_a_shorter_deadline_too() -> None:
    deadline = timedelta(seconds=20)
    nodes = heard(4, 6, 8, 10, 12)
    assert common_silence(nodes, at=NOW, offline_after=deadline) is not None
    assert common_silence(heard(3, 3, 3, 3, 3), at=NOW, offline_after=deadline) is None
