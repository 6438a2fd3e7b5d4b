"""Incidents in words: the network's present state, and which nodes are exempt."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Q

from jatevo.overview.kpis import SMALLEST_PUBLIC_REGION
from jatevo.overview.models import Incident, IncidentKind, Severity
from nodes.models import Node
from nodes.rules.lifecycle import Status


@dataclass(frozen=True)
class Overall:
    """The state of the network in one sentence. `tone` is the name of its colour."""

    sentence: str
    tone: str
    icon: str


def overall(under_way: Sequence[Incident]) -> Overall:
    """The state by announced incidents, not by figures, to avoid false alarms."""
    incidents = [each for each in under_way if each.kind == IncidentKind.INCIDENT]
    if any(each.severity == Severity.MAJOR for each in incidents):
        return Overall("A major incident is under way.", "bad", "warning")
    if any(each.severity == Severity.WARN for each in incidents):
        return Overall("Parts of the network are degraded.", "warn", "warning")
    if incidents:
        return Overall("The network is operational. See the notice below.", "info", "info")
    if under_way:
        return Overall("Maintenance is under way.", "info", "info")
    return Overall("No incidents are under way.", "ok", "active")


def exemption_sentence(incident: Incident, *, fold_small: bool) -> str:
    """Which nodes lose no reputation because of the incident, or '' if none are exempt.

    With `fold_small` (for readers who may not see single operators) their number is left out if few are
    active.
    """
    if not incident.exempts_nodes or incident.called_off:
        return ""
    nodes = Node.objects.filter(region=incident.region) if incident.region else Node.objects.all()
    counts = nodes.aggregate(all=Count("pk"), active=Count("pk", filter=Q(status=Status.ACTIVE)))
    found = counts["all"]
    where = f"in {incident.region}" if incident.region else "of the network"
    if fold_small and counts["active"] < SMALLEST_PUBLIC_REGION:
        subject = f"The nodes {where} lose"
    else:
        subject = f"1 node {where} loses" if found == 1 else f"{found:,} nodes {where} lose"
    return f"{subject} no reputation {_span(incident)}."


def _span(incident: Incident) -> str:
    """For how long nodes are exempt. incident_actions declares the same window."""
    start = f"{incident.starts_at:%-d %b %Y, %H:%M} UTC"
    if incident.resolved_at is not None:
        return f"from {start} to {incident.resolved_at:%-d %b %Y, %H:%M} UTC"
    if incident.kind == IncidentKind.MAINTENANCE and incident.ends_at is not None:
        return f"from {start} to {incident.ends_at:%-d %b %Y, %H:%M} UTC, as planned"
    return f"from {start} until it is resolved"
