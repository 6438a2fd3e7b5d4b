"""Where a page leads when it is done: the address in `next`, if it is on this site."""

from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme


def onward_path(request: HttpRequest) -> str:
    """`next` of the form or the query if it is on this site, else the Overview."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    # It must be a path, because `redirect` takes a bare word for the name of a view.
    if wanted.startswith("/") and url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return resolve_url(settings.LOGIN_REDIRECT_URL)
