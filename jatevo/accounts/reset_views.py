"""Pages for a forgotten password."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from jatevo.accounts.forms import ForgottenForm, NewPasswordForm
from jatevo.accounts.password_reset import LinkInvalid, ask_for_link, person_of, use_link
from jatevo.web.address import client_address
from jatevo.web.throttling import hit


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    """Requests a link by mail, or says whom to contact. Context: `form` (email), `sent`, `support`."""
    form = ForgottenForm(request.POST or None)
    sent = settings.SENDS_MAIL and form.is_valid()
    if sent:
        ask_for_link(email=form.cleaned_data["email"], address=client_address(request))
    context = {
        "form": form if settings.SENDS_MAIL else None,
        "sent": sent,
        "support": settings.SUPPORT_CONTACT,
        "minutes": settings.PASSWORD_RESET_TIMEOUT // 60,
    }
    return render(request, "accounts/forgotten.html", context, status=422 if form.errors else 200)


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reset(request: HttpRequest, who: str, token: str) -> HttpResponse:
    """Sets the new password.

    A GET does not use the link up, because mail scanners open links. Context: `form`.
    """
    if request.method == "POST":
        hit("reset_address", client_address(request))
    try:
        form = NewPasswordForm(person_of(who, token), request.POST or None)
        if not form.is_valid():
            return render(request, "accounts/reset.html", {"form": form}, status=422 if form.errors else 200)
        use_link(who=who, token=token, new=form.cleaned_data["new"], at=timezone.now())
    except LinkInvalid:
        return render(request, "accounts/reset.html", {"form": None}, status=410)
    messages.success(request, "Password changed. Sign in with your new password.")
    return redirect("accounts:login")
