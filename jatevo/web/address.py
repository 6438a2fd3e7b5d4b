"""Who is calling, by network address."""

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The caller's address. X-Forwarded-For counts only as far as our own proxies wrote it."""
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")
    hops = settings.TRUSTED_PROXIES
    if hops and len(forwarded) >= hops:
        return forwarded[-hops].strip()
    return str(request.META.get("REMOTE_ADDR", ""))
