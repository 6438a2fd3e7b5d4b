"""A new statement by mail, and the setting for it."""

from datetime import datetime
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string

from earnings.models import Statement, StatementPreference
from jatevo.accounts.models import Org, Role, User
from jatevo.audit.record import actor_of, record

PAGE: Final = "/earnings/statements/"


def wants_mail(org: Org) -> bool:
    return StatementPreference.objects.filter(org=org, by_mail=True).exists()


def set_by_mail(*, org: Org, by_mail: bool, by: User, at: datetime) -> None:
    """Sets whether the organisation gets its statements by mail."""
    with transaction.atomic():
        StatementPreference.objects.update_or_create(
            org=org, defaults={"by_mail": by_mail, "set_at": at, "set_by": actor_of(by).id}
        )
        record(
            "statements.by_mail",
            by=actor_of(by),
            subject_kind="org",
            subject_id=str(org.pk),
            org_id=org.pk,
            by_mail=by_mail,
        )


def mail_statement(*, user_id: str, statement_id: int) -> bool:
    """Sends one member a statement. Returns False if they may no longer see it. Called by the worker."""
    statement = Statement.objects.select_related("org").get(pk=statement_id)
    members = User.objects.filter(org=statement.org_id, is_active=True, role__in=(Role.ADMIN, Role.OPERATOR))
    user = members.filter(pk=UUID(user_id)).first()
    if user is None:
        return False
    month = f"{statement.month:%Y-%m}"
    context = {
        "org": statement.org.name,
        "month": f"{statement.month:%B %Y}",
        "sha256": bytes(statement.sha256).hex(),
        "page": f"{settings.BASE_URL}{PAGE}",
    }
    message = EmailMessage(
        f"Your Jatevo statement for {context['month']}",
        render_to_string("earnings/mail/statement.txt", context),
        None,
        [user.email],
    )
    message.attach(f"jatevo-statement-{month}.html", bytes(statement.body).decode(), "text/html")
    message.send()
    return True
