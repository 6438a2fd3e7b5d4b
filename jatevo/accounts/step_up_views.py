"""The page on which a person confirms who they are, before a sensitive page."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from jatevo.accounts.onward import onward_path
from jatevo.accounts.step_up import confirm_identity, identity_form, remember_identity


@sensitive_post_parameters()
@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Context: `form` (current, and otp with a second factor), `next`."""
    form, at, onward = identity_form(request), timezone.now(), onward_path(request)
    if request.method == "POST" and confirm_identity(request, form, at=at):
        response = HttpResponseRedirect(onward)
        remember_identity(response, request, at=at)
        return response
    context = {"form": form, "next": onward, "sent": [("next", onward)], "action": request.path}
    return render(request, "accounts/confirm.html", context, status=422 if form.errors else 200)
