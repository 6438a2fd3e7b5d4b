"""One request: to the runtime, its answer to the client, and the receipt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from .. import logs
from ..clock import ConsoleClock
from ..completion import Completion
from ..runtimes.found import FoundModel
from ..wire.schema import RequestOutcome
from .accounting import TokenCount, completion_of, tokens_of
from .answers import MalformedAnswer, document_in, said_by
from .asked import Asked, Kind
from .delivered import Delivered
from .events import EventTooLong, event_of
from .long_work import worked
from .refusals import error_body
from .sinks import ClientGone, Sink
from .stream import RuntimeFailed, StreamedAnswer

MOST_ANSWER_BYTES = 64 * 1024 * 1024
MOST_ERROR_BYTES = 64 * 1024
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 600.0  # a long prompt on a small machine takes minutes to its first token

_EVENT_STREAM = "text/event-stream"
_JSON = "application/json"

Record = Callable[[Completion], None]
"""Signs a receipt and puts it on disk. Blocks, and raises an error if it cannot."""


class NotRecorded(Exception):
    """The receipt is not on disk, so the client must not get the end of the answer."""


@dataclass(frozen=True)
class Served:
    """A request that is being served, by its receipt's id."""

    request_id: str
    asked: Asked
    model: FoundModel
    hedged: bool


