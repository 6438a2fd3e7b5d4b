"""Serves requests: which are taken, under which id, and what is noted of them. Runs in the gateway's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp

from .. import logs
from ..clock import ConsoleClock
from ..runtimes.found import FoundModel
from ..runtimes.watch import HttpRuntime, RuntimeWatch
from ..wire.schema import RequestOutcome
from .admission import Admission, is_request_id, request_id_for, request_id_used
from .asked import Asked, Kind, understand
from .exchange import Exchange, Record, Served
from .figures import Figures
from .journal import Journal, UnderWay
from .refusals import Refused
from .sinks import ClientSocket, Kept, Sink

RETRY_AFTER_SECONDS = 5
NO_ROOM_RETRY_AFTER_SECONDS = 60
MOST_MODELS_TRIED = 3
_WITHOUT_RECEIPT = "console-challenge"


class CannotComplete(Exception):
    """The node cannot complete a prompt now. The message says why."""


@dataclass(frozen=True)
class Completed:
    """The answer to a prompt of the agent's own."""

    text: str
    tokens_output: int
    first_token_ms: float | None
    output_blake3: str
    model_id: str


@dataclass(frozen=True)
class Books:
    """Where receipts go. `record` blocks until the receipt is on disk."""

    record: Record
    has_answered: Callable[[str], bool]
    lack_of_room: Callable[[], str | None]


