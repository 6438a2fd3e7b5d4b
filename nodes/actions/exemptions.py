"""The only writer of exemptions: times for which no node is blamed for silence."""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from procrastinate.contrib.django import app

from jatevo.accounts.models import User
from jatevo.audit.record import SYSTEM, actor_of, record
from nodes.actions.errors import NotPossible
from nodes.maintenance import current_maintenance, maintenance_left
from nodes.models import Exemption, ExemptionKind, Node, PendingJudgement
from nodes.reputation.formula import WINDOW_DAYS
from nodes.rules.common_silence import CommonSilence
from nodes.rules.lifecycle import MISSED_WINDOW

_GRACE = timedelta(minutes=1)  # allows for the time between opening the form and receiving it


def start_maintenance(
    *,
    node: Node,
    message: str,
    by: User,
    at: datetime,
    starts_at: datetime | None = None,
    until: datetime | None = None,
) -> Exemption:
    """Announces maintenance of a node, from now or later. Raises NotPossible.

    It cannot start in the past, and it cannot exceed MAINTENANCE_DAYS_PER_WINDOW of any 14 days. Otherwise a
    node could be in maintenance most of the time and keep its reputation.
    """
    starts_at = starts_at or at
    if starts_at < at - _GRACE:
        raise NotPossible("Maintenance cannot start in the past.")
    if until is not None and until <= max(starts_at, at):
        raise NotPossible("Maintenance must end after it starts.")
    if not message.strip():
        raise NotPossible("Enter a description. It is shown on the node's page.")
    with transaction.atomic():
        # concurrent announcements wait here, and then see what the first one announced
        Node.objects.select_for_update(no_key=True).only("pk").get(pk=node.pk)
        if current_maintenance(node, at=at) is not None:
            raise NotPossible("This node already has maintenance announced or under way.")
        allowance = maintenance_left(node, at=at)
        if allowance <= timedelta(0):
            raise NotPossible(
                f"This node has used its {settings.MAINTENANCE_DAYS_PER_WINDOW} days of maintenance"
                f" within {WINDOW_DAYS} days."
            )
        if until is not None and until - starts_at > allowance:
            raise NotPossible(f"Only {allowance.days} d {allowance.seconds // 3600} h of maintenance left.")
        exemption = Exemption.objects.create(
            kind=ExemptionKind.MAINTENANCE,
            node=node,
            starts_at=starts_at,
            # without an end, maintenance lasts as long as is still allowed
            ends_at=until or starts_at + allowance,
            message=message.strip(),
            created_by=by.email,
            created_at=at,
        )
        _record("node.start_maintenance", node, exemption, by=by, reason=message.strip())
        return exemption


def end_maintenance(*, node: Node, by: User, at: datetime) -> Exemption:
    """Ends the node's maintenance now and withdraws maintenance announced for later.

    Raises NotPossible if there is none.
    """
    with transaction.atomic():
        own = Exemption.objects.filter(node=node, kind=ExemptionKind.MAINTENANCE).select_for_update()
        exemption = own.overlapping(at, datetime.max.replace(tzinfo=UTC)).order_by("starts_at").first()
        if exemption is None:
            raise NotPossible("This node is not in maintenance.")
        _record("node.end_maintenance", node, exemption, by=by, reason="")
        if exemption.starts_at >= at:
            exemption.delete()
        else:
            exemption.ends_at = at
            exemption.save(update_fields=["ends_at"])
        return exemption


def declare(
    *,
    reference: str,
    region: str,
    starts_at: datetime,
    ends_at: datetime | None,
    message: str,
    by: User,
    at: datetime,
) -> Exemption:
    """Exempts a region ('' is the whole network) for a window, which may lie in the past.

    Called again with the same `reference`, it changes the window. The worker recomputes the affected
    reputations.
    """
    with transaction.atomic():
        before = Exemption.objects.filter(reference=reference).select_for_update().first()
        exemption, _ = Exemption.objects.update_or_create(
            reference=reference,
            defaults={
                "kind": ExemptionKind.INCIDENT,
                "region": region,
                "starts_at": starts_at,
                "ends_at": ends_at,
                "message": message,
                "created_by": by.email,
            },
        )
        record(
            "exemption.declare",
            by=actor_of(by),
            subject_kind="exemption",
            subject_id=reference,
            region=region,
            starts_at=starts_at.isoformat(),
            ends_at=ends_at.isoformat() if ends_at else None,
        )
        for each in (before, exemption):
            if each is not None:
                _judge_again(each, at=at)
    return exemption


