"""Consuming the event bus: a message is acknowledged once its row is committed, or once it is parked.

The rules are those of the HTTP endpoints (nodes/ingress/signed.py). Messages that come at the same time are answered
together, as in the lane.
"""

import asyncio
import math
import random
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import structlog
from django.db import connection
from django.utils import timezone
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from jatevo.bus import stream
from jatevo.bus.judging import ENDPOINTS, Fate, Message, Verdict, headers_read, too_large, verdict_on
from jatevo.bus.models import MessageKind
from jatevo.bus.parking import park
from jatevo.telemetry import metrics, tracing
from jatevo.web.errors import unavailable
from jatevo.web.gathering import Gatherer, TooManyWaiting
from jatevo.web.postgresql.budgets import INGEST, working
from jatevo.web.request_id import adopt
from nodes.ingress.gathered import gather
from nodes.ingress.signed import Answered, SignedRequest

log = structlog.get_logger(__name__)

# How long a message waits at most before it comes again, after its first delivery, its second, and so on. The last holds
# for all that follow.
DELAYS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
LONGEST_DELAY_OVER_LIMIT: Final = 10.0
MOST_TRIES: Final = 5  # of a message that the console fails on
# How many messages of a kind a process works on at a time. Batches may have 2 MiB each.
MOST_AT_A_TIME: Final = {
    MessageKind.HEARTBEATS: 256,
    MessageKind.RECEIPTS: 64,
    MessageKind.PROBES: 64,
    MessageKind.DISPATCHES: 64,
}
CONNECT_SECONDS: Final = 5
PING_SECONDS: Final = 10
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15.0
SECONDS_BETWEEN_FIGURES: Final = 5.0


