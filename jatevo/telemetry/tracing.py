"""Traces of requests and jobs: which are recorded, and the spans of what they wait for.

Whether a request is recorded is decided here, before OpenTelemetry is asked. So a request that is not costs a look at a
variable for each statement, and without an endpoint OpenTelemetry is not loaded at all (exporting.py).

Contexts come in and go out as W3C's traceparent (https://www.w3.org/TR/trace-context/).
"""

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from opentelemetry.trace import Span as RecordedSpan
    from opentelemetry.trace import SpanContext

Attributes = Mapping[str, str | int | float | bool]

LONGEST_TEXT: Final = 1000
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LONGEST_TRACESTATE: Final = 512


class Kind(StrEnum):
    """OpenTelemetry's kinds of span."""

    SERVER = "server"
    CLIENT = "client"
    CONSUMER = "consumer"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Caller:
    """The span of a caller, from its traceparent."""

    trace_id: int
    span_id: int
    sampled: bool
    tracestate: str = ""


class Span:
    """A span that is being recorded. Every method may be called from any thread."""

    __slots__ = ("_recorded",)

    def __init__(self, recorded: "RecordedSpan") -> None:
        self._recorded = recorded

    @property
    def context(self) -> "SpanContext":
        return self._recorded.get_span_context()

    @property
    def trace_id(self) -> str:
        return f"{self.context.trace_id:032x}"

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.context.span_id:016x}-01"

    def name(self, name: str) -> None:
        self._recorded.update_name(name)

    def set(self, attributes: Attributes) -> None:
        self._recorded.set_attributes(dict(attributes))

    def link(self, other: "Span") -> None:
        self._recorded.add_link(other.context)

    def fail(self, error: str) -> None:
        """Marks the span as failed. `error` is a type or a status, never a message: those may quote input."""
        from opentelemetry.trace import StatusCode

        self._recorded.set_status(StatusCode.ERROR)
        self._recorded.set_attribute("error.type", error)

    def end(self) -> None:
        self._recorded.end()


class Sender(Protocol):
    """What records spans and sends them (exporting.py). It records `ratio` of what no caller has decided about, and at
    most `most_per_second` traces.
    """

    ratio: float
    most_per_second: int

    def start(
        self,
        name: str,
        kind: Kind,
        parent: "Span | Caller | None",
        attributes: Attributes,
        links: Sequence["Span | Caller"] = (),
        began_ns: int | None = None,
    ) -> Span: ...

    def flush(self) -> None: ...


_sender: Sender | None = None
_current: ContextVar[Span | None] = ContextVar("span", default=None)
_group: ContextVar[Mapping[str, str]] = ContextVar("group", default={})  # noqa: B039 - never written to
_second = 0
_left_this_second = 0
_NOTHING: Final = nullcontext()


def send_to(sender: Sender | None) -> None:
    """Records traces from now on; None ends it."""
    global _sender, _second
    _sender, _second = sender, 0


def is_on() -> bool:
    return _sender is not None


def flush() -> None:
    """Sends what is recorded so far, before a process ends."""
    if _sender is not None:
        _sender.flush()


def caller_of(traceparent: str, tracestate: str = "") -> Caller | None:
    """The caller that these headers name, None if they are missing or invalid."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    if not trace_id or not span_id:
        return None
    if len(tracestate) > _LONGEST_TRACESTATE:
        tracestate = ""
    return Caller(trace_id, span_id, bool(int(match[4], 16) & 1), tracestate)


def begin(name: str, kind: Kind = Kind.SERVER, *, traceparent: str = "", tracestate: str = "") -> Span | None:
    """The span of a request or a job, None if it is not recorded. The caller's decision holds, if there is one."""
    sender = _sender
    if sender is None:
        return None
    caller = caller_of(traceparent, tracestate) if traceparent else None
    if caller is None:
        if random.random() >= sender.ratio:  # noqa: S311 - nobody gains by guessing it
            return None
    elif not caller.sampled:
        return None
    return sender.start(name, kind, caller, {}) if _is_within_limit(sender) else None


def current() -> Span | None:
    return _current.get()


@contextmanager
def within(span: Span | None) -> Iterator[None]:
    """Makes it the parent of the spans in the block, in this thread or task and in those that copy its context."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


def span(
    name: str, attributes: Attributes, *, kind: Kind = Kind.CLIENT
) -> AbstractContextManager[Span | None]:
    """A span around the block, if what it is part of is recorded. It fails with the exception that leaves the block."""
    parent = _current.get()
    sender = _sender
    if parent is None or sender is None:
        return _NOTHING
    return _recorded(sender.start(name, kind, parent, attributes))


def together(
    name: str, members: Mapping[str, Span], attributes: Attributes
) -> AbstractContextManager[Span | None]:
    """A span around work that is done once for several requests, given by their ids.

    It is part of the trace of the first, and linked with all of them in both directions.
    """
    sender = _sender
    if not members or sender is None:
        return _NOTHING if _current.get() is None else _unrecorded()
    return _recorded_together(sender, name, members, attributes)


def continued(
    name: str, callers: Sequence[Caller], attributes: Attributes
) -> AbstractContextManager[Span | None]:
    """A span around work that was left over by requests, such as shipping the outbox. It is linked to their spans.

    It is part of the present trace or, without one, of the first caller's.
    """
    sender = _sender
    if not callers or sender is None:
        return _NOTHING
    parent = _current.get() or callers[0]
    return _recorded(sender.start(name, Kind.CONSUMER, parent, attributes, callers))


def follow(name: str, caller: Caller, work: Span, attributes: Attributes, *, began_ns: int) -> None:
    """Records in the caller's trace what has just been done for it. `work` is the span of all that was done with it.

    `began_ns` is in unix nanoseconds.
    """
    if _sender is not None:
        _sender.start(name, Kind.CONSUMER, caller, attributes, (work,), began_ns).end()


def outgoing() -> dict[str, str]:
    """The headers for a request to somebody else, so that their spans become part of the present trace."""
    span = _current.get()
    if span is None:
        return {}
    headers = {"traceparent": span.traceparent}
    if state := span.context.trace_state.to_header():
        headers["tracestate"] = state
    return headers


def trace_id_of(request_id: str) -> str:
    """The id of the trace of a log line with this request's id, '' if it has none."""
    known = _group.get().get(request_id)
    if known is not None:
        return known
    span = _current.get()
    return "" if span is None else span.trace_id


def _is_within_limit(sender: Sender) -> bool:
    # Threads may race for it, and record one more.
    global _second, _left_this_second
    now = int(time.monotonic())
    if now != _second:
        _second, _left_this_second = now, sender.most_per_second
    _left_this_second -= 1
    return _left_this_second >= 0


@contextmanager
def _recorded(span: Span) -> Iterator[Span]:
    token = _current.set(span)
    try:
        yield span
    except BaseException as error:
        span.fail(type(error).__name__)
        raise
    finally:
        _current.reset(token)
        span.end()


@contextmanager
def _recorded_together(
    sender: Sender, name: str, members: Mapping[str, Span], attributes: Attributes
) -> Iterator[Span]:
    first, *others = members.values()
    span = sender.start(name, Kind.INTERNAL, first, attributes, others)
    for member in others:
        member.link(span)
    token = _group.set({request_id: member.trace_id for request_id, member in members.items()})
    try:
        with _recorded(span):
            yield span
    finally:
        _group.reset(token)


@contextmanager
def _unrecorded() -> Iterator[None]:
    with within(None):
        yield
