"""The mail to every member of an organisation about a change of a wallet.

Jobs of the worker send them, one for each member. They belong to the transaction of the change, so there is
none without the other, and a mail server that is down delays nothing but the mail.
"""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse
from procrastinate.contrib.django import app

from earnings.models import Wallet
from jatevo.accounts.models import User

MAIL_TASK: Final = "earnings.mail_wallet_change"  # in earnings/tasks.py


def tell_members(wallet: Wallet, *, former: Wallet | None, by: str, stopped: bool = False) -> None:
    """Queues a mail to each active member of the organisation, in the transaction of the change.

    `former` is the wallet before or, if the change was stopped, the one that holds again.
    """
    members = User.objects.filter(org_id=wallet.org_id, is_active=True).order_by("pk")
    for pk in members.values_list("pk", flat=True):
        app.configure_task(MAIL_TASK).defer(
            user_id=str(pk),
            wallet_id=wallet.pk,
            former_id=former.pk if former else None,
            by=by,
            stopped=stopped,
        )


def mail_change(*, user_id: str, wallet_id: int, former_id: int | None, by: str, stopped: bool) -> bool:
    """Sends the mail to one member. Returns False if they have left the organisation. Called by the worker."""
    wallet = Wallet.objects.select_related("org").get(pk=wallet_id)
    user = User.objects.filter(pk=UUID(user_id), is_active=True, org_id=wallet.org_id).first()
    if user is None:
        return False
    context = {
        "org": wallet.org.name,
        "whose": f"the node {wallet.node_id}"
        if wallet.node_id
        else "all nodes without a wallet of their own",
        "wallet": wallet,
        "former": Wallet.objects.get(pk=former_id) if former_id else None,
        "by": by,
        "when": _spelt(wallet.ended_at if stopped else wallet.confirmed_at),
        "payouts_from": _spelt(wallet.payouts_from),
        "page": f"{settings.BASE_URL}{reverse('earnings:wallet')}",
    }
    template = "wallet_stopped" if stopped else "wallet_changed"
    subject = "A change of your Jatevo wallet was stopped" if stopped else "Your Jatevo wallet was changed"
    send_mail(subject, render_to_string(f"earnings/mail/{template}.txt", context), None, [user.email])
    return True


def _spelt(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%-d %B %Y, %H:%M} UTC" if moment else ""
