"""The worker's jobs for receipts."""

from django.utils import timezone
from procrastinate.contrib.django import app

from receipts.partitions import ensure_partitions


@app.periodic(cron="17 3 * * *", periodic_id="receipt-partitions")
@app.task(name="receipts.ensure_partitions", queueing_lock="receipt-partitions", pass_context=False)
def make_partitions(timestamp: int) -> None:
    """Creates the partitions of the coming months, daily."""
    ensure_partitions(at=timezone.now())
