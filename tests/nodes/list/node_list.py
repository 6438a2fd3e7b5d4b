"""Shared parts of the list's tests: nodes with figures, and the names that a page shows."""

import re
from datetime import timedelta

from django.utils import timezone

from nodes.models import Node, NodeStanding


def stand(node: Node, *, ago: timedelta = timedelta(0), **figures: float | None) -> None:
    NodeStanding.objects.create(node=node, as_of=timezone.now() - ago, **figures)


def names_in(page: str) -> list[str]:
    """The nodes of the list, in its order."""
    return re.findall(r'data-open id="open-([^"]+)"', page)
