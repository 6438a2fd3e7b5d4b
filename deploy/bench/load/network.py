"""Incidents, maintenance and saved views of the invented network."""

from jatevo.accounts.models import User
from jatevo.local.history.copying import moment
from jatevo.local.history.fleet import DAY, HOUR, InventedFleet, dice
from jatevo.overview.models import Incident, IncidentKind, IncidentState, IncidentUpdate, Severity
from jatevo.overview.status import DAYS
from nodes.models import Exemption, ExemptionKind, SavedView

NETWORK = ""
INCIDENTS = 12


def write_incidents(fleet: InventedFleet, *, by: str, seed: int, now: int) -> int:
    """Writes a dozen incidents of the days that the status page shows, an open one and a planned maintenance.

    Returns how many.
    """
    draw = dice(seed, "incidents")
    regions = [NETWORK, *sorted(fleet.of_region())]
    for number in range(INCIDENTS):
        starts = now - draw.randint(1, (DAYS - 1) * 24) * HOUR
        ends = starts + draw.randint(1, 8) * HOUR // 2
        severity = draw.choice([Severity.INFO, Severity.WARN, Severity.MAJOR])
        _incident(f"Slow answers, case {number + 1}", draw.choice(regions), severity, starts, ends, by)
    _incident("Degraded network", regions[1], Severity.WARN, now - HOUR, None, by)
    Incident.objects.create(
        kind=IncidentKind.MAINTENANCE,
        title="Router replacement",
        region=regions[-1],
        starts_at=moment(now + DAY),
        ends_at=moment(now + DAY + 2 * HOUR),
        exempts_nodes=False,  # no exemption is declared
    )
    return INCIDENTS + 2


def _incident(title: str, region: str, severity: Severity, starts: int, ends: int | None, by: str) -> None:
    incident = Incident.objects.create(
        title=title,
        region=region,
        severity=severity,
        starts_at=moment(starts),
        resolved_at=moment(ends) if ends else None,
        description="Invented, to fill the pages.",
        exempts_nodes=False,
    )
    said = [(starts, IncidentState.INVESTIGATING, "We are looking into it.")]
    said.append((starts + 600, IncidentState.IDENTIFIED, "The cause is known."))
    if ends:
        said.append((ends, IncidentState.RESOLVED, "It is over."))
    IncidentUpdate.objects.bulk_create(
        IncidentUpdate(incident=incident, at=moment(at), state=state, text=text, by=by)
        for at, state, text in said
    )


def write_maintenance(fleet: InventedFleet, *, by: str, now: int) -> None:
    """Announces maintenance of a few nodes."""
    Exemption.objects.bulk_create(
        Exemption(
            kind=ExemptionKind.MAINTENANCE,
            node_id=member.node_id,
            starts_at=moment(now - 600),
            message="New driver",
            created_by=by,
        )
        for member in fleet.members[:: max(1, len(fleet.members) // 10)]
    )


def write_views(users: list[User]) -> None:
    """Writes saved views of each user."""
    views = {"Slow in Asia": "?region=ap-southeast&sort=-p95", "Low reputation": "?reputation_range=0-60"}
    SavedView.objects.bulk_create(
        SavedView(user=user, name=name, query=query) for user in users for name, query in views.items()
    )
