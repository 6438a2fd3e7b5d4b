"""The Reputation tab: the score, the causes of all points lost, and a forecast."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from jatevo.metrics.queries import SETTLED_AFTER
from nodes.models import Exemption, ExemptionKind, Node, ReputationClock
from nodes.reputation.days import days_of
from nodes.reputation.formula import (
    WINDOW_DAYS,
    EvidenceDay,
    Loss,
    ObservationKind,
    Part,
    Reputation,
    SubScore,
    forecast,
    reputation,
)
from nodes.rules.lifecycle import REPUTATION_FLOOR

FORECAST_DAYS = (1, 3, 7)
PARDONS_SHOWN = 20

_HINTS = {
    SubScore.RELIABILITY: "Heartbeats and health probes",
    SubScore.CORRECTNESS: "Audits and receipts",
    SubScore.EFFICIENCY: "Latency probes",
    SubScore.POLICY: "Quarantines and unannounced outages",
}


@dataclass(frozen=True)
class SubScoreLosses:
    """A sub-score and its losses, the largest first."""

    part: Part
    causes: list[Loss]
    hint: str


@dataclass(frozen=True)
class Pardon:
    """An exemption of the node, in words."""

    label: str
    message: str
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True)
class Outages:
    """How many outages the console had, and for how many minutes in total."""

    count: int
    minutes: int


@dataclass(frozen=True)
class Outlook:
    """The forecast of R at the end of the day `ends_on`, after that many more days without failures."""

    clean_days: int
    ends_on: date
    r: Decimal
    gain: Decimal


@dataclass(frozen=True)
class ReputationPanel:
    """`found` is None without evidence. Losses and exemptions are shown only to those who manage the node."""

    found: Reputation | None
    groups: list[SubScoreLosses]
    pardons: list[Pardon]
    outages: Outages
    exempt_minutes: int
    outlook: list[Outlook]
    last_probe_at: datetime | None
    computed_at: datetime | None
    pardoned: Decimal | None
    floor: int = REPUTATION_FLOOR
    window_days: int = WINDOW_DAYS


def reputation_panel(node: Node, *, at: datetime) -> ReputationPanel:
    """Reads the panel with three queries, however long the history is."""
    today = at.astimezone(UTC).date()
    days = days_of(node.pk, today=today)
    found = reputation(days, today=today)
    computed_at = _computed_at(node)
    since = at - timedelta(days=WINDOW_DAYS)
    exempt = list(Exemption.objects.of_node(node).overlapping(since, at + timedelta(days=WINDOW_DAYS)))
    pardons = [each for each in exempt if each.kind != ExemptionKind.OUTAGE]
    outages = [each for each in exempt if each.kind == ExemptionKind.OUTAGE]
    probes = (node.last_health_at, node.last_latency_at, node.last_audit_at)
    return ReputationPanel(
        found=found,
        groups=_groups(found),
        pardons=[_pardon(each) for each in pardons[:PARDONS_SHOWN]],
        outages=_outages(outages, since, at),
        exempt_minutes=_exempt_minutes(days),
        outlook=_outlook(days, found, computed_at, at),
        last_probe_at=max((each for each in probes if each), default=None),
        computed_at=computed_at,
        pardoned=node.pardoned_reputation,
    )


def _computed_at(node: Node) -> datetime | None:
    """When R was last computed, with all others or on demand. None if never."""
    alone = node.reputation_days.order_by().values_list("computed_at", flat=True)
    with_all = ReputationClock.objects.values_list("last_run_at", flat=True)
    return max(alone.union(with_all), default=None)


def _outages(exempt: Sequence[Exemption], since: datetime, at: datetime) -> Outages:
    """The console's own outages within the window, in minutes, rounded up."""
    away = [(each.ends_at or at) - max(each.starts_at, since) for each in exempt]
    return Outages(len(away), -int(-sum(away, timedelta(0)).total_seconds() // 60))


def _groups(found: Reputation | None) -> list[SubScoreLosses]:
    if found is None:
        return []
    return [
        SubScoreLosses(
            part,
            # an outage that rounds to 0 minutes is left out
            [cause for cause in found.causes if cause.sub_score is part.sub_score and cause.points],
            _HINTS[part.sub_score],
        )
        for part in found.parts
    ]


def _outlook(
    days: list[EvidenceDay], found: Reputation | None, computed_at: datetime | None, at: datetime
) -> list[Outlook]:
    if found is None:
        return []
    seen_until = (computed_at or at) - SETTLED_AFTER
    today = at.astimezone(UTC).date()
    outlook = []
    for number in FORECAST_DAYS:
        ends_on = today + timedelta(days=number)
        r = forecast(days, seen_until=seen_until, end=ends_on)
        if r is not None:
            outlook.append(Outlook(number, ends_on, r, r - found.r))
    return outlook


def _exempt_minutes(days: list[EvidenceDay]) -> int:
    return sum(
        each.exempt for day in days for each in day.observations if each.kind is ObservationKind.SILENCE
    )


def _pardon(exemption: Exemption) -> Pardon:
    return Pardon(
        ExemptionKind(exemption.kind).label, exemption.message, exemption.starts_at, exemption.ends_at
    )
