"""How many receipts were refused lately."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db.models import Sum

from receipts.models import RefusedReceipt, UnkeptRefusals

RECENT: Final = timedelta(days=7)
MOST_COUNTED: Final = 1000


@dataclass(frozen=True)
class RecentRefusals:
    """How many refused receipts of the last 7 days are kept. Counted up to MOST_COUNTED, since nobody reads more."""

    kept: int

    @property
    def words(self) -> str:
        """The number, such as "12" or "1,000+"."""
        return f"{self.kept:,}" if self.kept < MOST_COUNTED else f"{MOST_COUNTED:,}+"


def recent_refusals(reader: object, *, at: datetime) -> RecentRefusals:
    """Of those that the reader may see."""
    recent = RefusedReceipt.objects.visible_to(reader).filter(received_at__gt=at - RECENT)
    return RecentRefusals(recent.order_by()[:MOST_COUNTED].count())


def recent_unkept(reader: object, *, at: datetime) -> int:
    """How many posts of the last 7 days (UTC) were refused and not kept, of nodes whose refused receipts one may see."""
    first = (at - RECENT).astimezone(UTC).date() + timedelta(days=1)
    found = UnkeptRefusals.objects.visible_to(reader).filter(day__gte=first).aggregate(all=Sum("count"))
    return int(found["all"] or 0)
