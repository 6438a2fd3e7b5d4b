"""The outbox's shipper as a periodic job."""

import logging
import time

from django.utils import timezone
from procrastinate.contrib.django import app

from jatevo.metrics.shipper import ship
from jatevo.metrics.transport import CircuitOpen, MetricsUnavailable

logger = logging.getLogger(__name__)

# A job ends soon enough for a worker to stop when asked; the next second's job goes on.
_BUDGET_SECONDS = 5.0


# No `lock`: procrastinate keeps it for a job whose worker was killed, which would stop shipping until someone
# rescued that job. Shippers may overlap, they lock by batch.
@app.periodic(cron="* * * * * *")
@app.task(queueing_lock="ship-outbox", pass_context=False)
def ship_outbox(timestamp: int) -> None:
    """Every second: empties the outbox. While ClickHouse is away the rows wait, and that is no failed job."""
    stop_at = time.monotonic() + _BUDGET_SECONDS
    try:
        while ship(at=timezone.now()).rows and time.monotonic() < stop_at:
            pass
    except CircuitOpen:
        pass  # said a few seconds ago, by the job that met the failure
    except MetricsUnavailable as error:
        logger.warning("the outbox waits for ClickHouse: %s", error)
