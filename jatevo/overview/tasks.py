"""The worker's jobs for the network's history."""

import logging

from django.utils import timezone
from procrastinate.contrib.django import app

from jatevo.metrics.transport import CircuitOpen, MetricsError, MetricsUnavailable
from jatevo.overview.summariser import summarise, take_census

logger = logging.getLogger(__name__)


# No `lock`, as in jatevo/metrics/tasks.py: the job of a killed worker would hold it, and both may overlap.
@app.periodic(cron="* * * * *", periodic_id="take-census")
@app.task(name="overview.take_census", queueing_lock="take-census", pass_context=False)
def count_nodes(timestamp: int) -> None:
    """Counts active nodes and their models, every minute."""
    take_census(at=timezone.now())


@app.periodic(cron="* * * * * */5", periodic_id="summarise-hours")
@app.task(name="overview.summarise", queueing_lock="summarise-hours", pass_context=False)
def sum_up_hours(timestamp: int) -> None:
    """Summarises hours with new facts, every five seconds. While ClickHouse is away they stay noted."""
    try:
        summarise(at=timezone.now())
    except CircuitOpen:
        pass  # already logged where the failure occurred
    except MetricsUnavailable as error:
        logger.warning("the hours wait for ClickHouse: %s", error)
    except MetricsError:
        logger.exception("ClickHouse refuses to sum up hours")
