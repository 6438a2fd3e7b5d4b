"""The worker's jobs for earnings."""

from django.utils import timezone
from procrastinate.contrib.django import app

from earnings.accrual import accrue


# No `lock`: procrastinate keeps it for a job whose worker was killed. Accruals that overlap wait for each other.
@app.periodic(cron="* * * * * */10", periodic_id="accrue-earnings")
@app.task(name="earnings.accrue", queueing_lock="accrue-earnings", pass_context=False)
def accrue_earnings(timestamp: int) -> None:
    """Accrues what waits, every ten seconds, for about five seconds. The next job goes on."""
    accrue(at=timezone.now())
