"""Requests that machines sign, as both adapters read them: the DRF endpoints one by one, the lane many at a time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from psycopg.errors import DeadlockDetected

from jatevo.telemetry import tracing
from jatevo.web.address import client_address
from jatevo.web.errors import ApiError, from_exception
from jatevo.web.gathering import Later, Together
from jatevo.web.json import dump
from jatevo.web.replay import releasable
from jatevo.web.request_id import current_request_id, use
from jatevo.web.throttling import SignedMessage, forget_sights

MOST_TOGETHER: Final = 64  # of the threads of a web process
PATIENCE_SECONDS: Final = (0.003, 0.030)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What is signed, by whom, and where it came from. Headers that were not sent are ''. `span` is the request's, if it
    is recorded. `stored_at` (unix seconds) is when a stream stored it for us, and None for what was posted. Such a message
    may wait, and comes again until it is acknowledged. `received_at` (unix seconds) is when it reached this process.
    """

    sender: str
    message_id: str
    timestamp: str
    signature: str
    body: bytes
    address: str
    request_id: str
    span: tracing.Span | None = None
    stored_at: float | None = None
    received_at: float = field(default_factory=time.time)

    @property
    def traceparent(self) -> str:
        """For what is left over by the request, '' if it is not recorded."""
        return "" if self.span is None else self.span.traceparent

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
            span=tracing.current(),
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


class Locked(Exception):
    """What the request is about is locked by somebody else. Nothing was done: it is to be taken again, alone."""


C = TypeVar("C", bound=Admitted)
Answered: TypeAlias = Answer | ApiError
Taken: TypeAlias = Answer | ApiError | Locked


class SignedEndpoint(Generic[C]):
    """A path to which one kind of sender posts.

    `admit` authenticates many requests at once, in the contract's order of checks. `take` judges what was admitted,
    each alone, and commits before it answers. It raises only if nothing was committed. Of several it may leave some out
    as Locked, so that the others do not wait for them.
    """

    def __init__(
        self,
        *,
        path: str,
        header: str,
        most_bytes: int,
        admit: Callable[[Sequence[SignedRequest]], list[C | ApiError]],
        take: Callable[[Sequence[tuple[SignedRequest, C]]], list[Taken]],
    ) -> None:
        self.path = path
        self.header = header
        self.most_bytes = most_bytes
        self.admit = admit
        self.take = take
        self._together: Together[SignedRequest, Answered] = Together(
            self.answer, most_together=MOST_TOGETHER, patience_seconds=PATIENCE_SECONDS
        )

    def respond(self, request: HttpRequest) -> HttpResponse:
        """Answers a request of Django, together with those that other threads have. Raises ApiError.

        A Response of DRF would be a template first, and rendered later.
        """
        signed = SignedRequest.of(request, self.header)
        answered = self._together.ask(signed)
        use(signed.request_id)  # this thread may have answered others
        if isinstance(answered, ApiError):
            raise answered
        return HttpResponse(dump(answered.body), content_type="application/json", status=answered.status)

    def answer(self, requests: Sequence[SignedRequest]) -> list[Answered | Later[Answered]]:
        """Answers many requests, in this order. Never raises for what is wrong with one of them, or with a store.

        Later stands for one that has to wait.
        """
        members = {each.request_id: each.span for each in requests if each.span is not None}
        with tracing.together(f"answer {self.path}", members, {"jatevo.requests": len(requests)}):
            return self._answer_together(requests)

    def _answer_together(self, requests: Sequence[SignedRequest]) -> list[Answered | Later[Answered]]:
        try:
            callers = self.admit(requests)
        except Exception as error:
            return [from_exception(error)] * len(requests)
        admitted = [
            (request, caller)
            for request, caller in zip(requests, callers, strict=True)
            if not isinstance(caller, ApiError)
        ]
        taken = _each_alone(self.take, admitted)
        _release_failed(admitted, taken)
        answers = iter(
            Later(partial(self._answer_alone, pair)) if isinstance(each, Locked) else each
            for pair, each in zip(admitted, taken, strict=True)
        )
        return [each if isinstance(each, ApiError) else next(answers) for each in callers]

    def _answer_alone(self, pair: tuple[SignedRequest, C]) -> Answered:
        with tracing.within(pair[0].span):
            (taken,) = _each_alone(self.take, [pair])
            _release_failed([pair], [taken])
        return from_exception(taken) if isinstance(taken, Locked) else taken


def _release_failed(admitted: Sequence[tuple[SignedRequest, Admitted]], taken: Sequence[Taken]) -> None:
    """Releases the messages that are going to be repeated."""
    again = [
        caller.message
        for (_, caller), each in zip(admitted, taken, strict=True)
        if not isinstance(each, Locked) and releasable(each.status)
    ]
    if again:
        forget_sights(again)


def one_by_one(
    take: Callable[[SignedRequest, C], Answer],
) -> Callable[[Sequence[tuple[SignedRequest, C]]], list[Taken]]:
    """For an endpoint whose requests are too rare, or too large, to need one statement for many of them."""

    def take_all(admitted: Sequence[tuple[SignedRequest, C]]) -> list[Taken]:
        answers: list[Taken] = []
        for request, caller in admitted:
            use(request.request_id)
            try:
                answers.append(take(request, caller))
            except Exception as error:
                answers.append(from_exception(error))
        return answers

    return take_all


def _each_alone(
    take: Callable[[Sequence[tuple[SignedRequest, C]]], list[Taken]],
    admitted: Sequence[tuple[SignedRequest, C]],
) -> list[Taken]:
    """What `take` answers. Where it fails for many, halves are taken, until the culprit stands alone.

    While a store does not answer, all of them fail at once. A deadlock is none of that: it is over.
    """
    if not admitted:
        return []
    if len(admitted) == 1:
        use(admitted[0][0].request_id)
    try:
        return take(admitted)
    except (OperationalError, InterfaceError) as error:
        if len(admitted) == 1 or not isinstance(error.__cause__, DeadlockDetected):
            return [from_exception(error)] * len(admitted)
    except Exception as error:
        if len(admitted) == 1:
            return [from_exception(error)]
    half = len(admitted) // 2
    return [*_each_alone(take, admitted[:half]), *_each_alone(take, admitted[half:])]
