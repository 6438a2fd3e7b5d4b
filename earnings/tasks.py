"""The worker's jobs for earnings."""

from datetime import UTC, datetime

from django.utils import timezone
from procrastinate.contrib.django import app

from earnings import notices
from earnings.accrual import accrue
from earnings.statements import storing
from earnings.statements.mail import mail_statement
from earnings.wallets import mail as wallet_mail
from jatevo.web.mail import MAIL_RETRIES


# No `lock`: procrastinate keeps it for a job whose worker was killed. Accruals that overlap wait for each other.
@app.periodic(cron="* * * * * */10", periodic_id="accrue-earnings")
@app.task(name="earnings.accrue", queueing_lock="accrue-earnings", pass_context=False)
def accrue_earnings(timestamp: int) -> None:
    """Accrues what waits, every ten seconds, for about five seconds. The next job goes on."""
    accrue(at=timezone.now())


@app.task(name=wallet_mail.MAIL_TASK, retry=MAIL_RETRIES)
def mail_wallet_change(user_id: str, wallet_id: int, former_id: int | None, by: str, stopped: bool) -> bool:
    """Mails a change of a wallet to one member. Returns whether they are still a member."""
    return wallet_mail.mail_change(
        user_id=user_id, wallet_id=wallet_id, former_id=former_id, by=by, stopped=stopped
    )


@app.periodic(cron="5 * * * *", periodic_id="earnings-notices")
@app.task(name="earnings.tell_members", queueing_lock="earnings.tell_members", pass_context=False)
def tell_members(timestamp: int) -> int:
    """Queues what members are told by mail about the hours since the last time. Returns how many mails."""
    return notices.tell(until=notices.last_full_hour(datetime.fromtimestamp(timestamp, UTC)))


@app.task(name=notices.DIGEST_TASK, retry=MAIL_RETRIES)
def mail_digest(user_id: str, since: str, until: str) -> bool:
    """Mails one member what happened. Returns whether there was somebody and something to tell."""
    return notices.mail_digest(user_id=user_id, since=since, until=until)


@app.periodic(cron="41 4 * * *", periodic_id="earnings-statements")
@app.task(name="earnings.make_statements", queueing_lock="earnings.make_statements", pass_context=False)
def make_statements(timestamp: int) -> int:
    """Stores the statements whose months are final, daily. Returns how many."""
    return storing.store_due(at=timezone.now())


@app.task(name=storing.MAIL_TASK, retry=MAIL_RETRIES)
def mail_new_statement(user_id: str, statement_id: int) -> bool:
    """Mails a statement to one member. Returns whether they may still see it."""
    return mail_statement(user_id=user_id, statement_id=statement_id)
