"""What the worker does for nodes."""

from django.utils import timezone
from procrastinate.contrib.django import app

from nodes.sweeper import sweep


@app.periodic(cron="* * * * * */5", periodic_id="sweep-nodes")
# no execution lock: the job of a killed worker would hold it, and sweeping twice at once is harmless
@app.task(name="nodes.sweep", queueing_lock="sweep-nodes", pass_context=False)
def sweep_nodes(timestamp: int) -> None:
    """Every five seconds: who fell silent?"""
    sweep(at=timezone.now())
