"""Writing to the audit log, in the transaction of the change."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from jatevo.audit.models import AuditEvent
from jatevo.web.bounds import bounded
from jatevo.web.request_id import current_request_id


@dataclass(frozen=True)
class Actor:
    """Who did it: a person, a node, a validator, or the console itself."""

    kind: str
    id: str
    user_id: UUID | None = None
    org_id: UUID | None = None


LONGEST_ACTOR = 254  # the size of the column
LONGEST_SUBJECT = 160
LONGEST_REASON = 2000
_ROWS_AT_ONCE = 500

SYSTEM = Actor("system", "console")


def actor_of(user: Any) -> Actor:
    """The actor for a signed-in user."""
    return Actor("user", user.email, user.pk, user.org_id)


def record(
    verb: str,
    *,
    by: Actor,
    subject_kind: str,
    subject_id: str,
    org_id: UUID | None = None,
    reason: str = "",
    **details: Any,
) -> AuditEvent:
    """Adds one event. Raises RuntimeError outside a transaction: event and change must be committed together.

    Texts may come from strangers, so they are shortened to what the log stores.
    """
    _require_transaction()
    event = _event(
        verb,
        by=by,
        subject_kind=subject_kind,
        subject_id=subject_id,
        org_id=org_id,
        reason=reason,
        details=details,
    )
    event.save(force_insert=True)
    return event


@dataclass(frozen=True)
class Subject:
    """One of many subjects of a change: which, whose, and what is particular about it."""

    id: str
    org_id: UUID | None
    details: dict[str, Any]


def record_each(
    verb: str, subjects: Iterable[Subject], *, by: Actor, subject_kind: str, reason: str = ""
) -> None:
    """Adds an event for each subject of a change of many, with one statement for some hundreds of them."""
    _require_transaction()
    AuditEvent.objects.bulk_create(
        (
            _event(
                verb,
                by=by,
                subject_kind=subject_kind,
                subject_id=subject.id,
                org_id=subject.org_id,
                reason=reason,
                details=subject.details,
            )
            for subject in subjects
        ),
        batch_size=_ROWS_AT_ONCE,
    )


def _require_transaction() -> None:
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("record() belongs in the transaction of the change it records")


def _event(
    verb: str,
    *,
    by: Actor,
    subject_kind: str,
    subject_id: str,
    org_id: UUID | None,
    reason: str,
    details: dict[str, Any],
) -> AuditEvent:
    return AuditEvent(
        actor_kind=by.kind,
        actor_id=bounded(by.id, LONGEST_ACTOR),
        actor_user_id=by.user_id,
        org_id=org_id or by.org_id,
        verb=verb,
        subject_kind=subject_kind,
        subject_id=bounded(subject_id, LONGEST_SUBJECT),
        reason=bounded(reason, LONGEST_REASON),
        details=bounded(details),
        request_id=current_request_id(),
    )
