"""Comparing the search with PostgreSQL, receipt by receipt."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from jatevo.metrics.models import ReceiptGap
from jatevo.metrics.queries import search_rows_between
from jatevo.metrics.search_rows import SEARCH_FIELDS, SEARCH_TABLES, SearchRow
from jatevo.metrics.transport import Transport
from receipts.search.rows import judged_rows, of_range

AT_ONCE: Final = 10_000
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Difference:
    """A receipt that the two hold differently. One is None where it is missing."""

    accepted_at: datetime
    id: int
    postgresql: SearchRow | None
    clickhouse: SearchRow | None

    def __str__(self) -> str:
        name = f"receipt {self.id}, accepted at {self.accepted_at:%F %T}"
        if self.clickhouse is None:
            return f"{name}: missing in ClickHouse"
        if self.postgresql is None:
            return f"{name}: only in ClickHouse"
        fields = [
            f"{field} {theirs!r} and not {ours!r}"
            for field in SEARCH_FIELDS
            for ours, theirs in [(getattr(self.postgresql, field), getattr(self.clickhouse, field))]
            if ours != theirs
        ]
        return f"{name}: ClickHouse has {', '.join(fields)}"


def differences(
    first: datetime, until: datetime, *, store: Transport, at_once: int = AT_ONCE
) -> Iterator[Difference]:
    """What differs among the receipts accepted from `first` until `until`, which are whole seconds, oldest first.

    A verdict that is on its way counts as different.
    """
    after, since = (first, -1), first
    while True:
        found = of_range(first, until, after, limit=at_once)
        ours = {row.id: row for row in judged_rows(found)}
        if len(found) == at_once:
            # the rest of the last second comes with the next part
            end = found[-1].accepted_at.replace(microsecond=0)
            if end == since:
                raise ValueError(
                    f"over {at_once} receipts were accepted within a second; compare more at once"
                )
        else:
            end = until
        part = {number: row for number, row in ours.items() if row.accepted_at < int(end.timestamp())}
        found_here: dict[int, Difference] = {}
        for table in SEARCH_TABLES:
            theirs = {row.id: row for row in search_rows_between(store, since, end, table=table)}
            for number in part.keys() | theirs.keys():
                if part.get(number) != theirs.get(number):
                    one = part.get(number) or theirs[number]
                    moment = datetime.fromtimestamp(one.accepted_at, UTC)
                    difference = Difference(moment, number, part.get(number), theirs.get(number))
                    found_here.setdefault(number, difference)
        yield from (found_here[number] for number in sorted(found_here))
        if end == until:
            return
        after, since = (end - timedelta(microseconds=1), 2**63 - 1), end


def note_as_gap(first: datetime, last: datetime) -> None:
    """Lets the worker fill the receipts of the range again."""
    ReceiptGap.objects.create(first_at=first, until_at=last + _SECOND)
