"""A node's reputation R, from 0 to 100, and the cause of every point lost. Pure: no clock, no database.

R = 0.35 Reliability + 0.35 Correctness + 0.20 Efficiency + 0.10 Policy (design, "Reputation"; PRD §10). Each
sub-score is the mean of the scores of its observations over the 14 days that end today (UTC), weighted by how
much was observed. An observation says "`failed` of `total`" for one day and one kind. It is worth at most its
`share` of a day, so that a busy day does not outweigh the others. While there is less than THIN_DAYS days'
worth of evidence, the missing evidence counts as 70 points.

    seen    s = total - failed + harshness · failed      (a failure counts as so many observations)
    weight  w = share · min(1, s / full)                 loss  l = 100 · harshness · failed / s
    thin    k = max(0, THIN_DAYS - Σw)                   sub-score = (Σ w·(100 - l) + k·70) / (Σw + k)

So an observation costs R exactly `sub-score's weight · w·l / (Σw + k)` points, missing evidence `sub-score's
weight · k·30 / (Σw + k)`, and these add up to 100 - R. A pass never lowers R, and a failure never raises it.
The reasons are in docs/decisions/0005-reputation.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

WINDOW_DAYS = 14
THIN_DAYS = 3
PRIOR = 70


class SubScore(StrEnum):
    """The four parts of R."""

    RELIABILITY = "reliability"
    CORRECTNESS = "correctness"
    EFFICIENCY = "efficiency"
    POLICY = "policy"

    @property
    def label(self) -> str:
        return self.value.capitalize()


WEIGHTS: Mapping[SubScore, Fraction] = {
    SubScore.RELIABILITY: Fraction(35, 100),
    SubScore.CORRECTNESS: Fraction(35, 100),
    SubScore.EFFICIENCY: Fraction(20, 100),
    SubScore.POLICY: Fraction(10, 100),
}


class ObservationKind(StrEnum):
    """The kinds of evidence, each of which can cost points."""

    SILENCE = "silence"
    HEALTH = "health"
    AUDIT = "audit"
    RECEIPT = "receipt"
    FORGERY = "forgery"
    LATENCY = "latency"
    CONDUCT = "conduct"
    THIN = "thin"


@dataclass(frozen=True)
class Rule:
    """How one kind of observation counts in the formula above.

    `sentence` is formatted with `failed` and `total`.
    """

    sub_score: SubScore
    share: Fraction
    full: int
    harshness: int
    sentence: str


RULES: Mapping[ObservationKind, Rule] = {
    ObservationKind.SILENCE: Rule(
        SubScore.RELIABILITY, Fraction(7, 10), 1440, 1, "{failed} of {total} minutes without a heartbeat"
    ),
    ObservationKind.HEALTH: Rule(
        SubScore.RELIABILITY, Fraction(3, 10), 200, 1, "{failed} of {total} health probes failed"
    ),
    # one failed audit counts as four
    ObservationKind.AUDIT: Rule(
        SubScore.CORRECTNESS, Fraction(1, 2), 24, 4, "{failed} of {total} audits failed"
    ),
    ObservationKind.RECEIPT: Rule(
        SubScore.CORRECTNESS,
        Fraction(1, 2),
        100,
        2,
        "{failed} of {total} receipts report a failed request",
    ),
    # observed only when it happens; such a day scores nothing
    ObservationKind.FORGERY: Rule(
        SubScore.CORRECTNESS, Fraction(1), 1, 1, "{failed} receipts with a forged signature"
    ),
    ObservationKind.LATENCY: Rule(
        SubScore.EFFICIENCY, Fraction(1), 200, 1, "{failed} of {total} latency probes over the target"
    ),
    # in tenths of a day: an unannounced outage costs one, a quarantine five
    ObservationKind.CONDUCT: Rule(SubScore.POLICY, Fraction(1), 10, 1, "quarantined, or offline unannounced"),
}
MINUTES_PER_DAY = 1440
OUTAGE_TENTHS = 1
QUARANTINE_TENTHS = 5

# Every weight is a whole number of these units, since each rule's full / share divides it. Sums are exact
# integers.
UNITS_PER_DAY = 72_000
_WEIGHTS = {sub_score: float(weight) for sub_score, weight in WEIGHTS.items()}
_TOO_NEAR = 1e-6  # of a hundredth; floating-point sums are far more exact than that
_UNITS = {kind: int(UNITS_PER_DAY * rule.share / rule.full) for kind, rule in RULES.items()}


@dataclass(frozen=True)
class Observation:
    """A day's evidence of one kind: `failed` of `total`. `exempt` is how many were left out as exempt."""

    kind: ObservationKind
    failed: int
    total: int
    exempt: int = 0
    note: str = ""  # replaces the rule's sentence if the counts alone say too little

    def __post_init__(self) -> None:
        if not 0 <= self.failed <= self.total:
            raise ValueError(f"{self.failed} of {self.total} cannot be")

    @property
    def units(self) -> int:
        """Its weight as evidence, in units of which a day has UNITS_PER_DAY."""
        rule = RULES[self.kind]
        return min(_seen(rule, self.failed, self.total), rule.full) * _UNITS[self.kind]

    @property
    def loss(self) -> Fraction:
        """The points lost, from 0 to 100."""
        if not self.failed:
            return Fraction(0)
        rule = RULES[self.kind]
        return Fraction(100 * rule.harshness * self.failed, _seen(rule, self.failed, self.total))

    @property
    def sentence(self) -> str:
        return self.note or RULES[self.kind].sentence.format(
            failed=f"{self.failed:,}", total=f"{self.total:,}"
        )


