"""The outbox's shipper and the retention policy as periodic jobs."""

import logging
import time

from django.utils import timezone
from procrastinate.contrib.django import app

from jatevo.metrics import retention_policy
from jatevo.metrics.shipper import DEFAULT_LIMIT, ship
from jatevo.metrics.transport import CircuitOpen, MetricsError, MetricsUnavailable

logger = logging.getLogger(__name__)

AT_ONCE = DEFAULT_LIMIT  # rows of a batch
# A job ends early enough for the worker to stop when asked. The next job continues.
_BUDGET_SECONDS = 5.0


# No `lock`: procrastinate would keep it for a job whose worker was killed, which would stop shipping until
# that job was rescued. Shippers may overlap, because they lock each batch.
@app.periodic(cron="* * * * * */3")
@app.task(queueing_lock="ship-outbox", pass_context=False)
def ship_outbox(timestamp: int) -> None:
    """Ships the outbox, every three seconds. If ClickHouse is unreachable, the rows wait and the job succeeds.

    Each batch makes new parts of all tables, which ClickHouse then merges. More batches would cost more than their
    facts. So what came while a batch was shipped waits for the next job, unless there is more than a batch of it.
    """
    stop_at = time.monotonic() + _BUDGET_SECONDS
    try:
        while ship(at=timezone.now(), limit=AT_ONCE).rows >= AT_ONCE and time.monotonic() < stop_at:
            pass
    except CircuitOpen:
        pass  # already logged by the job that met the failure
    except MetricsUnavailable as error:
        logger.warning("the outbox waits for ClickHouse: %s", error)
    except MetricsError:
        logger.exception("ClickHouse refuses what the outbox holds")


@app.periodic(cron="47 3 * * *", periodic_id="retention")
@app.task(name="metrics.retention", queueing_lock="retention", pass_context=False)
def forget_old(timestamp: int) -> None:
    """Applies the retention policy, daily. Rules that failed are retried the next day."""
    for applied in retention_policy.apply(at=timezone.now()):
        for dropped in applied.dropped:
            logger.info("retention: %s dropped %s", applied.rule.name, dropped)
        for kept in applied.kept:
            logger.info("retention: %s keeps %s", applied.rule.name, kept)
        if applied.problem:
            logger.warning("retention: %s is left as it is: %s", applied.rule.name, applied.problem)
