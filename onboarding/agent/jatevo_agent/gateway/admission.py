"""Which requests are under way: at most as many as the node serves at once, and each id only once."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from ..wire.schema import REQUEST_ID_PATTERN
from .refusals import Refused

RETRY_AFTER_SECONDS = 1

_REQUEST_ID = re.compile(REQUEST_ID_PATTERN, re.ASCII)


class Admission:
    """The requests under way, each with a slot from 0 to `most` - 1. Used in the event loop only."""

    def __init__(self, most: int) -> None:
        self._free = list(range(most - 1, -1, -1))
        self._most = most
        self._request_ids: set[str] = set()

    @property
    def running(self) -> int:
        """How many requests are under way."""
        return self._most - len(self._free)

    def is_under_way(self, request_id: str) -> bool:
        """Whether a request with this id is being served."""
        return request_id in self._request_ids

    @contextmanager
    def admit(self, request_id: str) -> Iterator[int]:
        """Hold a slot for the request. Raises Refused if there is none, or if the id is under way."""
        if not self._free:
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "rate_limited",
                f"This node serves {self._most} requests at once, and all places are taken.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        if request_id in self._request_ids:
            raise request_id_used()
        slot = self._free.pop()
        self._request_ids.add(request_id)
        try:
            yield slot
        finally:
            self._request_ids.discard(request_id)
            self._free.append(slot)


def is_request_id(text: str) -> bool:
    """Whether a receipt may have this id."""
    return _REQUEST_ID.fullmatch(text) is not None


def request_id_for(dispatched: str, suggested: str, is_used: Callable[[str], bool]) -> str:
    """The id for the receipt.

    `dispatched` is what the gateway named in its dispatch (`X-Jatevo-Request-Id`). `suggested` comes from
    `X-Request-Id`, which any client may set, also to the same value each time. Raises Refused if the
    dispatched id is malformed or has been used.
    """
    if dispatched:
        if not is_request_id(dispatched):
            raise Refused(
                HTTPStatus.BAD_REQUEST,
                "invalid_request",
                "X-Jatevo-Request-Id must be 1 to 128 of A-Z a-z 0-9 . _ : ~ -",
            )
        if is_used(dispatched):
            raise request_id_used()
        return dispatched
    if is_request_id(suggested) and not is_used(suggested):
        return suggested
    return "r_" + secrets.token_urlsafe(16)


def request_id_used() -> Refused:
    """The refusal of an id that has had a receipt, or will have one."""
    return Refused(
        HTTPStatus.CONFLICT,
        "request_id_used",
        "This node has served a request with this X-Jatevo-Request-Id.",
    )