@dataclass(frozen=True)
class EvidenceDay:
    """One day's observations, at most one of a kind."""

    day: date
    observations: tuple[Observation, ...]


@dataclass(frozen=True)
class Loss:
    """Points that R lost, to the hundredth. `day` and `expires_on` are None for missing evidence."""

    sub_score: SubScore
    kind: ObservationKind
    day: date | None
    sentence: str
    points: Decimal
    expires_on: date | None


@dataclass(frozen=True)
class Part:
    """A sub-score: `score` from 0 to 100, and how many days' worth of evidence it has."""

    sub_score: SubScore
    score: Decimal
    evidence_days: Decimal
    points_lost: Decimal
    weight_percent: int


@dataclass(frozen=True)
class Reputation:
    """R with its parts and losses. `r` and the points of all losses add up to exactly 100."""

    r: Decimal
    parts: tuple[Part, ...]
    causes: tuple[Loss, ...]

    @property
    def lost(self) -> Decimal:
        return 100 - self.r


def reputation(days: Iterable[EvidenceDay], *, today: date) -> Reputation | None:
    """R as of today, or None without any evidence.

    Days outside of the window do not count. The order of days and observations does not matter.
    """
    known = _in_window(days, today)
    if not any(observation.total for day in known for observation in day.observations):
        return None
    seen: dict[SubScore, list[tuple[EvidenceDay, Observation]]] = {sub_score: [] for sub_score in WEIGHTS}
    for day in known:
        for each in day.observations:
            seen[RULES[each.kind].sub_score].append((day, each))
    exact: list[tuple[Loss, Fraction]] = []
    scores: dict[SubScore, tuple[Fraction, int]] = {}
    for sub_score, weight in WEIGHTS.items():
        evidence = sum(each.units for _, each in seen[sub_score])
        thin = max(0, THIN_DAYS * UNITS_PER_DAY - evidence)
        lost = [
            (_cause(sub_score, day, each), each.loss * Fraction(each.units, evidence + thin))
            for day, each in seen[sub_score]
            if each.failed
        ]
        if thin:
            lost.append((_thin(sub_score, evidence), Fraction((100 - PRIOR) * thin, evidence + thin)))
        exact += [(cause, weight * points) for cause, points in lost]
        scores[sub_score] = (100 - sum((points for _, points in lost), Fraction(0)), evidence)
    total_lost = _hundredths(sum((points for _, points in exact), Fraction(0)))
    causes = _rounded(exact, total_lost)
    parts = tuple(_part(sub_score, *scores[sub_score], causes) for sub_score in WEIGHTS)
    return Reputation(_from_hundredths(10_000 - total_lost), parts, causes)


