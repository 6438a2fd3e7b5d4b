"""The only writers of incidents: each change with its audit row, and with the exemption that it declares."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from jatevo.accounts.models import User
from jatevo.audit.record import actor_of, record
from jatevo.overview.models import Incident, IncidentKind, IncidentState, IncidentUpdate
from nodes.actions import declare, withdraw


def open_incident(*, incident: Incident, by: User, at: datetime) -> Incident:
    """Stores a new incident, or announces maintenance. Raises ValidationError."""
    with transaction.atomic():
        check(incident, at=at)
        incident.save(force_insert=True)
        _record("incident.open", incident, by=by, severity=incident.severity, region=incident.region)
        _exempt(incident, by=by, at=at)
    return incident


def change_incident(*, incident: Incident, fields: list[str], by: User, at: datetime) -> Incident:
    """Stores what was changed of an incident. Raises ValidationError."""
    with transaction.atomic():
        check(incident, at=at)
        incident.save()
        if fields:
            _record("incident.change", incident, by=by, fields=fields)
        _exempt(incident, by=by, at=at)
    return incident


def add_update(*, update: IncidentUpdate, by: User, at: datetime) -> IncidentUpdate:
    """Says something in the course of an incident. One that says it is resolved resolves it."""
    with transaction.atomic():
        incident = Incident.objects.select_for_update().get(pk=update.incident_id)
        if not update.text.strip():
            raise ValidationError("Say what happened.")
        update.by = by.email
        update.save(force_insert=update.pk is None)
        _record("incident.update", incident, by=by, state=update.state)
        if update.state == IncidentState.RESOLVED and incident.resolved_at is None:
            _resolve(incident, by=by, at=max(update.at, incident.starts_at))
    return update


def resolve(*, incident: Incident, by: User, at: datetime) -> bool:
    """Ends an incident now; False if it was resolved already."""
    with transaction.atomic():
        found = Incident.objects.select_for_update().get(pk=incident.pk)
        if found.resolved_at is not None:
            return False
        # maintenance that is called off before it begins ends as it begins
        _resolve(found, by=by, at=max(at, found.starts_at))
        IncidentUpdate.objects.create(
            incident=found, at=at, state=IncidentState.RESOLVED, text="Resolved.", by=by.email
        )
    return True


def exemption_of(incident: Incident) -> str:
    """The reference under which the incident's exemption is declared."""
    return f"incident:{incident.pk}"


def _resolve(incident: Incident, *, by: User, at: datetime) -> None:
    incident.resolved_at = at
    incident.save(update_fields=["resolved_at"])
    _record("incident.resolve", incident, by=by)
    _exempt(incident, by=by, at=at)


def check(incident: Incident, *, at: datetime) -> None:
    """What the database cannot say of an incident. Raises ValidationError."""
    if incident.kind == IncidentKind.MAINTENANCE and incident.ends_at is None:
        raise ValidationError({"ends_at": "Scheduled maintenance has a planned end."})
    if incident.exempts_nodes and incident.starts_at > at and incident.kind == IncidentKind.INCIDENT:
        raise ValidationError({"starts_at": "An incident cannot begin in the future; announce maintenance."})


def _exempt(incident: Incident, *, by: User, at: datetime) -> None:
    """Nodes are exempt for as long as the incident lasts: to its end, or to the planned one of maintenance."""
    reference = exemption_of(incident)
    if not incident.exempts_nodes:
        withdraw(reference=reference, by=by, at=at)
        return
    planned = incident.ends_at if incident.kind == IncidentKind.MAINTENANCE else None
    declare(
        reference=reference,
        region=incident.region,
        starts_at=incident.starts_at,
        ends_at=incident.resolved_at or planned,
        message=incident.title,
        by=by,
        at=at,
    )


def _record(verb: str, incident: Incident, *, by: User, **details: Any) -> None:
    record(
        verb,
        by=actor_of(by),
        subject_kind="incident",
        subject_id=str(incident.pk),
        title=incident.title,
        **details,
    )