class Exchange:
    """Serves one request. `run` ends when the receipt is on disk and the client has everything."""

    def __init__(
        self,
        served: Served,
        sink: Sink,
        *,
        session: aiohttp.ClientSession,
        runtime_url: str,
        clock: ConsoleClock,
        count: TokenCount,
        record: Record | None,
        note: Callable[[Exchange], None],
    ) -> None:
        self.served = served
        self.delivered = Delivered()
        self.started_at = clock.now()
        self.first_token_ms: float | None = None
        self.outcome: RequestOutcome | None = None
        self.completion: Completion | None = None
        self.stopped_by_agent = False
        self.is_recorded = False
        """Whether its receipt is on disk."""
        self._sink = sink
        self._session = session
        self._runtime_url = runtime_url
        self._clock = clock
        self._count = count
        self._record = record
        self._note = note
        self._began = self._last = time.monotonic()
        self._waits_ms: list[float] = []
        self._answer_begun = False
        self._refused_by_runtime = False
        self._settling: asyncio.Future[None] | None = None

    @property
    def is_accounted_for(self) -> bool:
        """Whether its receipt is on disk, or it needs none."""
        return self.is_recorded or self._record is None or self._refused_by_runtime

    @property
    def _owes_receipt(self) -> bool:
        """Whether no receipt has been begun for a request that must have one."""
        return self.outcome is None and not self._refused_by_runtime

    async def run(self) -> None:
        """Serve the request. Raises asyncio.CancelledError, after its receipt, if the client has left."""
        try:
            await self._forward()
        except (asyncio.CancelledError, ClientGone) as ended:
            cancelled = isinstance(ended, asyncio.CancelledError)
            if self.outcome is None:
                await self._end_early(stopped=cancelled and self.stopped_by_agent)
            if cancelled:
                raise
        except NotRecorded:
            await self._fail("internal_error", "The node cannot write to its disk.")
        except Exception:
            if self._owes_receipt:  # a bug. What was delivered is accounted for all the same
                await self._settle(RequestOutcome.ERROR)
            raise
        finally:
            if self._settling is not None and not self._settling.done():
                await asyncio.wait({self._settling})

    async def _end_early(self, *, stopped: bool) -> None:
        """Account for a request that the client has left, or that the agent ends because it stops."""
        if self._owes_receipt:
            with suppress(NotRecorded):  # which has been logged
                await self._settle(RequestOutcome.ERROR if stopped else RequestOutcome.CANCELLED)
        if stopped:
            await self._fail("node_stopped", "The node is stopping.")

    async def _forward(self) -> None:
        asked = self.served.asked
        body = await worked(lambda: asked.for_runtime(self.served.model.served_as), asked.size_bytes)
        try:
            async with self._session.post(
                f"{self._runtime_url}/v1/{asked.kind.value}",
                data=body,
                headers={"Content-Type": _JSON, "Accept": _EVENT_STREAM if asked.stream else _JSON},
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
                ),
                allow_redirects=False,
            ) as answer:
                try:
                    await self._pass_on(answer)
                except BaseException:
                    answer.close()  # the runtime notices at once that nobody reads on
                    raise
        except RuntimeFailed as error:
            await self._runtime_failed(str(error))
        except (MalformedAnswer, EventTooLong):
            await self._runtime_failed("The runtime's answer could not be understood.")
        except asyncio.TimeoutError:
            await self._runtime_failed("The runtime did not answer in time.", HTTPStatus.GATEWAY_TIMEOUT)
        except aiohttp.ClientError:
            broke_off = "The runtime broke off its answer."
            await self._runtime_failed(broke_off if self._answer_begun else "The runtime does not answer.")

    async def _pass_on(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status != HTTPStatus.OK:
            await self._pass_on_error(answer)
        elif answer.content_type == _EVENT_STREAM and self.served.asked.stream:
            await self._pass_on_stream(answer)
        else:
            await self._pass_on_body(answer)

    async def _pass_on_stream(self, answer: aiohttp.ClientResponse) -> None:
        self._answer_begun = True
        await self._sink.start(HTTPStatus.OK, {"Content-Type": f"{_EVENT_STREAM}; charset=utf-8"})
        streamed = StreamedAnswer(
            self._sink,
            self.delivered,
            hide_usage=not self.served.asked.wants_usage,
            note=self._note_output,
        )
        try:
            while not streamed.is_done and (data := await answer.content.readany()):
                await streamed.feed(data)
        except (aiohttp.ClientError, asyncio.TimeoutError):
            streamed.runtime_closed()
        streamed.runtime_closed()
        await streamed.complete(lambda: self._settle(RequestOutcome.OK))

    async def _pass_on_body(self, answer: aiohttp.ClientResponse) -> None:
        body = await _read(answer, MOST_ANSWER_BYTES)
        said = await worked(lambda: said_by(document_in(body)), len(body))
        if said.is_error or not (said.choices or self.served.asked.kind is Kind.EMBEDDING):
            raise MalformedAnswer
        self._note_wait()
        self._answer_begun = True
        await self._sink.start(HTTPStatus.OK, {"Content-Type": _JSON}, len(body))
        await self._sink.write(body[:-1])
        self.delivered.add(said)
        await self._settle(RequestOutcome.OK)
        await self._sink.write(body[-1:])
        await self._sink.end()

    async def _pass_on_error(self, answer: aiohttp.ClientResponse) -> None:
        """Pass on the runtime's error. One that is the request's own fault has no receipt."""
        status = answer.status if answer.status >= HTTPStatus.BAD_REQUEST else HTTPStatus.BAD_GATEWAY
        self._refused_by_runtime = status < HTTPStatus.INTERNAL_SERVER_ERROR
        body = await _read(answer, MOST_ERROR_BYTES)
        if answer.content_type != _JSON or status != answer.status:
            body = error_body("runtime_error", f"The runtime answered with status {answer.status}.")
        if self._owes_receipt:
            await self._settle(RequestOutcome.ERROR)
        self._answer_begun = True
        headers = {"Content-Type": _JSON}
        if "Retry-After" in answer.headers:
            headers["Retry-After"] = answer.headers["Retry-After"]
        await self._sink.start(status, headers, len(body))
        await self._sink.write(body)
        await self._sink.end()

    async def _runtime_failed(self, message: str, status: HTTPStatus = HTTPStatus.BAD_GATEWAY) -> None:
        logs.warning("the runtime failed a request", request_id=self.served.request_id, reason=message)
        if self._owes_receipt:
            await self._settle(RequestOutcome.ERROR)
        await self._fail("runtime_error", message, status)

    async def _fail(self, reason: str, message: str, status: HTTPStatus = HTTPStatus.BAD_GATEWAY) -> None:
        """Tell the client that the answer will not be completed, in the way that is still possible."""
        body = error_body(reason, message)
        try:
            if not self._answer_begun:
                await self._sink.start(status, {"Content-Type": _JSON}, len(body))
                await self._sink.write(body)
                await self._sink.end()
            elif self.served.asked.stream and not self._refused_by_runtime:
                await self._sink.write(event_of(body))
                await self._sink.end()
            else:
                self._sink.abort()
        except ClientGone:
            return

    async def _settle(self, outcome: RequestOutcome) -> None:
        """Put the receipt on disk. Once begun, it is completed even if the client leaves meanwhile."""
        self.outcome = outcome
        self._settling = asyncio.ensure_future(self._write_receipt(outcome))
        await asyncio.shield(self._settling)

    async def _write_receipt(self, outcome: RequestOutcome) -> None:
        ended_at = self._clock.now()
        served = self.served
        tokens = await tokens_of(served.asked, self.delivered, self._count)
        self.completion = completion_of(
            request_id=served.request_id,
            asked=served.asked,
            model=served.model,
            delivered=self.delivered,
            tokens=tokens,
            outcome=outcome,
            hedged=served.hedged,
            started_at=self.started_at,
            ended_at=ended_at,
            waits_ms=self._waits_ms,
        )
        if self._record is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._record, self.completion)
        except Exception as error:
            logs.error(
                "a receipt cannot be put on disk",
                request_id=served.request_id,
                reason=type(error).__name__,
            )
            raise NotRecorded from None
        self.is_recorded = True

    def _note_output(self) -> None:
        self._note_wait()
        self._note(self)

    def _note_wait(self) -> None:
        now = time.monotonic()
        if self.first_token_ms is None:
            self.first_token_ms = (now - self._began) * 1000
        self._waits_ms.append((now - self._last) * 1000)
        self._last = now


async def _read(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body. Raises RuntimeFailed if it is longer than `most` bytes."""
    body = bytearray()
    while data := await answer.content.readany():
        body += data
        if len(body) > most:
            raise RuntimeFailed("The runtime's answer is too long.")
    return bytes(body)