def r_alone(
    observations: Iterable[tuple[ObservationKind, int, int]],
    days: Callable[[], Iterable[EvidenceDay]],
    *,
    today: date,
) -> Decimal | None:
    """The same number as `reputation(days(), today=today).r`, but fast enough for ten thousand nodes.

    `observations` are (kind, failed, total) of the days within the window. It uses floating point. If the
    result is too near to the border between two hundredths, it calls `days` and computes exactly.
    """
    units, lost, any_total = dict.fromkeys(WEIGHTS, 0), dict.fromkeys(WEIGHTS, 0.0), False
    for kind, failed, total in observations:
        if not total:
            continue
        any_total = True
        rule = RULES[kind]
        seen = _seen(rule, failed, total) if failed else total
        worth = min(seen, rule.full) * _UNITS[kind]
        units[rule.sub_score] += worth
        if failed:
            lost[rule.sub_score] += worth * (rule.harshness * failed / seen)
    if not any_total:
        return None
    points = 0.0
    for sub_score, weight in _WEIGHTS.items():
        thin = max(0, THIN_DAYS * UNITS_PER_DAY - units[sub_score])
        points += weight * (100 * lost[sub_score] + (100 - PRIOR) * thin) / (units[sub_score] + thin)
    rounded = points * 100 + 0.5
    if abs(rounded - round(rounded)) < _TOO_NEAR:
        found = reputation(days(), today=today)
        return found.r if found else None
    return _from_hundredths(10_000 - int(rounded))


def day_scores(day: EvidenceDay) -> dict[SubScore, Decimal | None]:
    """The sub-scores of this day alone, without regard to missing evidence. None if nothing was observed."""
    scores: dict[SubScore, Decimal | None] = {}
    for sub_score in WEIGHTS:
        seen = [each for each in day.observations if RULES[each.kind].sub_score is sub_score]
        evidence = sum(each.units for each in seen)
        lost = sum((each.units * each.loss for each in seen), Fraction(0))
        scores[sub_score] = _decimal(100 - lost / evidence) if evidence else None
    return scores


def forecast(days: Iterable[EvidenceDay], *, seen_until: datetime, end: date) -> Decimal | None:
    """R at the end of the day `end` if nothing fails after `seen_until`. None without evidence.

    The rest of the present day and the days after it are assumed to be usual days of the node (`_usual`).
    """
    begun = seen_until.astimezone(UTC)
    today = begun.date()
    known = [day for day in _in_window(days, today) if day.day <= today]
    if not any(each.total for day in known for each in day.observations):
        return None
    usual = _usual([day for day in known if day.day < today])
    so_far = next((day.observations for day in known if day.day == today), ())
    minutes_left = MINUTES_PER_DAY - (begun.hour * 60 + begun.minute)
    ahead = [EvidenceDay(today, _completed(so_far, usual, minutes_left))]
    ahead += [
        EvidenceDay(today + timedelta(days=number), _completed((), usual, MINUTES_PER_DAY))
        for number in range(1, (end - today).days + 1)
    ]
    then = reputation([*(day for day in known if day.day < today), *ahead], today=max(end, today))
    return then.r if then else None


def conduct_tenths(minutes_due: int) -> int:
    """The weight, in tenths, of a day without a breach for Policy.

    It grows with the minutes due and is never 0.
    """
    return min(10, max(1, round(Fraction(10 * minutes_due, MINUTES_PER_DAY))))