def withdraw(*, reference: str, by: User, at: datetime) -> bool:
    """Withdraws a declared exemption. Returns False if there is none."""
    with transaction.atomic():
        exemption = Exemption.objects.filter(reference=reference).select_for_update().first()
        if exemption is None:
            return False
        exemption.delete()
        record("exemption.withdraw", by=actor_of(by), subject_kind="exemption", subject_id=reference)
        _judge_again(exemption, at=at)
    return True


def note_outage(*, starts_at: datetime, ends_at: datetime, at: datetime) -> Exemption:
    """Records a window in which the console could not hear any node."""
    with transaction.atomic():
        exemption = Exemption.objects.create(
            kind=ExemptionKind.OUTAGE,
            starts_at=starts_at,
            ends_at=ends_at,
            message="The console was not running.",
            created_by=SYSTEM.id,
            created_at=at,
        )
        record(
            "exemption.outage",
            by=SYSTEM,
            subject_kind="exemption",
            subject_id=str(exemption.pk),
            starts_at=starts_at.isoformat(),
            ends_at=ends_at.isoformat(),
        )
    return exemption


def begin_outage(silence: CommonSilence, *, at: datetime) -> Exemption:
    """Records that most nodes fell silent at once. No node is blamed from then until `end_outage`."""
    with transaction.atomic():
        exemption = Exemption.objects.create(
            kind=ExemptionKind.OUTAGE,
            starts_at=silence.since,
            message=f"{silence.silent} of {silence.active} active nodes went silent at the same time.",
            created_by=SYSTEM.id,
            created_at=at,
        )
        record(
            "exemption.outage",
            by=SYSTEM,
            subject_kind="exemption",
            subject_id=str(exemption.pk),
            starts_at=silence.since.isoformat(),
            silent_nodes=silence.silent,
            active_nodes=silence.active,
            silent_orgs=silence.silent_orgs,
            orgs=silence.orgs,
        )
    return exemption


def end_outage(exemption: Exemption, *, at: datetime) -> None:
    """Ends the outage, because most nodes are heard again or have been silent for too long."""
    with transaction.atomic():
        exemption.ends_at = max(at, exemption.starts_at)  # the clock may have been set back meanwhile
        exemption.save(update_fields=["ends_at"])
        record(
            "exemption.outage_ended",
            by=SYSTEM,
            subject_kind="exemption",
            subject_id=str(exemption.pk),
            starts_at=exemption.starts_at.isoformat(),
            ends_at=exemption.ends_at.isoformat(),
        )


def _record(verb: str, node: Node, exemption: Exemption, *, by: User, reason: str) -> None:
    record(
        verb,
        by=actor_of(by),
        subject_kind="node",
        subject_id=node.pk,
        org_id=node.org_id,
        reason=reason,
        starts_at=exemption.starts_at.isoformat(),
        ends_at=exemption.ends_at.isoformat() if exemption.ends_at else None,
    )


def _judge_again(exemption: Exemption, *, at: datetime) -> None:
    """Asks the worker to recompute the affected reputations, because a region may have thousands of nodes.

    The days to recompute are stored in this transaction. If the queued job fails, the next recomputation of
    all reputations picks them up (`judge_pending`).
    """
    if exemption.starts_at > at:
        return
    # a quarantine for heartbeats missed in the window may come up to an hour after it
    until = at if exemption.ends_at is None else min(exemption.ends_at + MISSED_WINDOW, at)
    PendingJudgement.objects.create(region=exemption.region, since=exemption.starts_at, until=until)
    app.configure_task("nodes.judge_again").defer()
