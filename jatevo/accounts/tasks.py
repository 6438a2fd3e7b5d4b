"""Housekeeping of sessions."""

from datetime import UTC, datetime

from procrastinate.contrib.django import app

from jatevo.accounts import sessions


@app.periodic(cron="17 3 * * *")
@app.task(name="accounts.purge_sessions", queueing_lock="accounts.purge_sessions")
def purge_sessions(timestamp: int) -> int:
    """Daily: forgets sessions that expired long ago. How many rows went."""
    return sessions.purge(at=datetime.fromtimestamp(timestamp, UTC))
