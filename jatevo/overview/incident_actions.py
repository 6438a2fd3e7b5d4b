"""The only writers of incidents. Each change writes its audit row and updates the incident's exemption."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from jatevo.accounts.models import User
from jatevo.audit.record import actor_of, record
from jatevo.overview.models import Incident, IncidentKind, IncidentState, IncidentUpdate
from nodes.actions import declare, withdraw

_GRACE = timedelta(minutes=1)  # a browser's clock may be ahead of the server's
# The fields of an incident that its exemption depends on.
_EXEMPTION_FIELDS = frozenset(
    {"kind", "title", "region", "starts_at", "ends_at", "resolved_at", "exempts_nodes"}
)


def open_incident(
    *, incident: Incident, updates: Iterable[IncidentUpdate] = (), by: User, at: datetime
) -> Incident:
    """Stores a new incident with its updates, or announces maintenance. An incident may already be over.

    Raises ValidationError.
    """
    with transaction.atomic():
        check(incident, at=at)
        incident.changed_at = at
        incident.save(force_insert=True)
        _record("incident.open", incident, by=by, severity=incident.severity, region=incident.region)
        said = list(updates)
        if incident.resolved_at is not None:
            _tell_end(incident, None, said, by=by, at=at)
        _say(incident, said, by=by, at=at)
        _exempt(incident, by=by, at=at)
    return incident


def change_incident(
    *,
    incident: Incident,
    fields: Collection[str],
    updates: Iterable[IncidentUpdate] = (),
    by: User,
    at: datetime,
) -> Incident:
    """Stores the given fields that differ, and the new updates.

    A changed end is recorded as by `change_end` and `reopen`. Raises ValidationError.
    """
    with transaction.atomic():
        stored = Incident.objects.select_for_update().get(pk=incident.pk)
        before = stored.resolved_at
        if "resolved_at" not in fields:
            incident.resolved_at = before  # it may have been resolved since it was read
        changed = sorted(name for name in fields if getattr(incident, name) != getattr(stored, name))
        said = list(updates)
        if changed:
            check(incident, at=at, changed=changed)
            incident.changed_at = at
            incident.save(update_fields=[*changed, "changed_at"])
            if described := [name for name in changed if name != "resolved_at"]:
                _record("incident.change", incident, by=by, fields=described)
            if "resolved_at" in changed:
                _tell_end(incident, before, said, by=by, at=at)
        ended = _say(incident, said, by=by, at=at)
        if ended or _EXEMPTION_FIELDS & set(changed):
            _exempt(incident, by=by, at=at)
    return incident


def add_update(*, update: IncidentUpdate, by: User, at: datetime) -> IncidentUpdate:
    """Adds an update to an incident. An update with the state resolved resolves the incident.

    Raises ValidationError.
    """
    with transaction.atomic():
        incident = Incident.objects.select_for_update().get(pk=update.incident_id)
        if _say(incident, [update], by=by, at=at):
            _exempt(incident, by=by, at=at)
    return update


def resolve(*, incident: Incident, by: User, at: datetime) -> bool:
    """Ends an incident now, or cancels maintenance that has not begun.

    Returns False if it is already over.
    """
    with transaction.atomic():
        found = Incident.objects.select_for_update().get(pk=incident.pk)
        if is_over(found, at=at):
            return False
        # the start may lie slightly in the future, if the clock of the browser that declared it was ahead
        found.resolved_at = max(at, found.starts_at) if found.kind == IncidentKind.INCIDENT else at
        change_incident(incident=found, fields=["resolved_at"], by=by, at=at)
    return True


def change_end(*, incident: Incident, ended_at: datetime, by: User, at: datetime) -> Incident:
    """Sets or corrects when the incident ended, and adjusts the exemption. Raises ValidationError."""
    with transaction.atomic():
        found = Incident.objects.select_for_update().get(pk=incident.pk)
        found.resolved_at = ended_at
        return change_incident(incident=found, fields=["resolved_at"], by=by, at=at)


def reopen(*, incident: Incident, by: User, at: datetime) -> bool:
    """Reopens a resolved incident, so that it and its exemption continue.

    Returns False if it was not resolved.

    Raises ValidationError for maintenance whose planned end has passed.
    """
    with transaction.atomic():
        found = Incident.objects.select_for_update().get(pk=incident.pk)
        if found.resolved_at is None:
            return False
        found.resolved_at = None
        change_incident(incident=found, fields=["resolved_at"], by=by, at=at)
    return True


def exemption_of(incident: Incident) -> str:
    """The reference under which the incident's exemption is declared."""
    return f"incident:{incident.pk}"


