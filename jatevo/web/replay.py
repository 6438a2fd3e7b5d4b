"""The replay guard: a signed message is accepted once, but may be repeated if it had no effect."""

from typing import Final

from django.http import HttpRequest, HttpResponse

from jatevo.web.errors import ApiError
from jatevo.web.throttling import first_sight, forget_sight, refuse_over

_CLAIMED: Final = "jatevo.message"


def claim_message(request: HttpRequest, scope: str, message_id: str, limit: str, *keys: str) -> None:
    """Claims the message for this request, and counts it against settings.RATE_LIMITS[limit] for the keys.

    Raises ApiError 409 if another request has claimed it, and 429 over the limit.
    """
    count = first_sight(scope, message_id, limit, *keys)
    if not count:
        raise ApiError(409, "replayed_request", "This webhook-id has already been used.")
    request.META[_CLAIMED] = (scope, message_id)
    refuse_over(count, limit, *keys)


def release_message(request: HttpRequest, response: HttpResponse) -> None:
    """Releases the message after 429 and 5xx, since senders then repeat it unchanged (Standard Webhooks).

    This is safe even after a crash: PostgreSQL recognises as duplicates whatever was already stored.
    """
    claimed = request.META.get(_CLAIMED)
    if claimed and (response.status_code == 429 or response.status_code >= 500):
        forget_sight(*claimed)
