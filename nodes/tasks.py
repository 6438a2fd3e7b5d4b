"""What the worker does for nodes."""

import structlog
from django.utils import timezone
from procrastinate.contrib.django import app

from jatevo.metrics.store import MetricsError
from nodes.actions import judge_pending, recompute
from nodes.figures import refresh_standings
from nodes.sweeper import sweep

log = structlog.get_logger(__name__)

# No execution locks here: the job of a killed worker would hold one, and each of these is harmless twice at once.


@app.periodic(cron="* * * * * */5", periodic_id="sweep-nodes")
@app.task(name="nodes.sweep", queueing_lock="sweep-nodes", pass_context=False)
def sweep_nodes(timestamp: int) -> None:
    """Every five seconds: who fell silent?"""
    sweep(at=timezone.now())


@app.periodic(cron="* * * * * */15", periodic_id="node-standings")
@app.task(name="nodes.figures", queueing_lock="node-standings", pass_context=False)
def keep_standings(timestamp: int) -> None:
    """Every fifteen seconds: what the metrics store says of the nodes. While it is away they grow old."""
    try:
        refresh_standings(at=timezone.now())
    except MetricsError as error:
        log.info("standings wait for ClickHouse", error=str(error))


@app.periodic(cron="*/5 * * * *", periodic_id="node-reputations")
@app.task(name="nodes.reputations", queueing_lock="node-reputations", pass_context=False)
def recompute_reputations(timestamp: int) -> None:
    """Every five minutes: all reputations, and what an earlier job was to judge anew and did not."""
    at = timezone.now()
    recompute(at=at)
    judge_pending(at=at)


@app.task(name="nodes.judge_again", pass_context=False)
def judge_again() -> None:
    """An exemption was declared, changed or withdrawn: the days that it touches are judged anew, at once."""
    judge_pending(at=timezone.now())
