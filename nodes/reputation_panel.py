"""What the page says of a node's reputation: the score, each point that was lost, and the way back."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db.models import Max

from nodes.actions.reputation import days_of
from nodes.lifecycle import REPUTATION_FLOOR
from nodes.models import Exemption, ExemptionKind, Node
from nodes.reputation import WINDOW_DAYS, Cause, Day, Kind, Part, Reputation, SubScore, forecast, reputation

FORECAST_DAYS = (1, 3, 7)

_HINTS = {
    SubScore.RELIABILITY: "Is it there? Heartbeats and health probes",
    SubScore.CORRECTNESS: "Does it do what it says? Audits and receipts",
    SubScore.EFFICIENCY: "Is it fast enough? Latency probes",
    SubScore.POLICY: "Does it keep the rules? Quarantines and unannounced outages",
}


@dataclass(frozen=True)
class Group:
    """A sub-score and the causes that cost it points, the heaviest first."""

    part: Part
    causes: list[Cause]
    hint: str


@dataclass(frozen=True)
class Pardon:
    """A window in which nothing was held against the node, in words."""

    label: str
    message: str
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True)
class Outlook:
    """R after so many more clean days."""

    clean_days: int
    r: Decimal
    gain: Decimal


@dataclass(frozen=True)
class ReputationPanel:
    """`found` is None while there is no evidence. Points and pardons are for those who manage the node."""

    found: Reputation | None
    groups: list[Group]
    pardons: list[Pardon]
    exempt_minutes: int
    outlook: list[Outlook]
    last_probe_at: datetime | None
    computed_at: datetime | None
    floor: int = REPUTATION_FLOOR
    window_days: int = WINDOW_DAYS


def reputation_panel(node: Node, *, at: datetime) -> ReputationPanel:
    """Three queries, whatever the node went through."""
    today = at.astimezone(UTC).date()
    days = days_of(node.pk, today=today)
    found = reputation(days, today=today)
    since = at - timedelta(days=WINDOW_DAYS)
    pardons = Exemption.objects.of_node(node).overlapping(since, at + timedelta(days=WINDOW_DAYS))
    probes = (node.last_health_at, node.last_latency_at, node.last_audit_at)
    return ReputationPanel(
        found=found,
        groups=_groups(found),
        pardons=[_pardon(each) for each in pardons[:20]],
        exempt_minutes=_exempt_minutes(days),
        outlook=_outlook(days, found, at),
        last_probe_at=max((each for each in probes if each), default=None),
        computed_at=node.reputation_days.aggregate(at=Max("computed_at"))["at"],
    )


def _groups(found: Reputation | None) -> list[Group]:
    if found is None:
        return []
    return [
        Group(
            part,
            [cause for cause in found.causes if cause.sub_score is part.sub_score],
            _HINTS[part.sub_score],
        )
        for part in found.parts
    ]


def _outlook(days: list[Day], found: Reputation | None, at: datetime) -> list[Outlook]:
    if found is None:
        return []
    today = at.astimezone(UTC).date()
    ahead = [(number, forecast(days, today=today, clean_days=number)) for number in FORECAST_DAYS]
    return [Outlook(number, r, r - found.r) for number, r in ahead if r is not None]


def _exempt_minutes(days: list[Day]) -> int:
    return sum(each.exempt for day in days for each in day.observations if each.kind is Kind.SILENCE)


def _pardon(exemption: Exemption) -> Pardon:
    return Pardon(
        ExemptionKind(exemption.kind).label, exemption.message, exemption.starts_at, exemption.ends_at
    )
