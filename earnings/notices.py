"""What an organisation's members are told by mail: receipts held or decided on, findings of fraud opened or decided,
payouts exported or returned.

One mail a member and an hour at most, however much happened. What happened is read from the records
themselves, so nothing has to be noted when it happens. The audit log keeps up to when members were told.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Count, Q, Sum
from django.template.loader import render_to_string
from django.urls import reverse
from procrastinate.contrib.django import app

from earnings.accrual.coverage import covered_earners
from earnings.models import HeldItem, Payment
from earnings.rules.verdicts import Cause
from jatevo.accounts.models import Org, User
from jatevo.audit.models import AuditEvent
from jatevo.audit.record import SYSTEM, record
from jatevo.web.templatetags.money import usd_words
from nodes.models import FindingState, FraudFinding

DIGEST_TASK: Final = "earnings.mail_digest"  # in earnings/tasks.py
TOLD: Final = "earnings.notices_sent"
SUBJECT: Final = "Your Jatevo earnings"
LONGEST_BACK: Final = timedelta(days=7)  # after an outage of the worker
_FINDINGS: Final = {
    FindingState.OPEN: "a finding of fraud was opened, and the earnings that it covers are held",
    FindingState.CLEARED: "the finding of fraud was cleared, and what it held is released",
    FindingState.CONFIRMED: "the fraud was confirmed, and what the finding held is excluded",
}
_DECISIONS: Final = {"earnings.release": "released", "earnings.exclude": "excluded"}


@dataclass(frozen=True)
class Held:
    """Receipts that were held in the time, by cause."""

    cause: str
    receipts: int
    fees_usd: Decimal

    @property
    def amount(self) -> str:
        return usd_words(self.fees_usd)


@dataclass(frozen=True)
class Decided:
    """What an admin decided about receipts of a node."""

    node_id: str
    verb: str
    receipts: int
    reason: str


@dataclass(frozen=True)
class Finding:
    """A finding of fraud that was opened or decided, and what that means for the node's earnings."""

    node_id: str
    state: FindingState
    reason: str

    @property
    def meaning(self) -> str:
        return _FINDINGS[self.state]


@dataclass
class News:
    """What happened to an organisation's earnings in a time."""

    held: list[Held] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    exported: list[Payment] = field(default_factory=list)
    returned: list[Payment] = field(default_factory=list)


def tell(*, until: datetime) -> int:
    """Queues a mail to each member of the organisations to whom something happened since the last time.

    `until` is the start of an hour. Returns how many mails were queued.
    """
    with transaction.atomic():
        since = _told_until(until)
        if since >= until:
            return 0
        news = news_between(since, until)
        members = User.objects.filter(org_id__in=news, is_active=True).order_by("pk")
        queued = 0
        for pk in members.values_list("pk", flat=True):
            app.configure_task(DIGEST_TASK).defer(
                user_id=str(pk), since=since.isoformat(), until=until.isoformat()
            )
            queued += 1
        record(
            TOLD,
            by=SYSTEM,
            subject_kind="earnings",
            subject_id="notices",
            until=until.isoformat(),
            mails=queued,
        )
    return queued


def mail_digest(*, user_id: str, since: str, until: str) -> bool:
    """Sends one member the mail. Returns False if there is nobody to tell any more. Called by the worker."""
    user = User.objects.select_related("org").filter(pk=UUID(user_id), is_active=True).first()
    if user is None or user.org is None:
        return False
    news = news_between(datetime.fromisoformat(since), datetime.fromisoformat(until), org=user.org)
    if user.org.pk not in news:
        return False
    context = {
        "org": user.org.name,
        "news": news[user.org.pk],
        "page": f"{settings.BASE_URL}{reverse('earnings:home')}",
    }
    send_mail(SUBJECT, render_to_string("earnings/mail/digest.txt", context), None, [user.email])
    return True


def news_between(since: datetime, until: datetime, *, org: Org | None = None) -> dict[UUID, News]:
    """What happened from `since` until before `until`, by organisation. Only those to whom something happened."""
    news: dict[UUID, News] = {}

    def of(org_id: UUID) -> News:
        return news.setdefault(org_id, News())

    whose = {"org": org} if org else {}
    held = HeldItem.objects.filter(since__gte=since, since__lt=until, **whose).order_by()
    for row in (
        held.values("org_id", "cause").annotate(receipts=Count("*"), fees=Sum("fee_usd")).order_by("-fees")
    ):
        of(row["org_id"]).held.append(Held(_label(row["cause"]), row["receipts"], row["fees"]))
    events = AuditEvent.objects.filter(at__gte=since, at__lt=until, verb__in=_DECISIONS, org_id__isnull=False)
    for event in (events.filter(org_id=org.pk) if org else events).order_by("id"):
        assert event.org_id is not None  # noqa: S101 - by the filter
        of(event.org_id).decided.append(
            Decided(event.subject_id, _DECISIONS[event.verb], event.details.get("receipts", 0), event.reason)
        )
    for org_id, finding in _findings(since, until):
        if org is None or org_id == org.pk:
            of(org_id).findings.append(finding)
    payments = Payment.objects.filter(**whose).order_by("pk")
    for payment in payments.filter(export__created_at__gte=since, export__created_at__lt=until):
        of(payment.org_id).exported.append(payment)
    for payment in payments.filter(returned_at__gte=since, returned_at__lt=until):
        of(payment.org_id).returned.append(payment)
    return news


def _findings(since: datetime, until: datetime) -> Iterator[tuple[UUID, Finding]]:
    """The findings that were opened or decided in the time, for each organisation whose lines they cover.

    A finding that covers no line concerns the node's owner. One that was opened and decided is named once, as decided.
    An organisation that neither has nor had the finding's node is told of its own nodes that are related to it.
    """
    opened = Q(opened_at__gte=since, opened_at__lt=until)
    decided = Q(decided_at__gte=since, decided_at__lt=until)
    for finding in FraudFinding.objects.filter(opened | decided).select_related("node").order_by("id"):
        state, reason = FindingState.OPEN, finding.reason
        if finding.decided_at is not None and finding.decided_at < until:
            state, reason = FindingState(finding.state), finding.decision
        owner, about = finding.node.org_id, finding.node_id
        for org_id, node_ids in (covered_earners(finding.pk) or {owner: [about]}).items():
            own = [about] if org_id == owner or about in node_ids else node_ids
            for node_id in own:
                yield org_id, Finding(node_id, state, reason)


def last_full_hour(at: datetime) -> datetime:
    """The start of the hour in UTC."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _told_until(until: datetime) -> datetime:
    """Up to when members were told. At first, the hour before; never longer ago than LONGEST_BACK."""
    last = AuditEvent.objects.filter(verb=TOLD, subject_kind="earnings", subject_id="notices").first()
    if last is None:
        return until - timedelta(hours=1)
    return max(datetime.fromisoformat(last.details["until"]), until - LONGEST_BACK)


def _label(cause: str) -> str:
    return next((each.label for each in Cause if each == cause), cause)