class Serving:
    """The requests of one node. `books` and `journal` are set when the node is registered."""

    def __init__(self, runtime_url: str, most: int, watch: RuntimeWatch, clock: ConsoleClock) -> None:
        self._runtime_url = runtime_url
        self._watch = watch
        self._clock = clock
        self._admission = Admission(most)
        self._exchanges: dict[Exchange, asyncio.Task[Any] | None] = {}
        self._disk_failed = False
        self.figures = Figures()
        self.books: Books | None = None
        self.journal: Journal | None = None
        self.session: aiohttp.ClientSession
        self.api: HttpRuntime
        self.is_stopping = False

    @property
    def running(self) -> int:
        """How many requests are under way."""
        return self._admission.running

    async def serve(
        self, asked: Asked, client: ClientSocket, dispatched: str, suggested: str, hedged: bool
    ) -> None:
        """Serve a client's request. Raises Refused."""
        books = self._require_books()
        if not self._watch.is_up:
            raise _runtime_down("it does not answer")
        model = self._watch.find(asked.model)
        if model is None:
            raise Refused(HTTPStatus.NOT_FOUND, "model_not_found", "This node does not offer that model.")
        wanted = dispatched or suggested
        answered = is_request_id(wanted) and await _has_answered(books, wanted)
        request_id = request_id_for(
            dispatched, suggested, lambda used: answered or self._admission.is_under_way(used)
        )
        client.headers["X-Jatevo-Request-Id"] = request_id
        await self._exchange(Served(request_id, asked, model, hedged), client, books.record)

    async def complete(self, prompt: str, max_tokens: int, request_id: str | None) -> Completed:
        """Complete a prompt of the console with the first model that takes it. Raises Refused or CannotComplete."""
        books = self._require_books()
        if not self._watch.models:
            raise _runtime_down(self._watch.problem or "it has no models")
        if request_id is not None and await _has_answered(books, request_id):
            raise request_id_used()
        record = None if request_id is None else books.record
        for model in self._watch.models[:MOST_MODELS_TRIED]:
            asked = understand(Kind.CHAT, _prompt_document(model, prompt, max_tokens))
            served = Served(request_id or _WITHOUT_RECEIPT, asked, model, hedged=False)
            exchange = await self._exchange(served, Kept(), record)
            if not exchange.is_accounted_for:
                raise CannotComplete("the node cannot write to its disk")
            if exchange.outcome is RequestOutcome.OK and exchange.completion is not None:
                return Completed(
                    text=exchange.delivered.text,
                    tokens_output=exchange.completion.tokens_output,
                    first_token_ms=exchange.first_token_ms,
                    output_blake3=exchange.delivered.text_blake3,
                    model_id=model.name,
                )
            if exchange.outcome is not None:
                break
            # the runtime refused the request: the model may be one for embeddings only
        raise CannotComplete("the runtime did not complete the prompt")

    async def end(self) -> None:
        """End the requests under way, with their receipts, and refuse others."""
        self.is_stopping = True
        for exchange, task in list(self._exchanges.items()):
            exchange.stopped_by_agent = True
            if task is not None:
                task.cancel()
        while self._exchanges:
            await asyncio.sleep(0.01)

    async def _exchange(self, served: Served, sink: Sink, record: Record | None) -> Exchange:
        with self._admission.admit(served.request_id) as slot:

            async def count(text: str) -> int | None:
                return await self._watch.count_tokens(self.api, served.model, text)

            def note(each: Exchange) -> None:
                if record is not None:
                    self._note(slot, each)

            exchange = Exchange(
                served,
                sink,
                session=self.session,
                runtime_url=self._runtime_url,
                clock=self._clock,
                count=count,
                record=record,
                note=note,
            )
            self._exchanges[exchange] = asyncio.current_task()
            note(exchange)
            try:
                await exchange.run()
            finally:
                del self._exchanges[exchange]
                self._empty_slot(slot, exchange)
                self.figures.ended(exchange, recorded=exchange.is_recorded)
                if exchange.outcome is RequestOutcome.ERROR:
                    self._watch.look_now()
        return exchange

    def _note(self, slot: int, exchange: Exchange) -> None:
        """Keep what is delivered so far on disk, for the case that the agent is killed."""
        served, delivered = exchange.served, exchange.delivered
        request = UnderWay(
            request_id=served.request_id,
            model_id=served.model.name,
            model_sha256=served.model.sha256,
            prompt_blake3=served.asked.prompt_blake3,
            tokens_output=delivered.pieces,
            output_blake3=None if served.asked.kind is Kind.EMBEDDING else delivered.text_blake3_so_far,
            started_at=exchange.started_at,
            at=self._clock.now(),
            hedged=served.hedged,
        )
        self._write_journal(lambda journal: journal.write(slot, request))

    def _empty_slot(self, slot: int, exchange: Exchange) -> None:
        """Keep the request for the next start if it has no receipt and needs one."""
        if exchange.is_accounted_for:
            self._write_journal(lambda journal: journal.clear(slot))
        elif not self._write_journal(lambda journal: journal.set_aside(slot)):
            logs.error("a receipt is lost", request_id=exchange.served.request_id)

    def _write_journal(self, write: Callable[[Journal], bool | None]) -> bool | None:
        """What `write` returns. None if it fails: a full disk must not end a stream."""
        if self.journal is None:
            return None
        try:
            result = write(self.journal)
        except OSError as error:
            if not self._disk_failed:
                logs.warning("requests under way cannot be noted on disk", reason=error.strerror)
            self._disk_failed = True
            return None
        self._disk_failed = False
        return result

    def _require_books(self) -> Books:
        if self.is_stopping or self.books is None:
            raise _unavailable(
                "This node is stopping." if self.is_stopping else "This node is not registered yet.",
                RETRY_AFTER_SECONDS,
            )
        if problem := self.books.lack_of_room():
            raise _unavailable(problem, NO_ROOM_RETRY_AFTER_SECONDS)
        return self.books


async def _has_answered(books: Books, request_id: str) -> bool:
    """Ask the disk in another thread, because it may be slow."""
    return await asyncio.get_running_loop().run_in_executor(None, books.has_answered, request_id)


def _prompt_document(model: FoundModel, prompt: str, max_tokens: int) -> dict[str, Any]:
    return {
        "model": model.name,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
    }


def _unavailable(message: str, retry_after_seconds: int) -> Refused:
    return Refused(
        HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message, retry_after_seconds=retry_after_seconds
    )


def _runtime_down(problem: str) -> Refused:
    return Refused(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "runtime_unavailable",
        f"The node's runtime cannot be used: {problem}.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
