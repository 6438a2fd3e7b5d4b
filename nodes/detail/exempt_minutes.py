"""The exempt minutes of a node: its maintenance, incidents, and the console's own outages."""

from collections.abc import Mapping
from datetime import datetime

from jatevo.metrics.minutes import bit_of, floor_hour, minutes_touched
from nodes.models import Exemption, ExemptionKind, Node

_OUR_OUTAGE = ExemptionKind.OUTAGE.label.lower()

# What excuses a minute, in a word, by the start of the minute.
ExcusedMinutes = Mapping[datetime, str]


def excused_minutes(node: Node, since: datetime, until: datetime) -> ExcusedMinutes:
    """The exempt minutes of the window, in one query.

    If several exemptions apply, a console outage takes precedence.
    """
    windows = Exemption.objects.of_node(node).overlapping(since, until)
    excused: dict[datetime, str] = {}
    told = windows.values_list("kind", "starts_at", "ends_at")
    for kind, starts_at, ends_at in sorted(told, key=lambda window: window[0] != ExemptionKind.OUTAGE):
        word = ExemptionKind(kind).label.lower()
        for minute in minutes_touched(max(starts_at, since), min(ends_at or until, until)):
            excused.setdefault(minute, word)
    return excused


def unheard_hours(excused: ExcusedMinutes) -> dict[datetime, int]:
    """The minutes in which the console could not hear any node, as bits by hour.

    Uptime is unknown in them.
    """
    hours: dict[datetime, int] = {}
    for minute, word in excused.items():
        if word == _OUR_OUTAGE:
            hour = floor_hour(minute)
            hours[hour] = hours.get(hour, 0) | bit_of(minute)
    return hours
