"""The only writers of incidents: each change with its audit row, and with the exemption that it declares."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from jatevo.accounts.models import User
from jatevo.audit.record import actor_of, record
from jatevo.overview.models import Incident, IncidentKind, IncidentState, IncidentUpdate
from nodes.actions import declare, withdraw

_GRACE = timedelta(minutes=1)  # a browser's clock may be ahead of ours
# What of an incident its exemption speaks of.
_EXEMPTION_FIELDS = frozenset({"kind", "title", "region", "starts_at", "ends_at", "exempts_nodes"})


def open_incident(*, incident: Incident, by: User, at: datetime) -> Incident:
    """Stores a new incident, or announces maintenance. Raises ValidationError."""
    with transaction.atomic():
        check(incident, at=at)
        incident.save(force_insert=True)
        _record("incident.open", incident, by=by, severity=incident.severity, region=incident.region)
        _exempt(incident, by=by, at=at)
    return incident


def change_incident(*, incident: Incident, fields: Collection[str], by: User, at: datetime) -> Incident:
    """Stores those of the named fields that differ, and no others. Raises ValidationError."""
    with transaction.atomic():
        stored = Incident.objects.select_for_update().get(pk=incident.pk)
        changed = sorted(name for name in fields if getattr(incident, name) != getattr(stored, name))
        if not changed:
            return incident
        incident.resolved_at = stored.resolved_at  # somebody may have resolved it since it was read
        check(incident, at=at)
        incident.save(update_fields=changed)
        _record("incident.change", incident, by=by, fields=changed)
        if _EXEMPTION_FIELDS & set(changed):
            _exempt(incident, by=by, at=at)
    return incident


def add_update(*, update: IncidentUpdate, by: User, at: datetime) -> IncidentUpdate:
    """Says something in the course of an incident. One that says it is resolved resolves it.

    Raises ValidationError.
    """
    with transaction.atomic():
        incident = Incident.objects.select_for_update().get(pk=update.incident_id)
        check_update(update, at=at)
        update.by = by.email
        update.save(force_insert=True)
        _record("incident.update", incident, by=by, state=update.state)
        if update.state == IncidentState.RESOLVED and incident.resolved_at is None:
            _resolve(incident, by=by, at=at, ended_at=update.at)
    return update


def resolve(*, incident: Incident, by: User, at: datetime) -> bool:
    """Ends an incident now, or calls maintenance off that has not begun; False if it was resolved already."""
    with transaction.atomic():
        found = Incident.objects.select_for_update().get(pk=incident.pk)
        if found.resolved_at is not None:
            return False
        _resolve(found, by=by, at=at, ended_at=at)
        text = "Called off." if found.called_off else "Resolved."
        IncidentUpdate.objects.create(
            incident=found, at=at, state=IncidentState.RESOLVED, text=text, by=by.email
        )
    return True


def exemption_of(incident: Incident) -> str:
    """The reference under which the incident's exemption is declared."""
    return f"incident:{incident.pk}"


def check(incident: Incident, *, at: datetime) -> None:
    """What an incident may not be, in sentences: ValidationError."""
    maintenance = incident.kind == IncidentKind.MAINTENANCE
    if maintenance and incident.ends_at is None:
        raise ValidationError({"ends_at": "Scheduled maintenance has a planned end."})
    if not maintenance and incident.starts_at > at + _GRACE:
        raise ValidationError({"starts_at": "An incident cannot begin in the future; announce maintenance."})
    incident.validate_constraints()


def check_update(update: IncidentUpdate, *, at: datetime) -> None:
    """What an update may not be, in sentences: ValidationError."""
    if not update.text.strip():
        raise ValidationError({"text": "Say what happened."})
    if update.at > at + _GRACE:
        raise ValidationError({"at": "An update speaks of what was: it cannot come from the future."})


def _resolve(incident: Incident, *, by: User, at: datetime, ended_at: datetime) -> None:
    """Only maintenance can end before it begins."""
    if incident.kind == IncidentKind.INCIDENT:
        ended_at = max(ended_at, incident.starts_at)
    incident.resolved_at = ended_at
    incident.save(update_fields=["resolved_at"])
    _record("incident.resolve", incident, by=by)
    _exempt(incident, by=by, at=at)


def _exempt(incident: Incident, *, by: User, at: datetime) -> None:
    """Nodes are exempt for as long as the incident lasts: to its end, or to the planned one of maintenance."""
    reference = exemption_of(incident)
    if not incident.exempts_nodes or incident.called_off:
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
