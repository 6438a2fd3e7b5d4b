"""The worker's job that cleans up the table of jobs."""

from procrastinate.builtin_tasks import remove_old_jobs
from procrastinate.contrib.django import app
from procrastinate.job_context import JobContext

KEEP_HOURS = 14 * 24


@app.periodic(cron="23 4 * * *", periodic_id="forget-old-jobs")
@app.task(name="local.forget_old_jobs", queueing_lock="forget-old-jobs", pass_context=True)
async def forget_old_jobs(context: JobContext, timestamp: int) -> None:
    """Deletes, daily, jobs that failed over two weeks ago. Successful jobs are deleted at once."""
    await remove_old_jobs(
        context, max_hours=KEEP_HOURS, remove_failed=True, remove_cancelled=True, remove_aborted=True
    )
