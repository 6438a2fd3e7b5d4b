"""Requests that machines sign, as both adapters read them: the DRF endpoints one by one, the lane many at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest
from rest_framework.response import Response

from jatevo.web.address import client_address
from jatevo.web.errors import ApiError, from_exception
from jatevo.web.replay import claimed_by, releasable
from jatevo.web.request_id import current_request_id, use
from jatevo.web.throttling import SignedMessage, forget_sights


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What is signed, by whom, and where it came from. Headers that were not sent are ''."""

    sender: str
    message_id: str
    timestamp: str
    signature: str
    body: bytes
    address: str
    request_id: str

    @classmethod
    def of(cls, request: HttpRequest, header: str) -> "SignedRequest":
        """The request, whose `header` names the sender."""
        headers = request.headers
        return cls(
            headers.get(header, ""),
            headers.get("webhook-id", ""),
            headers.get("webhook-timestamp", ""),
            headers.get("webhook-signature", ""),
            request.body,
            client_address(request),
            current_request_id(),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A body for JSON, with its status."""

    body: dict[str, Any]
    status: int = 200


class Admitted(Protocol):
    """A caller whose request was authenticated, is no replay and is within the limits."""

    @property
    def message(self) -> SignedMessage: ...


C = TypeVar("C", bound=Admitted)
Answered: TypeAlias = Answer | ApiError


@dataclass(frozen=True)
class SignedEndpoint(Generic[C]):
    """A path to which one kind of sender posts.

    `admit` authenticates many requests at once, in the contract's order of checks. `take` judges what was admitted,
    each alone, and commits before it answers. It raises only if nothing was committed.
    """

    path: str
    header: str
    most_bytes: int
    admit: Callable[[Sequence[SignedRequest]], list[C | ApiError]]
    take: Callable[[Sequence[tuple[SignedRequest, C]]], list[Answered]]

    def respond(self, request: HttpRequest) -> Response:
        """Answers one request of Django. Raises ApiError and what the stores raise."""
        signed = SignedRequest.of(request, self.header)
        (caller,) = self.admit([signed])
        if isinstance(caller, ApiError):
            raise caller
        claimed_by(request, caller.message)
        (answered,) = self.take([(signed, caller)])
        if isinstance(answered, ApiError):
            raise answered
        return Response(answered.body, status=answered.status)

    def answer(self, requests: Sequence[SignedRequest]) -> list[Answered]:
        """Answers many requests, in this order. Never raises for what is wrong with one of them, or with a store."""
        try:
            callers = self.admit(requests)
        except Exception as error:
            return [from_exception(error)] * len(requests)
        answers: list[Answered | None] = [each if isinstance(each, ApiError) else None for each in callers]
        admitted = [
            (number, (request, caller))
            for number, (request, caller) in enumerate(zip(requests, callers, strict=True))
            if not isinstance(caller, ApiError)
        ]
        taken = _each_alone(self.take, [pair for _, pair in admitted])
        for (number, _), answered in zip(admitted, taken, strict=True):
            answers[number] = answered
        again = [
            pair[1].message
            for (_, pair), answered in zip(admitted, taken, strict=True)
            if releasable(answered.status)
        ]
        if again:
            forget_sights(again)
        return [answered for answered in answers if answered is not None]


def _each_alone(
    take: Callable[[Sequence[tuple[SignedRequest, C]]], list[Answered]],
    admitted: Sequence[tuple[SignedRequest, C]],
) -> list[Answered]:
    """What `take` answers. Where it fails for many, halves are taken, until the culprit stands alone.

    While a store does not answer, all of them fail at once.
    """
    if not admitted:
        return []
    if len(admitted) == 1:
        use(admitted[0][0].request_id)
    try:
        return take(admitted)
    except (OperationalError, InterfaceError) as error:
        return [from_exception(error)] * len(admitted)
    except Exception as error:
        if len(admitted) == 1:
            return [from_exception(error)]
    half = len(admitted) // 2
    return [*_each_alone(take, admitted[:half]), *_each_alone(take, admitted[half:])]
