"""Why earnings still need a month of receipts: one without an item, or a day that is not final."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import connection

from earnings.models import Line
from earnings.rules.periods import day_of
from receipts.partitions import Month

# A receipt comes at most 7 days after its request's end, and its ts_end may be some minutes ahead.
_LONGEST_BACK = timedelta(days=7)
_WITHOUT_ITEM = """
SELECT count(*) FROM receipts_receipt r
WHERE r.accepted_at >= %s AND r.accepted_at < %s AND NOT EXISTS (
    SELECT FROM earnings_item i WHERE i.day = (r.ts_end AT TIME ZONE 'UTC')::date AND i.receipt_id = r.id)
"""


def why_needed(month: Month) -> Iterator[str]:
    """The reasons, in words. None if nothing of the month can change earnings any more."""
    if missing := _without_item(month):
        yield f"{missing:,} receipt{' is' if missing == 1 else 's are'} not itemised"
    days = (day_of(month.starts_at - _LONGEST_BACK), day_of(month.ends_at))
    open_days = (
        Line.objects.filter(day__range=days, final_at=None).order_by("day").values_list("day", flat=True)
    )
    if (first := open_days.first()) is not None:
        yield f"{first} is not final"


def _without_item(month: Month) -> int:
    """How many receipts have no item, on the first day of the month where any lack it. One query a day is quick."""
    if settings.RETENTION_DAYS["earnings"] <= settings.RETENTION_DAYS["receipts"]:
        return 0  # the items may be gone already
    day = month.starts_at
    with connection.cursor() as cursor:
        while day < month.ends_at:
            cursor.execute(_WITHOUT_ITEM, [day, day + timedelta(days=1)])
            ((missing,),) = cursor.fetchall()
            if missing:
                return int(missing)
            day += timedelta(days=1)
    return 0
