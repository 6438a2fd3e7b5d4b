"""Whether a stored export may still be had by the person who asked for it."""

from datetime import datetime, timedelta

from django.conf import settings

from jatevo.accounts.models import User
from jatevo.accounts.permissions import Permission, allowed
from nodes.models import Node
from receipts.models import ReceiptExport, ReceiptExportPart


def expires_at(export: ReceiptExport) -> datetime | None:
    """When the file is deleted. None while it is written."""
    return (
        None
        if export.ended_at is None
        else export.ended_at + timedelta(days=settings.RETENTION_DAYS["exports"])
    )


def in_same_role(export: ReceiptExport, user: User) -> bool:
    """Whether the person still is what they were when they asked: active, in that role and organisation."""
    same = (user.pk, user.role, user.org_id) == (export.user_id, export.role, export.org_id)
    return same and allowed(user, Permission.VIEW_RECEIPTS)


def may_have(export: ReceiptExport, user: User) -> bool:
    """Whether they also still see every node whose receipts are in the file. Two queries; one for an admin's."""
    if not in_same_role(export, user):
        return False
    nodes: set[str] = set()
    for listed in ReceiptExportPart.objects.filter(export=export).values_list("nodes", flat=True):
        nodes.update(listed)
    return not nodes or Node.objects.named_to(user).filter(pk__in=nodes).count() == len(nodes)
