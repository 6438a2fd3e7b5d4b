"""Storing statements: once every day of the month is final, once for each organisation, and never again."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Final

import structlog
from django.db import connection, transaction
from django.db.models import Min
from django.template.loader import render_to_string
from django.utils import timezone
from procrastinate.contrib.django import app

from earnings.accrual.run import judged_until
from earnings.models import Line, Movement, Statement, StatementPreference
from earnings.rules.periods import Month
from earnings.rules.verdicts import PayRule
from earnings.statements.content import has_content, statement_content
from earnings.statements.ledger_part import StatementDoesNotAddUp
from jatevo.accounts.models import Org, Role, User

MAIL_TASK: Final = "earnings.mail_statement"  # in earnings/tasks.py

log = structlog.get_logger(__name__)


class NotFinalYet(Exception):
    """A day of the month is not final, so there is only a preliminary statement."""


def is_final(org: Org, month: Month, *, at: datetime) -> bool:
    """Whether nothing of the month can change any more, except by a movement of a later date."""
    if at < month.closes_at or judged_until(at=at) < month.closes_at:
        return False
    days = (month.first_day, month.last_day)
    return not Line.objects.filter(org=org, day__range=days, final_at__isnull=True).exists()


def store_statement(*, org: Org, month: Month, at: datetime) -> Statement:
    """The stored statement, made now if there is none. Queues the mails about a new one.

    Raises NotFinalYet, and StatementDoesNotAddUp.
    """
    stored = Statement.objects.filter(org=org, month=month.first_day).first()
    if stored is not None:
        return stored
    with snapshot():
        if not is_final(org, month, at=at):
            raise NotFinalYet
        content = statement_content(org, month, at=at, preliminary=False)
    body = render(content)
    assert content.root_hash is not None  # noqa: S101 - only preliminary ones may lack it
    with transaction.atomic():
        stored, new = Statement.objects.get_or_create(
            org=org,
            month=month.first_day,
            defaults={
                "made_at": at,
                "body": body,
                "sha256": hashlib.sha256(body).digest(),
                "root_hash": content.root_hash,
                "balances": content.ledger.as_json(),
            },
        )
        if new:
            _queue_mails(stored)
    return stored


def store_due(*, at: datetime) -> int:
    """Makes every statement that is due. Returns how many.

    One that does not add up stops no other; it is logged as an error and tried again the next time.
    """
    made = 0
    for month in _months_closed(at):
        made_already = Statement.objects.filter(month=month.first_day).values("org_id")
        for org in Org.objects.filter(has_content(month)).exclude(pk__in=made_already):
            try:
                store_statement(org=org, month=month, at=at)
                made += 1
            except NotFinalYet:
                continue
            except StatementDoesNotAddUp as error:
                log.error("a statement does not add up", org=str(org.pk), month=str(month), why=str(error))
    return made


def preliminary(*, org: Org, month: Month, at: datetime) -> bytes:
    """The statement as it stands now. Not stored. Raises StatementDoesNotAddUp."""
    with snapshot():
        content = statement_content(org, month, at=at, preliminary=True)
    return render(content)


def render(content: object) -> bytes:
    """The document, which needs nothing besides itself."""
    with timezone.override(UTC):
        return render_to_string(
            "earnings/statements/document.html", {"s": content, "rules": list(PayRule)}
        ).encode()


@contextmanager
def snapshot() -> Iterator[None]:
    """All queries within see one state. Within a transaction of the caller, they see what it sees."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def months_of(org: Org, *, at: datetime) -> list[Month]:
    """From the organisation's first receipt or movement to the current month, newest first."""
    first_day = Line.objects.filter(org=org).aggregate(first=Min("day"))["first"]
    first_moved = Movement.objects.filter(org=org).aggregate(first=Min("at"))["first"]
    return _months_since(first_day, first_moved, at)


def _months_closed(at: datetime) -> list[Month]:
    first_day = Line.objects.aggregate(first=Min("day"))["first"]
    first_moved = Movement.objects.aggregate(first=Min("at"))["first"]
    return [month for month in reversed(_months_since(first_day, first_moved, at)) if month.closes_at <= at]


def _months_since(first_day: date | None, first_moved: datetime | None, at: datetime) -> list[Month]:
    firsts = [first_day] if first_day else []
    firsts += [first_moved.astimezone(UTC).date()] if first_moved else []
    if not firsts:
        return []
    month, last, found = Month.of(min(firsts)), Month.of(at.astimezone(UTC).date()), []
    while month <= last:
        found.append(month)
        month = month.next
    return found[::-1]


def _queue_mails(statement: Statement) -> None:
    """A mail for each member who may see earnings, in the transaction that stores the statement."""
    if not StatementPreference.objects.filter(org=statement.org_id, by_mail=True).exists():
        return
    members = User.objects.filter(org=statement.org_id, is_active=True, role__in=(Role.ADMIN, Role.OPERATOR))
    for pk in members.order_by("pk").values_list("pk", flat=True):
        app.configure_task(MAIL_TASK).defer(user_id=str(pk), statement_id=statement.pk)
