"""The worker's jobs for sessions and mail."""

from datetime import UTC, datetime

from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from jatevo.accounts import password_reset, sessions


@app.periodic(cron="17 3 * * *")
@app.task(name="accounts.purge_sessions", queueing_lock="accounts.purge_sessions")
def purge_sessions(timestamp: int) -> int:
    """Deletes sessions that expired long ago, daily. Returns how many rows."""
    return sessions.purge(at=datetime.fromtimestamp(timestamp, UTC))


@app.task(name=password_reset.MAIL_TASK, retry=RetryStrategy(max_attempts=4, exponential_wait=5))
def mail_reset_link(email: str) -> bool:
    """Mails a link for a forgotten password. Returns whether the address has an account."""
    return password_reset.mail_link(email=email)
