"""What admins do with open payouts, with the ready ones together, and with payments. Each page asks first."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from earnings.models import Payment, Payout, PayoutState
from earnings.payouts import PayoutError, confirm, export, preview_of, return_payment, withdraw
from earnings.rules.pricing import exact_sum
from earnings.run.forms import ReasonForm
from jatevo.accounts.permissions import Permission, require, user_of
from jatevo.accounts.step_up import step_up_required
from jatevo.web.templatetags.money import usd_words

ASK_AND_ACT = ["GET", "HEAD", "POST"]
_ENDING = ["state", "ended_at", "ended_by", "end_reason"]
_RETURNING = ["returned_at", "returned_by", "return_reason"]


@require_http_methods(ASK_AND_ACT)
@require(Permission.PAY_OUT)
@step_up_required
def confirm_payout(request: HttpRequest, payout_id: int) -> HttpResponse:
    """A second admin looks at a proposed payout and confirms it."""
    payout = get_object_or_404(Payout.objects.select_related("org"), pk=payout_id)
    problem = ""
    if request.method == "POST":
        try:
            confirm(payout=payout, by=user_of(request), at=timezone.now())
        except PayoutError as error:
            problem = str(error)
            payout.refresh_from_db(fields=_ENDING)
        else:
            messages.success(request, f"The payout of {payout.node_id} is ready.")
            return redirect(_open())
    now = None
    if payout.state == PayoutState.PROPOSED:
        now = preview_of([payout], at=timezone.now()).get(payout.pk)
        if now is None:  # withdrawn since it was read
            payout.refresh_from_db(fields=_ENDING)
    context = {
        "payout": payout,
        "now": now,
        "problem": problem,
        "verb": "Confirm",
        "possible": now is not None,
        "back": _open(),
    }
    return render(request, "earnings/run/payout.html", context, status=422 if problem else 200)


@require_http_methods(ASK_AND_ACT)
@require(Permission.PAY_OUT)
def withdraw_payout(request: HttpRequest, payout_id: int) -> HttpResponse:
    """Asks for a reason, then takes a payout back that is not exported yet."""
    payout = get_object_or_404(Payout.objects.select_related("org"), pk=payout_id)

    def act(reason: str) -> str:
        withdraw(payout=payout, by=user_of(request), at=timezone.now(), reason=reason)
        return f"The payout of {payout.node_id} is withdrawn. Its amount is available again."

    def shown() -> dict[str, Any]:
        payout.refresh_from_db(fields=_ENDING)
        open_still = payout.state in (PayoutState.PROPOSED, PayoutState.READY)
        return {"payout": payout, "verb": "Withdraw", "possible": open_still, "back": _open()}

    return _ask_reason(request, "earnings/run/payout.html", shown, act, onward=_open())


@require_http_methods(ASK_AND_ACT)
@require(Permission.PAY_OUT)
@step_up_required
def export_ready(request: HttpRequest) -> HttpResponse:
    """Shows what is ready, asks for a reason, then makes the next export file."""
    form = ReasonForm(request.POST or None, seen_by_operator=False)
    if request.method == "POST" and form.is_valid():
        try:
            done = export(by=user_of(request), at=timezone.now(), reason=form.cleaned_data["reason"])
        except PayoutError as error:
            form.add_error(None, str(error))
        else:
            return render(request, "earnings/run/exported.html", {"done": done, "back": _open()})
    ready = list(
        Payout.objects.filter(state=PayoutState.READY).select_related("org").order_by("org__name", "pk")
    )
    context = {
        "form": form,
        "payouts": len(ready),
        "total": exact_sum(each.amount_usd for each in ready),
        "by_nobody": [each for each in ready if each.confirmed_by_nobody],
        "orgs": len({each.org_id for each in ready}),
        "back": _open(),
    }
    return render(request, "earnings/run/export.html", context, status=422 if form.errors else 200)


@require_http_methods(ASK_AND_ACT)
@require(Permission.PAY_OUT)
@step_up_required
def return_of_payment(request: HttpRequest, payment_id: int) -> HttpResponse:
    """Asks for a reason, then books back a payment that did not arrive."""
    payment = get_object_or_404(Payment.objects.select_related("org"), pk=payment_id)
    file = reverse("earnings_run:file", args=[payment.export_id])

    def act(reason: str) -> str:
        return_payment(payment=payment, by=user_of(request), at=timezone.now(), reason=reason)
        return f"{usd_words(payment.paid_usd)} is returned and available again."

    def shown() -> dict[str, Any]:
        payment.refresh_from_db(fields=_RETURNING)
        return {"payment": payment, "back": file, "possible": payment.returned_at is None}

    return _ask_reason(request, "earnings/run/return.html", shown, act, onward=file)


def _ask_reason(
    request: HttpRequest,
    template: str,
    shown: Callable[[], dict[str, Any]],
    act: Callable[[str], str],
    *,
    onward: str,
) -> HttpResponse:
    """Asks for a reason and acts. `shown` is what the page shows, read after a refusal: somebody was faster."""
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            done = act(form.cleaned_data["reason"])
        except PayoutError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, done)
            return redirect(onward)
    return render(request, template, {"form": form, **shown()}, status=422 if form.errors else 200)


def _open() -> str:
    return f"{reverse('earnings_run:run')}?part=open"
