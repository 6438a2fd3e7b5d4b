import time
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from jatevo.metrics.store import MetricsError, get_store, patient_store
from jatevo.metrics.transport import Transport
from receipts.rebuilding import (
    Progress,
    Refused,
    WorkerRuns,
    in_clickhouse,
    in_postgresql,
    rebuild_metrics,
    requests_counted,
)

SAY_EVERY_SECONDS: Final = 5.0
NOT_REBUILT: Final = (
    "PostgreSQL does not have: latencies of probes and heartbeat minutes past their retention there (30 and 2 days "
    "unless set otherwise), and the region that a node was in when a receipt came. What ClickHouse had of latencies "
    "and minutes is kept."
)


class Command(BaseCommand):
    """`manage.py metrics_rebuild`: ClickHouse anew from PostgreSQL. It may be interrupted and run again."""

    help = "Empty ClickHouse's tables of receipts and fill them from PostgreSQL. Stop all workers first."

    def handle(self, *args: Any, **options: Any) -> None:
        began_at, began = timezone.now().replace(microsecond=0), time.monotonic()
        store = patient_store()
        try:
            get_store().ping()  # with a short time-out, to report an unreachable server quickly
            self._fill(store)
            self._compare(store, began_at)
        except WorkerRuns as error:
            raise CommandError(
                "A worker runs, or was killed less than half a minute ago. Stop all workers first."
            ) from error
        except (MetricsError, Refused) as error:
            raise CommandError(f"ClickHouse was not rebuilt: {error}. Run the command again.") from error
        finally:
            if store is not get_store():
                store.close()
        self.stdout.write(NOT_REBUILT)
        self.stdout.write(self.style.SUCCESS(f"Rebuilt in {time.monotonic() - began:.1f} s."))

    def _fill(self, store: Transport) -> None:
        said_at, last = time.monotonic(), Progress("", 0, 0)
        for step in rebuild_metrics(store, at=timezone.now()):
            if last.kind not in ("", step.kind):
                self.stdout.write(f"{last.kind}: {last.rows:,}, done")
            elif time.monotonic() - said_at > SAY_EVERY_SECONDS:
                self.stdout.write(f"{step.kind}: {step.rows:,} so far")
                said_at = time.monotonic()
            last = step
        self.stdout.write(f"{last.kind}: {last.rows:,}, done")

    def _compare(self, store: Transport, began_at: Any) -> None:
        here, there = in_postgresql(before=began_at), in_clickhouse(store, before=began_at)
        self.stdout.write(f"PostgreSQL: {here}")
        self.stdout.write(f"ClickHouse: {there}, {requests_counted(store):,} requests in hours")
        if here != there:
            raise CommandError("They differ. Run the command again, with all workers stopped.")