def is_over(incident: Incident, *, at: datetime) -> bool:
    """Whether the incident is over, by the same rule as `IncidentQuerySet.resolved`."""
    return incident.resolved_at is not None or (incident.ended_at is not None and incident.ended_at <= at)


def check(incident: Incident, *, at: datetime, changed: Collection[str] | None = None) -> None:
    """Raises ValidationError for an invalid incident.

    `changed` names the fields to check; None checks all.
    """
    maintenance = incident.kind == IncidentKind.MAINTENANCE
    if maintenance and incident.ends_at is None:
        raise ValidationError({"ends_at": "Scheduled maintenance needs a planned end."})
    if not maintenance and incident.starts_at > at + _GRACE:
        raise ValidationError(
            {"starts_at": "An incident cannot start in the future. Use scheduled maintenance instead."}
        )
    if changed is None or {"kind", "starts_at", "ends_at", "resolved_at"} & set(changed):
        _check_end(incident, at=at, changed=changed)
    incident.validate_constraints()


def check_update(update: IncidentUpdate, *, incident: Incident, at: datetime) -> None:
    """Raises ValidationError for an invalid update of the incident."""
    if not update.text.strip():
        raise ValidationError({"text": "Enter what happened."})
    if update.at > at + _GRACE:
        raise ValidationError({"at": "An update cannot be in the future."})
    announces, resolves = (
        update.state == state for state in (IncidentState.SCHEDULED, IncidentState.RESOLVED)
    )
    if announces and incident.kind == IncidentKind.INCIDENT:
        raise ValidationError({"state": "Only maintenance can be scheduled."})
    ended_at = incident.ended_at
    if ended_at is not None and update.at > ended_at and not resolves:
        over = f"It {'was cancelled' if incident.called_off else 'ended'} at {_clock(ended_at)}."
        raise ValidationError(
            {"state": f"{over} If it is still going on, reopen it or set a later end first."}
        )
    if incident.starts_at > at + _GRACE:
        if not announces and not resolves:
            raise ValidationError(
                {"state": "It has not started. Until then, use “Scheduled”, or “Resolved” to cancel it."}
            )
    elif update.at < incident.starts_at - _GRACE and not announces:
        raise ValidationError(
            {"at": f"It began at {_clock(incident.starts_at)}. An update cannot be earlier."}
        )
    if resolves and incident.resolved_at is not None and update.at < incident.resolved_at - _GRACE:
        raise ValidationError(
            {
                "at": f"It ended at {_clock(incident.resolved_at)}. If that is wrong, correct “ended at” instead."
            }
        )


def place_in_course(update: IncidentUpdate) -> tuple[datetime, bool]:
    """The sort key of updates, by time. Of updates at the same moment, the one that resolves comes last."""
    return update.at, update.state == IncidentState.RESOLVED


def take_end_from(update: IncidentUpdate, *, incident: Incident) -> bool:
    """Sets the incident's end if the update resolves it.

    Returns False if it does not, or the incident was over.

    An update after the planned end of maintenance does not change the end, so that it does not prolong the
    exemption.
    """
    if update.state != IncidentState.RESOLVED or is_over(incident, at=update.at):
        return False
    # only maintenance can end before it begins
    of_incident = incident.kind == IncidentKind.INCIDENT
    incident.resolved_at = max(update.at, incident.starts_at) if of_incident else update.at
    return True


