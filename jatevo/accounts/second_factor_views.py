"""The page for the person's own second factor."""

from base64 import b32encode

import segno
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from django_otp.plugins.otp_totp.models import TOTPDevice

from jatevo.accounts import second_factor as actions
from jatevo.accounts.actions import WrongCredentials, has_second_factor
from jatevo.accounts.forms import CodeForm, ProveForm
from jatevo.accounts.permissions import user_of
from jatevo.web.address import client_address


@sensitive_post_parameters()
@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def second_factor(request: HttpRequest) -> HttpResponse:
    """Sets it up (`begin`, then `confirm` with a code) or removes it (`remove`), depending on the button.

    Context: `on`, `prove` (current), `code` (code), and during set-up `secret`, `qr` and `uri`.
    """
    wanted = request.POST.get("do")
    if wanted == "confirm":
        return _confirm(request)
    if wanted in ("begin", "remove"):
        return _proven(request, wanted)
    return _page(request)


def _proven(request: HttpRequest, wanted: str) -> HttpResponse:
    form, user = ProveForm(request.POST), user_of(request)
    if not form.is_valid():
        return _page(request, prove=form)
    proof = {"password": form.cleaned_data["current"], "address": client_address(request)}
    try:
        if wanted == "remove":
            actions.give_up(by=user, **proof, at=timezone.now())
            messages.success(request, "Two-factor authentication is off.")
            return redirect("accounts:second_factor")
        device = actions.begin(by=user, **proof, at=timezone.now())
    except WrongCredentials:
        form.add_error("current", "This is not your current password.")
        return _page(request, prove=form)
    return _page(request, device=device)


def _confirm(request: HttpRequest) -> HttpResponse:
    form, user = CodeForm(request.POST), user_of(request)
    if form.is_valid():
        try:
            actions.confirm(by=user, code=form.cleaned_data["code"])
        except actions.WrongCode:
            form.add_error("code", "This code is wrong or has expired.")
        else:
            messages.success(
                request, "Two-factor authentication is on. Signing in now asks for a code from your app."
            )
            return redirect("accounts:second_factor")
    return _page(request, device=actions.waiting(user), code=form)


def _page(
    request: HttpRequest,
    *,
    prove: ProveForm | None = None,
    device: TOTPDevice | None = None,
    code: CodeForm | None = None,
) -> HttpResponse:
    failed = any(form is not None and form.errors for form in (prove, code))
    context = {
        "on": has_second_factor(user_of(request)),
        "prove": prove or ProveForm(),
        "code": code or CodeForm(),
        "secret": b32encode(device.bin_key).decode() if device else "",
        "qr": mark_safe(segno.make(device.config_url).svg_inline(scale=5, light="#fff")) if device else "",  # noqa: S308
        "uri": device.config_url if device else "",
    }
    return render(request, "accounts/second_factor.html", context, status=422 if failed else 200)
