"""The stored days behind a reputation, and until when the evidence has been processed. Reads only."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings

from nodes.models import ReputationClock, ReputationDay
from nodes.reputation.formula import WINDOW_DAYS, EvidenceDay, Observation, ObservationKind

KINDS = {kind.value: kind for kind in ObservationKind}


def judged_until(*, at: datetime) -> datetime:
    """When all reputations were last computed.

    Before the first run, as far back as heartbeat minutes are kept.
    """
    last = ReputationClock.objects.values_list("last_run_at", flat=True).first()
    return last or at - timedelta(days=settings.RETENTION_DAYS["heartbeat_minutes"])


def days_of(node_id: str, *, today: date) -> list[EvidenceDay]:
    """A node's stored days within the window, oldest first."""
    rows = ReputationDay.objects.filter(node_id=node_id, day__gt=today - timedelta(days=WINDOW_DAYS))
    return [as_day(day, evidence) for day, evidence in rows.order_by("day").values_list("day", "evidence")]


def evidence_of(day: EvidenceDay) -> dict[str, Any]:
    """A day in the form of ReputationDay.evidence: `failed`, `total`, `exempt` and `note` by kind."""
    return {
        each.kind.value: {
            "failed": each.failed,
            "total": each.total,
            **({"exempt": each.exempt} if each.exempt else {}),
            **({"note": each.note} if each.note else {}),
        }
        for each in day.observations
    }


def as_day(day: date, evidence: Mapping[str, Any]) -> EvidenceDay:
    """The inverse of `evidence_of`. Unknown kinds, such as ones that were removed, are skipped."""
    return EvidenceDay(
        day,
        tuple(
            Observation(
                KINDS[kind], said["failed"], said["total"], said.get("exempt", 0), said.get("note", "")
            )
            for kind, said in sorted(evidence.items())
            if kind in KINDS
        ),
    )
