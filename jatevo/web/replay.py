"""Each signed message counts once, and may come again if nothing came of it."""

from typing import Final

from django.http import HttpRequest, HttpResponse

from jatevo.web.errors import ApiError
from jatevo.web.throttling import first_sight, forget_sight

_CLAIMED: Final = "jatevo.message"


def claim_message(request: HttpRequest, scope: str, message_id: str) -> None:
    """This request is the message's. Raises ApiError 409 if another one was."""
    if not first_sight(scope, message_id):
        raise ApiError(409, "replayed_request", "This webhook-id was used before.")
    request.META[_CLAIMED] = (scope, message_id)


def release_message(request: HttpRequest, response: HttpResponse) -> None:
    """After 429 and 5xx the sender is to send the message again, which Standard Webhooks' libraries do as it was.

    Also after a crash: what had been kept by then is a duplicate to PostgreSQL, whatever its webhook-id.
    """
    claimed = request.META.get(_CLAIMED)
    if claimed and (response.status_code == 429 or response.status_code >= 500):
        forget_sight(*claimed)
