"""The pages of statements: the months of an organisation, and one month as a document."""

import base64
import hashlib
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from earnings.figures.scope import Scope
from earnings.figures.sums import sums_by
from earnings.models import Statement
from earnings.rules.periods import Month
from earnings.statements.ledger_part import OWED, StatementDoesNotAddUp
from earnings.statements.mail import set_by_mail, wants_mail
from earnings.statements.storing import NotFinalYet, is_final, months_of, preliminary, store_statement
from jatevo.accounts.models import Org
from jatevo.accounts.permissions import Permission, require, user_of
from jatevo.web.capped_work import EXPORTS
from jatevo.web.page_limits import count_export

_STYLE: Final = re.compile(rb"<style>(.*?)</style>", re.DOTALL)


@dataclass(frozen=True)
class MonthRow:
    """A month in the list. `stored` is None while there is no final statement; `due` if one can be made now."""

    month: Month
    fees_usd: Decimal
    stored: Statement | None
    due: bool
    url: str

    @property
    def sha256(self) -> str:
        return bytes(self.stored.sha256).hex() if self.stored else ""

    @property
    def closing_usd(self) -> Decimal | None:
        if self.stored is None:
            return None
        closing = self.stored.balances["closing"]
        return sum((Decimal(closing[account.value]) for account in OWED), Decimal(0))


@require_safe
@require(Permission.VIEW_EARNINGS)
def list_statements(request: HttpRequest) -> HttpResponse:
    """The months of the organisation, newest first. An admin chooses whose."""
    org = _org(request)
    context = {
        "org": org,
        "rows": _rows(org, _suffix(request)) if org else [],
        "by_mail": wants_mail(org) if org else False,
        "orgs": Org.objects.values_list("pk", "name") if user_of(request).is_admin else (),
        "suffix": _suffix(request),
    }
    return render(request, "earnings/statements/list.html", context)


@require_safe
@require(Permission.VIEW_EARNINGS)
def document(request: HttpRequest, month: str) -> HttpResponse:
    """The statement of a month as a document to print: the stored one, or a preliminary one as of now."""
    org, wanted = _of_month(request, month)
    stored = Statement.objects.filter(org=org, month=wanted.first_day).first()
    if stored is not None:
        return _as_document(bytes(stored.body), f"jatevo-statement-{wanted}", request)
    count_export(request)
    try:
        with EXPORTS.held():
            body = preliminary(org=org, month=wanted, at=timezone.now())
    except StatementDoesNotAddUp:
        return render(request, "earnings/statements/wrong.html", {"month": wanted}, status=503)
    return _as_document(body, f"jatevo-statement-{wanted}-preliminary", request)


@require_POST
@require(Permission.VIEW_EARNINGS)
def make(request: HttpRequest, month: str) -> HttpResponse:
    """Stores the statement of a month whose days are all final, without waiting for the nightly job."""
    org, wanted = _of_month(request, month)
    count_export(request)
    try:
        with EXPORTS.held():
            store_statement(org=org, month=wanted, at=timezone.now())
        messages.success(request, f"The statement for {wanted} is stored.")
    except NotFinalYet:
        messages.error(request, f"Some days of {wanted} are not final yet.")
    except StatementDoesNotAddUp:
        messages.error(request, "The ledger does not add up, so no statement was made. Tell an admin.")
    return redirect(f"{reverse('earnings:statements')}{_suffix(request)}")


@require_POST
@require(Permission.VIEW_EARNINGS)
def by_mail(request: HttpRequest) -> HttpResponse:
    """Turns the mail about new statements on or off."""
    org = _org(request)
    if org is None:
        raise Http404
    on = request.POST.get("by_mail") == "on"
    set_by_mail(org=org, by_mail=on, by=user_of(request), at=timezone.now())
    messages.success(
        request, "New statements will be sent by mail." if on else "New statements will not be sent by mail."
    )
    return redirect(f"{reverse('earnings:statements')}{_suffix(request)}")


def _rows(org: Org, suffix: str) -> list[MonthRow]:
    now = timezone.now()
    fees = {key[0]: sums.fees_usd for key, sums in sums_by(Scope(org.pk), "month").items()}
    stored = {each.month: each for each in Statement.objects.filter(org=org).defer("body")}
    return [
        MonthRow(
            month,
            fees.get(month.first_day, Decimal(0)),
            stored.get(month.first_day),
            month.first_day not in stored and is_final(org, month, at=now),
            f"{reverse('earnings:statement', args=[str(month)])}{suffix}",
        )
        for month in months_of(org, at=now)
    ]


def _as_document(body: bytes, name: str, request: HttpRequest) -> HttpResponse:
    """The document under a policy of its own: it runs and loads nothing, and has just its own style."""
    style = _STYLE.search(body)
    digest = base64.b64encode(hashlib.sha256(style.group(1) if style else b"").digest()).decode()
    answer = HttpResponse(body, content_type="text/html; charset=utf-8")
    answer["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    answer["Cache-Control"] = "private, no-cache"
    kind = "attachment" if request.GET.get("download") == "1" else "inline"
    answer["Content-Disposition"] = f'{kind}; filename="{name}.html"'
    return answer


def _of_month(request: HttpRequest, month: str) -> tuple[Org, Month]:
    """The organisation and the month. Raises Http404 for one in which the organisation had nothing yet."""
    org = _org(request)
    try:
        wanted = Month.parse(month)
    except ValueError as error:
        raise Http404 from error
    if org is None or wanted not in months_of(org, at=timezone.now()):
        raise Http404
    return org, wanted


def _org(request: HttpRequest) -> Org | None:
    """The organisation asked for; without `org`, the person's own. Raises Http404 for one they may not see."""
    user, asked = user_of(request), request.GET.get("org", "")
    if not asked or asked == str(user.org_id):
        return user.org
    if not user.is_admin:
        raise Http404
    try:
        found = Org.objects.filter(pk=asked).first()
    except (ValueError, ValidationError) as error:
        raise Http404 from error
    if found is None:
        raise Http404
    return found


def _suffix(request: HttpRequest) -> str:
    query = QueryDict(mutable=True)
    if request.GET.get("org"):
        query["org"] = request.GET["org"]
    return f"?{query.urlencode()}" if query else ""
