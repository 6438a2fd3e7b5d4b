"""The replay guard: a signed message is accepted once, but may be repeated if it had no effect."""

from typing import Final

from django.http import HttpRequest, HttpResponse

from jatevo.web.throttling import SignedMessage, forget_sights

_CLAIMED: Final = "jatevo.message"


def releasable(status: int) -> bool:
    """Whether senders repeat a message unchanged after this status (Standard Webhooks).

    Releasing it is safe even after a crash: PostgreSQL recognises as duplicates whatever was already stored.
    """
    return status == 429 or status >= 500


def claimed_by(request: HttpRequest, message: SignedMessage) -> None:
    """Notes that the request has claimed the message, for `release_message`."""
    request.META[_CLAIMED] = message


def release_message(request: HttpRequest, response: HttpResponse) -> None:
    """Releases the message that the request has claimed, if it is going to be repeated."""
    claimed = request.META.get(_CLAIMED)
    if claimed and releasable(response.status_code):
        forget_sights([claimed])
