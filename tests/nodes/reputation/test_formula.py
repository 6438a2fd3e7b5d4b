"""The formula: exact to the last hundredth, monotonic, and limited to fourteen days."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.reputation.formula import (
    RULES,
    UNITS_PER_DAY,
    WINDOW_DAYS,
    EvidenceDay,
    Observation,
    ObservationKind,
    SubScore,
    day_scores,
    forecast,
    r_alone,
    reputation,
)

TODAY = date(2026, 6, 14)
LAST_MINUTE = datetime.combine(TODAY, time(23, 59, 59), UTC)
REAL_KINDS = sorted(RULES)


@st.composite
def observations(draw: st.DrawFn) -> tuple[Observation, ...]:
    kinds = draw(st.sets(st.sampled_from(REAL_KINDS)))
    found = []
    for kind in sorted(kinds):
        total = draw(st.integers(0, 3000))
        failed = total if kind is ObservationKind.FORGERY else draw(st.integers(0, total))
        found.append(Observation(kind, failed, total))
    return tuple(found)


histories = st.dictionaries(st.integers(0, 20), observations(), max_size=20).map(
    lambda found: [EvidenceDay(TODAY - timedelta(days=ago), seen) for ago, seen in found.items()]
)


def good_day(ago: int = 0, **failed: int) -> EvidenceDay:
    """A busy day on which nothing failed except what is given."""
    totals = {"silence": 1440, "health": 1440, "audit": 24, "receipt": 300, "latency": 1440, "conduct": 10}
    seen = tuple(
        Observation(ObservationKind(kind), failed.get(kind, 0), total) for kind, total in totals.items()
    )
    return EvidenceDay(TODAY - timedelta(days=ago), seen)


@given(histories)
def test_r_and_the_points_lost_add_up_to_a_hundred_exactly(days: list[EvidenceDay]) -> None:
    found = reputation(days, today=TODAY)
    if found is None:
        assert not any(
            each.total
            for day in days
            for each in day.observations
            if day.day > TODAY - timedelta(days=WINDOW_DAYS)
        )
        return
    assert found.r + sum(cause.points for cause in found.causes) == 100
    assert found.lost == sum(part.points_lost for part in found.parts)
    assert 0 <= found.r <= 100
    assert all(cause.points >= 0 for cause in found.causes)
    assert found.r == found.r.quantize(Decimal("0.01"))


@given(histories, st.randoms())
def test_the_order_in_which_things_are_known_does_not_matter(days: list[EvidenceDay], random: object) -> None:
    shuffled = [EvidenceDay(day.day, tuple(reversed(day.observations))) for day in reversed(days)]
    before, after = reputation(days, today=TODAY), reputation(shuffled, today=TODAY)
    assert (before and before.r) == (after and after.r)
    assert (before and sorted(map(str, before.causes))) == (after and sorted(map(str, after.causes)))


@given(histories, st.integers(0, 13), st.sampled_from(REAL_KINDS))
def test_one_more_failure_never_raises_r(days: list[EvidenceDay], ago: int, kind: ObservationKind) -> None:
    day = TODAY - timedelta(days=ago)
    before = reputation(days, today=TODAY)
    if before is None:
        return
    seen = {each.kind: each for known in days if known.day == day for each in known.observations}
    old = seen.get(kind, Observation(kind, 0, 0))
    worse = {**seen, kind: Observation(kind, old.failed + 1, old.total + 1)}
    others = [known for known in days if known.day != day]
    after = reputation([*others, EvidenceDay(day, tuple(worse.values()))], today=TODAY)
    assert after is not None
    assert after.r <= before.r


@given(
    histories,
    st.integers(0, 13),
    st.sampled_from([kind for kind in REAL_KINDS if kind is not ObservationKind.FORGERY]),
)
def test_one_more_pass_never_lowers_r(days: list[EvidenceDay], ago: int, kind: ObservationKind) -> None:
    day = TODAY - timedelta(days=ago)
    before = reputation(days, today=TODAY)
    if before is None:
        return
    seen = {each.kind: each for known in days if known.day == day for each in known.observations}
    old = seen.get(kind, Observation(kind, 0, 0))
    better = {**seen, kind: Observation(kind, old.failed, old.total + 1)}
    others = [known for known in days if known.day != day]
    after = reputation([*others, EvidenceDay(day, tuple(better.values()))], today=TODAY)
    assert after is not None
    assert after.r >= before.r


@pytest.mark.parametrize("kind", [ObservationKind.AUDIT, ObservationKind.RECEIPT])
def test_passing_makes_up_for_failures_step_by_step(kind: ObservationKind) -> None:
    scores = []
    for total in range(4, 200):
        found = reputation([EvidenceDay(TODAY, (Observation(kind, 4, total),))], today=TODAY)
        assert found is not None
        scores.append(found.r)
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_a_failure_counts_as_harshness_observations() -> None:
    # 2 failed audits count as 8 beside the 6 that passed: 8 of 14 lost, and 14 of 24 of the half day's worth
    each = Observation(ObservationKind.AUDIT, 2, 8)
    assert (each.units, each.loss) == (14 * UNITS_PER_DAY // 48, Fraction(800, 14))


@given(histories)
def test_days_outside_of_the_window_count_for_nothing(days: list[EvidenceDay]) -> None:
    recent = [day for day in days if day.day > TODAY - timedelta(days=WINDOW_DAYS)]
    assert reputation(days, today=TODAY) == reputation(recent, today=TODAY)


@settings(deadline=None)
@given(histories)
def test_a_cause_is_there_until_the_day_it_expires(days: list[EvidenceDay]) -> None:
    found = reputation(days, today=TODAY)
    for cause in found.causes if found else ():
        if cause.day is None or cause.expires_on is None:
            continue
        for day, counts in ((cause.expires_on - timedelta(days=1), True), (cause.expires_on, False)):
            then = reputation(days, today=day)
            causes = then.causes if then else ()
            assert any((each.kind, each.day) == (cause.kind, cause.day) for each in causes) is counts


@given(histories)
def test_the_number_equals_that_of_the_explanation(days: list[EvidenceDay]) -> None:
    recent = [day for day in days if TODAY - timedelta(days=WINDOW_DAYS) < day.day <= TODAY]
    seen = [(each.kind, each.failed, each.total) for day in recent for each in day.observations]
    found = reputation(recent, today=TODAY)
    assert r_alone(seen, lambda: recent, today=TODAY) == (found.r if found else None)


def test_at_the_border_between_two_hundredths_the_exact_sum_decides() -> None:
    # 35 % · 0.7 · 1/140 · 100 = 0.175 points, which is 0.18 exactly and no matter of floating point
    days = [good_day(ago) for ago in range(1, 14)] + [good_day(0, silence=144)]
    seen = [(each.kind, each.failed, each.total) for day in days for each in day.observations]
    asked: list[bool] = []

    def exactly() -> list[EvidenceDay]:
        asked.append(True)
        return days

    assert r_alone(seen, exactly, today=TODAY) == Decimal("99.82")
    assert asked


def test_every_weight_is_a_whole_number_of_units() -> None:
    for rule in RULES.values():
        assert (UNITS_PER_DAY * rule.share / rule.full).denominator == 1


def test_fourteen_perfect_days_are_a_hundred() -> None:
    found = reputation([good_day(ago) for ago in range(14)], today=TODAY)
    assert found is not None
    assert (found.r, found.causes) == (Decimal(100), ())


def test_without_evidence_there_is_no_score() -> None:
    assert reputation([], today=TODAY) is None
    assert (
        reputation(
            [EvidenceDay(TODAY, (Observation(ObservationKind.SILENCE, 0, 0, exempt=60),))], today=TODAY
        )
        is None
    )


def test_thin_evidence_keeps_r_near_seventy_and_says_so() -> None:
    first_hour = EvidenceDay(
        TODAY, (Observation(ObservationKind.SILENCE, 0, 60), Observation(ObservationKind.HEALTH, 0, 5))
    )
    found = reputation([first_hour], today=TODAY)
    assert found is not None
    assert Decimal(70) < found.r < Decimal(71)
    assert {cause.kind for cause in found.causes} == {ObservationKind.THIN}
    assert all(cause.expires_on is None for cause in found.causes)
    assert "of 3 days' worth of evidence" in found.causes[0].sentence


def test_a_silent_day_costs_what_the_formula_says() -> None:
    days = [good_day(ago) for ago in range(1, 14)] + [good_day(0, silence=1440)]
    found = reputation(days, today=TODAY)
    assert found is not None
    # 35 % of R · 0.7 of the day · 1 of 14 days · 100 points
    assert found.lost == Decimal("1.75")
    (cause,) = found.causes
    assert cause.sentence == "1,440 of 1,440 minutes without a heartbeat"
    assert (cause.day, cause.expires_on) == (TODAY, TODAY + timedelta(days=14))


def test_a_forged_receipt_costs_a_whole_day_of_correctness() -> None:
    forged = EvidenceDay(TODAY, (*good_day().observations, Observation(ObservationKind.FORGERY, 1, 1)))
    found = reputation([forged, *(good_day(ago) for ago in range(1, 14))], today=TODAY)
    assert found is not None
    # the day has its usual evidence and one day's worth that scores nothing: 1 of 15
    assert found.lost == Decimal("2.33")


def test_two_audits_failed_of_eight_score_six_of_fourteen() -> None:
    day = EvidenceDay(TODAY, (Observation(ObservationKind.AUDIT, 2, 8),))
    assert day_scores(day)[SubScore.CORRECTNESS] == Decimal("42.86")
    assert day_scores(day)[SubScore.RELIABILITY] is None


def test_the_forecast_forgets_what_expires_and_adds_clean_days() -> None:
    bad_then_good = [good_day(13, silence=1440), *(good_day(ago) for ago in range(13))]
    now = reputation(bad_then_good, today=TODAY)
    assert now is not None
    assert now.r < 100
    assert forecast(bad_then_good, seen_until=LAST_MINUTE, end=TODAY + timedelta(days=1)) == Decimal(100)


@pytest.mark.parametrize("history", [3, 8, 13])
@pytest.mark.parametrize("hour", [0, 1, 6, 17])
@pytest.mark.parametrize("ahead", [0, 1, 3, 7])
def test_the_forecast_is_what_those_days_bring(history: int, hour: int, ahead: int) -> None:
    past = [
        good_day(ago, silence=300 * (ago % 3), audit=ago % 2, conduct=ago % 2)
        for ago in range(1, history + 1)
    ]
    totals = {each.kind: each.total for each in good_day().observations}
    failed = {ObservationKind.SILENCE: 20, ObservationKind.HEALTH: 10} if hour else {}
    today = {
        kind: total * hour // 24 for kind, total in totals.items() if kind is not ObservationKind.CONDUCT
    }
    so_far = [Observation(kind, failed.get(kind, 0), total) for kind, total in today.items()]
    so_far.append(Observation(ObservationKind.CONDUCT, 0, max(1, round(10 * hour / 24))))
    known = [*past, EvidenceDay(TODAY, tuple(so_far) if hour else ())]
    told = forecast(
        known,
        seen_until=datetime.combine(TODAY, time(hour), UTC),
        end=TODAY + timedelta(days=ahead),
    )
    ended = EvidenceDay(
        TODAY, tuple(Observation(kind, failed.get(kind, 0), total) for kind, total in totals.items())
    )
    later = [good_day(-number) for number in range(1, ahead + 1)]
    then = reputation([*past, ended, *later], today=TODAY + timedelta(days=ahead))
    assert told == (then and then.r)


def test_part_of_a_day_is_not_usual() -> None:
    # a node that joined yesterday at 23:00: its usual day is not one of sixty minutes
    joined = EvidenceDay(
        TODAY - timedelta(days=1),
        (Observation(ObservationKind.SILENCE, 0, 60), Observation(ObservationKind.AUDIT, 0, 1)),
    )
    told = forecast([joined], seen_until=datetime.combine(TODAY, time(), UTC), end=TODAY + timedelta(days=1))
    full = {
        ObservationKind.SILENCE: 1440,
        ObservationKind.HEALTH: 200,
        ObservationKind.AUDIT: 24,
        ObservationKind.LATENCY: 200,
        ObservationKind.CONDUCT: 10,
    }
    days = [
        EvidenceDay(
            TODAY + timedelta(days=number), tuple(Observation(kind, 0, total) for kind, total in full.items())
        )
        for number in range(2)
    ]
    then = reputation([joined, *days], today=TODAY + timedelta(days=1))
    assert told == (then and then.r)


def test_a_failure_of_today_stays_in_the_forecast() -> None:
    days = [good_day(ago) for ago in range(1, 14)] + [good_day(0, audit=2, conduct=5)]
    now = reputation(days, today=TODAY)
    told = forecast(days, seen_until=LAST_MINUTE, end=TODAY + timedelta(days=7))
    assert told == (now and now.r)


def test_without_evidence_nothing_is_forecast() -> None:
    assert forecast([], seen_until=LAST_MINUTE, end=TODAY) is None


def test_nonsense_cannot_be_observed() -> None:
    with pytest.raises(ValueError, match="5 of 4"):
        Observation(ObservationKind.AUDIT, 5, 4)