def _check_end(incident: Incident, *, at: datetime, changed: Collection[str] | None) -> None:
    ended_at, planned = incident.resolved_at, incident.ends_at
    past_plan = planned is not None and planned <= at
    if ended_at is not None:
        if ended_at > at + _GRACE:
            raise ValidationError(
                {"resolved_at": "The end cannot be in the future. Use the planned end instead."}
            )
        if ended_at < incident.starts_at <= at:
            raise ValidationError(
                {"resolved_at": "An incident cannot be resolved before it began."}
                if incident.kind == IncidentKind.INCIDENT
                else {
                    "resolved_at": "It has already begun, so it cannot be cancelled or end before its start."
                }
            )
    elif incident.kind == IncidentKind.MAINTENANCE:
        if past_plan and changed is not None and "resolved_at" in changed:
            raise ValidationError({"ends_at": "To reopen it, set a planned end in the future."})
    elif past_plan and (changed is None or {"kind", "ends_at"} & set(changed)):
        raise ValidationError(
            {"ends_at": "The planned end is in the past. If the incident is over, enter “ended at” instead."}
        )


def _say(incident: Incident, updates: Sequence[IncidentUpdate], *, by: User, at: datetime) -> bool:
    """Stores the updates. Returns True if one ended the incident; the caller then adjusts the exemption."""
    ended = False
    for update in sorted(updates, key=place_in_course):
        check_update(update, incident=incident, at=at)
        update.incident = incident
        update.by = by.email
        update.save(force_insert=True)
        _record("incident.update", incident, by=by, state=update.state)
        if take_end_from(update, incident=incident):
            incident.save(update_fields=["resolved_at"])
            _record("incident.resolve", incident, by=by, **_window(None, incident.resolved_at))
            ended = True
    if updates:
        incident.changed_at = at
        incident.save(update_fields=["changed_at"])
    return ended


def _tell_end(
    incident: Incident, before: datetime | None, said: Sequence[IncidentUpdate], *, by: User, at: datetime
) -> None:
    """Records that the end was set, moved or removed, and adds an update about it unless `said`."""
    after = incident.resolved_at
    state, moment = IncidentState.RESOLVED, at
    if after is None:
        verb, text = "incident.reopen", "Reopened. It is still going on."
        state = IncidentState.SCHEDULED if incident.starts_at > at else IncidentState.INVESTIGATING
    elif before is None:
        verb, text, moment = "incident.resolve", "Resolved.", after
        if incident.called_off:
            text = "Cancelled."
    else:
        verb, text = "incident.change_end", f"Corrected: it ended at {_clock(after)}."
    _record(verb, incident, by=by, **_window(before, after))
    if not any((each.state == IncidentState.RESOLVED) == (after is not None) for each in said):
        IncidentUpdate.objects.create(incident=incident, at=moment, state=state, text=text, by=by.email)


def _window(before: datetime | None, after: datetime | None) -> dict[str, str | None]:
    return {
        "ended_at_before": before.isoformat() if before else None,
        "ended_at": after.isoformat() if after else None,
    }


def _exempt(incident: Incident, *, by: User, at: datetime) -> None:
    """Exempts nodes for as long as the incident lasts: to its end, or to the planned end of maintenance."""
    reference = exemption_of(incident)
    if not incident.exempts_nodes or incident.called_off:
        withdraw(reference=reference, by=by, at=at)
        return
    declare(
        reference=reference,
        region=incident.region,
        starts_at=incident.starts_at,
        ends_at=incident.ended_at,
        message=incident.title,
        by=by,
        at=at,
    )


def _clock(moment: datetime) -> str:
    return f"{moment:%-d %b %Y, %H:%M} UTC"


def _record(verb: str, incident: Incident, *, by: User, **details: Any) -> None:
    record(
        verb,
        by=actor_of(by),
        subject_kind="incident",
        subject_id=str(incident.pk),
        title=incident.title,
        **details,
    )
