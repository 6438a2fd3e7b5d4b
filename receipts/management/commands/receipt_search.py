from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jatevo.metrics.models import ReceiptGap
from jatevo.metrics.queries import search_origin
from jatevo.metrics.store import MetricsError, get_store, patient_store
from jatevo.web.query_values import EARLIEST, BadValue, moment
from receipts.search.as_of import completeness
from receipts.search.checking import differences, note_as_gap
from receipts.search.filling import rebuild


class Command(BaseCommand):
    """`manage.py receipt_search status|check|rebuild`: the copy of receipts in ClickHouse that searches read."""

    help = "Say how complete the search of receipts is, compare it with PostgreSQL, or fill it anew."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=["status", "check", "rebuild"])
        parser.add_argument("--from", dest="first", default="", help="of check: accepted at or after")
        parser.add_argument("--to", dest="until", default="", help="of check: accepted before")
        parser.add_argument(
            "--repair", action="store_true", help="of check: let the worker fill what differs again"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        match options["what"]:
            case "status":
                self._status()
            case "rebuild":
                rebuild(at=timezone.now())
                self.stdout.write(
                    "The worker fills the search anew. `receipt_search status` says how far it is."
                )
            case "check":
                self._check(options["first"], options["until"], repair=options["repair"])

    def _status(self) -> None:
        complete = completeness(at=timezone.now())
        if not complete.origin:
            self.stdout.write("The worker has not begun to fill the search.")
        for gap in ReceiptGap.objects.all():
            self.stdout.write(f"to fill: {gap} ({gap.filled:,} receipts so far)")
        self.stdout.write(f"complete but for that until {complete.as_of:%F %T} UTC")
        self.stdout.write(f"verdicts until {complete.judged_as_of:%F %T} UTC")

    def _check(self, first: str, until: str, *, repair: bool) -> None:
        complete = completeness(at=timezone.now())
        store = patient_store()
        try:
            if search_origin(store) != complete.origin:
                raise CommandError(
                    "ClickHouse does not hold what PostgreSQL knows of. The worker fills it anew."
                )
            since = _second(first) if first else EARLIEST
            end = min(_second(until), complete.as_of) if until else complete.as_of
            found = list(differences(since, end, store=store))
        except (MetricsError, BadValue) as error:
            raise CommandError(str(error)) from error
        finally:
            if store is not get_store():
                store.close()
        for difference in found[:100]:
            self.stdout.write(str(difference))
        if not found:
            self.stdout.write(f"No differences from {since:%F %T} until {end:%F %T} UTC.")
            return
        if repair:
            note_as_gap(found[0].accepted_at, found[-1].accepted_at)
        raise CommandError("1 receipt differs." if len(found) == 1 else f"{len(found):,} receipts differ.")


def _second(text: str) -> datetime:
    return moment(text).start.astimezone(UTC).replace(microsecond=0)
