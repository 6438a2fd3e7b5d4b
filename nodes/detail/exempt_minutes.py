"""The minutes for which nobody blames a node: its maintenance, incidents, and the console's own outages."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from nodes.models import Exemption, ExemptionKind, Node

_MINUTE = timedelta(minutes=1)
_OUR_OUTAGE = ExemptionKind.OUTAGE.label.lower()

# The start of each minute, with what excuses it in a word.
ExcusedMinutes = Mapping[datetime, str]


def excused_minutes(node: Node, since: datetime, until: datetime) -> ExcusedMinutes:
    """Those of the window that an exemption touches; our own outage is the word for what is more than one. One query."""
    windows = Exemption.objects.of_node(node).overlapping(since, until)
    excused: dict[datetime, str] = {}
    told = windows.values_list("kind", "starts_at", "ends_at")
    for kind, starts_at, ends_at in sorted(told, key=lambda window: window[0] != ExemptionKind.OUTAGE):
        word = ExemptionKind(kind).label.lower()
        minute = max(starts_at, since).replace(second=0, microsecond=0)
        end = until if ends_at is None else min(ends_at, until)
        while minute < end:
            excused.setdefault(minute, word)
            minute += _MINUTE
    return excused


def unheard_minutes(excused: ExcusedMinutes) -> frozenset[datetime]:
    """Those in which the console itself heard nobody: they say nothing of the node, up or down."""
    return frozenset(minute for minute, word in excused.items() if word == _OUR_OUTAGE)
