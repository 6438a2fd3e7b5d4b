"""The worker's jobs for nodes."""

import structlog
from django.utils import timezone
from procrastinate.contrib.django import app

from jatevo.metrics.store import MetricsError
from nodes.actions import judge_pending, recompute
from nodes.figures import refresh_standings
from nodes.sweeper import sweep

log = structlog.get_logger(__name__)

# No execution locks: the job of a killed worker would keep holding one, and each job may safely run twice at
# once.


@app.periodic(cron="* * * * * */5", periodic_id="sweep-nodes")
@app.task(name="nodes.sweep", queueing_lock="sweep-nodes", pass_context=False)
def sweep_nodes(timestamp: int) -> None:
    """Runs the sweeper every five seconds."""
    sweep(at=timezone.now())


@app.periodic(cron="* * * * * */15", periodic_id="node-standings")
@app.task(name="nodes.figures", queueing_lock="node-standings", pass_context=False)
def keep_standings(timestamp: int) -> None:
    """Updates the standings every fifteen seconds. While the metrics store is away, they become stale."""
    try:
        refresh_standings(at=timezone.now())
    except MetricsError as error:
        log.info("standings wait for ClickHouse", error=str(error))


@app.periodic(cron="*/5 * * * *", periodic_id="node-reputations")
@app.task(name="nodes.reputations", queueing_lock="node-reputations", pass_context=False)
def recompute_reputations(timestamp: int) -> None:
    """Recomputes all reputations every five minutes, and days that an earlier job failed to recompute."""
    at = timezone.now()
    recompute(at=at)
    judge_pending(at=at)


@app.task(name="nodes.judge_again", pass_context=False)
def judge_again() -> None:
    """Recomputes the days affected by a change of exemptions, at once."""
    judge_pending(at=timezone.now())