class Bus:
    """A consumer of the event bus. `consume` runs until `stop`."""

    def __init__(self, url: str, *, ack_wait_seconds: float = stream.ACK_WAIT_SECONDS) -> None:
        self._servers = [each.strip() for each in url.split(",")]
        self._ack_wait_seconds = ack_wait_seconds
        self._stopping = asyncio.Event()
        self._asks: dict[MessageKind, Gatherer[SignedRequest, Answered]] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._count: Counter[MessageKind] = Counter()
        self._settled = asyncio.Event()
        self._delays: Sequence[float] = DELAYS
        self._pause_seconds = FIRST_PAUSE_SECONDS

    def stop(self) -> None:
        """Fetches no more messages. What is under way is finished and acknowledged."""
        self._stopping.set()

    async def consume(self, *, delays: Sequence[float] = DELAYS) -> None:
        """Takes messages until `stop`. Without NATS it tries to connect, for ever."""
        self._delays = delays
        self._asks = {kind: gather(endpoint) for kind, endpoint in ENDPOINTS.items()}
        try:
            while not self._stopping.is_set():
                try:
                    await self._consume_while_connected()
                except* stream.NATS_ERRORS as errors:
                    first = _first_of(errors)
                    log.warning(
                        "the event bus does not answer; connecting again",
                        error=str(first) or type(first).__name__,
                        pause_seconds=self._pause_seconds,
                    )
                    await self._pause()
        finally:
            for asks in self._asks.values():
                await asyncio.to_thread(asks.close)

    async def _consume_while_connected(self) -> None:
        client = stream.BusClient()
        try:
            await client.connect(
                self._servers,
                name="jatevo-consume",
                # A lost connection is made anew by `consume`, which sees to it that stream and consumers exist.
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_SECONDS,
                ping_interval=PING_SECONDS,
                inbox_prefix=stream.INBOX_PREFIX,
                error_cb=_note,
            )
            js = client.jetstream()
            await stream.ensure(js, ack_wait_seconds=self._ack_wait_seconds)
            log.info("consuming the event bus")
            self._pause_seconds = FIRST_PAUSE_SECONDS
            async with asyncio.TaskGroup() as group:
                figures = group.create_task(self._tell_figures(js))
                pulls = [group.create_task(self._pull(client, kind)) for kind in MessageKind]
                await asyncio.gather(*pulls)
                figures.cancel()
        finally:
            for kind in MessageKind:
                metrics.pending(kind, math.nan)
            while self._under_way:
                await asyncio.wait(self._under_way)
            with suppress(*stream.NATS_ERRORS):
                if client.is_connected:
                    await client.flush()
            with suppress(*stream.NATS_ERRORS):
                await client.close()  # also what connected only in part

    async def _pull(self, client: Client, kind: MessageKind) -> None:
        pulling = stream.Pulling(client, kind)
        await pulling.open()
        while not self._stopping.is_set():
            free = MOST_AT_A_TIME[kind] - self._count[kind]
            if free <= 0:
                self._settled.clear()
                await self._settled.wait()
                continue
            async for delivered in pulling.pull(free):
                self._count[kind] += 1
                task = asyncio.create_task(self._take(kind, delivered))
                self._under_way.add(task)
                task.add_done_callback(partial(self._done, kind))

    def _done(self, kind: MessageKind, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._count[kind] -= 1
        self._settled.set()

    async def _take(self, kind: MessageKind, delivered: Msg) -> None:
        """Judges a message and settles it. If that fails, the message comes again by itself."""
        try:
            message = _message(kind, delivered)
            request_id = adopt(None)
            structlog.contextvars.bind_contextvars(request_id=request_id)
            span = _begin(message) if tracing.is_on() else None
            with tracing.within(span):
                verdict = await self._judge(message, request_id, span)
                outcome = await self._settle(delivered, message, verdict)
            metrics.settled(kind, outcome)
            if span is not None:
                _end(span, message, request_id, verdict, outcome)
        except stream.NATS_ERRORS as error:
            log.info("a message could not be acknowledged; it comes again", kind=kind.value, error=str(error))
        except Exception:
            log.exception("a message could not be settled; it comes again", kind=kind.value)

    async def _judge(self, message: Message, request_id: str, span: tracing.Span | None) -> Verdict:
        if message.is_outdated(timezone.now()):
            return Verdict(Fate.OUTDATED)
        if message.is_too_large():
            return too_large(message)
        request = message.request(request_id=request_id, span=span)
        try:
            answered = await self._asks[message.kind].ask(request)
        except TooManyWaiting:
            answered = unavailable("The console")
        return verdict_on(request, answered)

    async def _settle(self, delivered: Msg, message: Message, verdict: Verdict) -> str:
        """Parks what is refused, then tells the stream. Returns the outcome, for the metrics."""
        delay = self._delay(message, verdict)
        if verdict.fate in (Fate.TAKEN, Fate.OUTDATED):
            await delivered.ack()
            return verdict.fate
        given_up = verdict.fate is Fate.FAILED and message.tries >= MOST_TRIES
        if verdict.fate is not Fate.REFUSED and not given_up:
            await delivered.nak(delay=delay)
            return verdict.fate
        try:
            kept = await asyncio.to_thread(_park, message, verdict)
        except Exception as error:
            log.warning("a message could not be parked; it comes again", kind=message.kind, error=str(error))
            await delivered.nak(delay=delay)
            return Fate.DELAYED
        if given_up and not kept:  # by a fault of ours, nothing may be lost
            await delivered.nak(delay=delay)
            return verdict.fate
        await delivered.term()
        return "parked" if kept else "dropped"

    def _delay(self, message: Message, verdict: Verdict) -> float:
        """By chance, because what came again together would be over the limit together again, but for a few."""
        longest = self._delays[min(message.tries, len(self._delays)) - 1]
        if verdict.wait_seconds:
            return verdict.wait_seconds + random.uniform(0, min(longest, LONGEST_DELAY_OVER_LIMIT))  # noqa: S311
        return random.uniform(longest / 2, longest)  # noqa: S311 - nobody gains by guessing it

    async def _tell_figures(self, js: JetStreamContext) -> None:
        while True:
            for kind in MessageKind:
                metrics.pending(kind, await stream.pending(js, kind))
            await asyncio.sleep(SECONDS_BETWEEN_FIGURES)

    async def _pause(self) -> None:
        """Longer from one to the next, until a connection is made."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)


async def consume_until_signalled(url: str) -> None:
    """Consumes until SIGINT or SIGTERM. Must run in the main thread."""
    bus = Bus(url)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, bus.stop)
    await bus.consume()
    log.info("the consumer of the event bus has stopped")


def _message(kind: MessageKind, delivered: Msg) -> Message:
    about = delivered.metadata
    return Message(
        kind=kind,
        sequence=about.sequence.stream,
        stored_at=about.timestamp,
        tries=about.num_delivered,
        headers=headers_read(kind, delivered.headers or {}),
        body=delivered.data,
    )


def _park(message: Message, verdict: Verdict) -> bool:
    with working(INGEST):
        try:
            return park(message, verdict, at=timezone.now())
        finally:
            connection.close()  # the thread is anyone's


def _begin(message: Message) -> tracing.Span | None:
    return tracing.begin(
        "message",
        tracing.Kind.CONSUMER,
        traceparent=message.headers.get("traceparent", ""),
        tracestate=message.headers.get("tracestate", ""),
    )


def _end(span: tracing.Span, message: Message, request_id: str, verdict: Verdict, outcome: str) -> None:
    span.name(f"process {message.kind.subject}")
    span.set(
        {
            "messaging.system": "nats",
            "messaging.operation.type": "process",
            "messaging.destination.name": message.kind.subject,
            "jatevo.request_id": request_id,
            "jatevo.outcome": outcome,
        }
    )
    if verdict.fate in (Fate.FAILED, Fate.DELAYED):
        span.fail(verdict.error_type)
    span.end()


def _first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def _note(error: Exception) -> None:
    log.debug("NATS", error=str(error))