def _usual(days: Sequence[EvidenceDay]) -> Mapping[ObservationKind, int]:
    """How much of each kind a complete day of the node has: the median of its complete days.

    Without a complete day, the amount that counts in full is used, but no receipts, as requests are not
    guaranteed.
    """
    whole = [seen for day in days if _is_whole(seen := {each.kind: each for each in day.observations})]
    if not whole:
        return {
            kind: rule.full
            for kind, rule in RULES.items()
            if kind not in (ObservationKind.RECEIPT, ObservationKind.FORGERY)
        }
    totals: dict[ObservationKind, int] = {
        kind: sorted(seen[kind].total if kind in seen else 0 for seen in whole)[len(whole) // 2]
        for kind in RULES
        if kind is not ObservationKind.FORGERY
    }
    return {**totals, ObservationKind.SILENCE: MINUTES_PER_DAY}


def _is_whole(seen: Mapping[ObservationKind, Observation]) -> bool:
    """Whether every minute of the day was expected, and at least half of them were heard."""
    silence = seen.get(ObservationKind.SILENCE)
    return silence is not None and silence.total >= MINUTES_PER_DAY and 2 * silence.failed <= silence.total


def _completed(
    so_far: Sequence[Observation], usual: Mapping[ObservationKind, int], minutes_left: int
) -> tuple[Observation, ...]:
    """A day's observations, extended by a usual day's share for the minutes left, in which nothing fails."""
    seen = {each.kind: each for each in so_far}
    for kind, total in usual.items():
        before = seen.get(kind, Observation(kind, 0, 0))
        more = round(Fraction(total * minutes_left, MINUTES_PER_DAY))
        seen[kind] = replace(before, total=before.total + more)
    conduct = seen.get(ObservationKind.CONDUCT, Observation(ObservationKind.CONDUCT, 0, 0))
    if not conduct.failed:
        seen[ObservationKind.CONDUCT] = replace(
            conduct, total=conduct_tenths(seen[ObservationKind.SILENCE].total)
        )
    else:
        seen[ObservationKind.CONDUCT] = replace(conduct, total=10)
    return tuple(each for each in seen.values() if each.total)


def _seen(rule: Rule, failed: int, total: int) -> int:
    """The number of observations, with each failure counted `harshness` times."""
    return total + (rule.harshness - 1) * failed


def _in_window(days: Iterable[EvidenceDay], today: date) -> list[EvidenceDay]:
    first = today - timedelta(days=WINDOW_DAYS - 1)
    return sorted((day for day in days if first <= day.day <= today), key=lambda day: day.day)


def _cause(sub_score: SubScore, day: EvidenceDay, each: Observation) -> Loss:
    expires_on = day.day + timedelta(days=WINDOW_DAYS)
    return Loss(sub_score, each.kind, day.day, each.sentence, Decimal(0), expires_on)


def _thin(sub_score: SubScore, evidence: int) -> Loss:
    sentence = (
        f"{_days(evidence)} of {THIN_DAYS} days' worth of evidence: what is missing counts as {PRIOR} points"
    )
    return Loss(sub_score, ObservationKind.THIN, None, sentence, Decimal(0), None)


def _part(sub_score: SubScore, score: Fraction, evidence: int, causes: Sequence[Loss]) -> Part:
    lost = sum((cause.points for cause in causes if cause.sub_score is sub_score), Decimal(0))
    percent = int(WEIGHTS[sub_score] * 100)
    return Part(sub_score, _decimal(score), _days(evidence), lost, percent)


def _rounded(exact: Sequence[tuple[Loss, Fraction]], total: int) -> tuple[Loss, ...]:
    """The losses with their points rounded to hundredths that add up to `total`, the largest first.

    Those with the largest remainders are rounded up.
    """
    floors = [int(points * 100) for _, points in exact]
    by_remainder = sorted(
        range(len(exact)), key=lambda i: (floors[i] - exact[i][1] * 100, _order(exact[i][0]))
    )
    up = set(by_remainder[: total - sum(floors)])
    causes = [
        replace(cause, points=_from_hundredths(floors[i] + (i in up))) for i, (cause, _) in enumerate(exact)
    ]
    return tuple(sorted(causes, key=lambda cause: (-cause.points, _order(cause))))


def _order(cause: Loss) -> tuple[date, str, str]:
    return cause.day or date.max, cause.sub_score, cause.kind


def _hundredths(points: Fraction) -> int:
    """In hundredths, rounded half up."""
    return int(points * 100 + Fraction(1, 2))


def _days(units: int) -> Decimal:
    return _decimal(Fraction(units, UNITS_PER_DAY))


def _decimal(value: Fraction) -> Decimal:
    return _from_hundredths(_hundredths(value))


def _from_hundredths(count: int) -> Decimal:
    """A decimal with two digits after the point, as it is shown."""
    return Decimal(count).scaleb(-2)
