"""The worker's jobs for receipts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.utils import timezone
from procrastinate.contrib.django import app

from jatevo.metrics.store import get_store, patient_store
from jatevo.metrics.transport import CircuitOpen, MetricsUnavailable
from jatevo.web.mail import MAIL_RETRIES
from receipts.exports.mail import mail_ready
from receipts.exports.writing import MAIL_TASK, write_exports
from receipts.partitions import ensure_partitions
from receipts.search.filling import fill
from receipts.search.tidying import tidy
from receipts.search.verdicts import deliver_verdicts

logger = logging.getLogger(__name__)


@app.periodic(cron="17 3 * * *", periodic_id="receipt-partitions")
@app.task(name="receipts.ensure_partitions", queueing_lock="receipt-partitions", pass_context=False)
def make_partitions(timestamp: int) -> None:
    """Creates the partitions of the coming months, daily."""
    ensure_partitions(at=timezone.now())


# No `lock`: procrastinate keeps it for a job whose worker was killed. Jobs that overlap write no part twice.
@app.periodic(cron="* * * * * */5", periodic_id="receipt-exports")
@app.task(name="receipts.write_exports", queueing_lock="receipt-exports", pass_context=False)
def go_on_with_exports(timestamp: int) -> None:
    """Writes the large exports that people wait for, until the next job is due to go on."""
    write_exports()


@app.periodic(cron="* * * * * */2", periodic_id="deliver-verdicts")
@app.task(name="receipts.deliver_verdicts", queueing_lock="deliver-verdicts", pass_context=False)
def go_on_with_verdicts(timestamp: int) -> None:
    """Delivers verdicts to the search, every two seconds. If ClickHouse is unreachable, they wait."""
    with _while_clickhouse_answers("verdicts"):
        deliver_verdicts()


@app.periodic(cron="* * * * * */10", periodic_id="fill-receipt-search")
@app.task(name="receipts.fill_search", queueing_lock="fill-receipt-search", pass_context=False)
def go_on_with_filling(timestamp: int) -> None:
    """Fills what the search may lack, for about five seconds. The next job goes on."""
    with _while_clickhouse_answers("the filling of the search"):
        fill(at=timezone.now())


@app.periodic(cron="23 * * * *", periodic_id="tidy-receipt-search")
@app.task(name="receipts.tidy_search", queueing_lock="tidy-receipt-search", pass_context=False)
def tidy_search(timestamp: int) -> None:
    """Merges a month of the search that several parts have, hourly."""
    store = patient_store()
    try:
        with _while_clickhouse_answers("the merging of the search"):
            if merged := tidy(store=store, at=timezone.now()):
                logger.info("%s: the parts of %s are merged", merged.table, merged.number)
    finally:
        if store is not get_store():
            store.close()


@contextmanager
def _while_clickhouse_answers(what: str) -> Iterator[None]:
    try:
        yield
    except CircuitOpen:
        pass  # already logged by the job that met the failure
    except MetricsUnavailable as error:
        logger.warning("%s waits for ClickHouse: %s", what, error)


@app.task(name=MAIL_TASK, retry=MAIL_RETRIES)
def mail_export(export_id: str) -> bool:
    """Mails that an export is ready. Returns whether there was somebody to tell."""
    return mail_ready(export_id=export_id)
