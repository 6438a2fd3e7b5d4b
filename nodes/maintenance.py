"""A node's maintenance: what is under way or announced, and how much more may be announced. Reads only."""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import F

from nodes.models import Exemption, ExemptionKind, Node
from nodes.reputation.formula import WINDOW_DAYS
from nodes.rules.explanations import Maintenance
from nodes.rules.lifecycle import Status


def current_maintenance(node: Node, *, at: datetime) -> Exemption | None:
    """The earliest maintenance of the node that is under way or announced, or None."""
    own = Exemption.objects.filter(node=node, kind=ExemptionKind.MAINTENANCE)
    return own.overlapping(at, datetime.max.replace(tzinfo=UTC)).order_by("starts_at").first()


def maintenance_of(node: Node, *, at: datetime) -> Maintenance | None:
    """The maintenance of an offline or pending node: under way, or the last one. None for other nodes."""
    if node.status not in (Status.OFFLINE, Status.PENDING):
        return None
    begun = Exemption.objects.filter(node=node, kind=ExemptionKind.MAINTENANCE, starts_at__lte=at)
    last = begun.order_by(F("ends_at").desc(nulls_first=True)).first()
    if last is None:
        return None
    ends_at = last.ends_at or datetime.max.replace(tzinfo=UTC)
    return Maintenance(ends_at, under_way=ends_at > at)


def maintenance_left(node: Node, *, at: datetime) -> timedelta:
    """How much maintenance the node may still announce within the days that count towards its reputation."""
    since = at - timedelta(days=WINDOW_DAYS)
    used = timedelta(0)
    for each in Exemption.objects.filter(node=node, kind=ExemptionKind.MAINTENANCE).overlapping(since, at):
        used += min(each.ends_at or at, at) - max(each.starts_at, since)
    return timedelta(days=settings.MAINTENANCE_DAYS_PER_WINDOW) - used
