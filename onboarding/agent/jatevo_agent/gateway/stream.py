"""A streamed answer on its way from the runtime to the client.

Text goes to the client at once. What tells the client that the answer is complete (finish reason, usage,
`[DONE]`) is held until the receipt is on disk. So a client that has seen the end has a receipt, and the receipt
covers only text that was written before it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from .answers import DONE, Said, document_in, said_by, without_finish, without_output
from .delivered import Delivered
from .events import EventSplitter, data_of, event_of
from .long_work import worked
from .sinks import Sink


class RuntimeFailed(Exception):
    """The runtime did not complete the answer. The message is for the client and has none of the content."""


class StreamedAnswer:
    """Passes on the events of one answer. `delivered` says what the client has."""

    def __init__(
        self, sink: Sink, delivered: Delivered, *, hide_usage: bool, note: Callable[[], None]
    ) -> None:
        self._sink = sink
        self._delivered = delivered
        self._hide_usage = hide_usage
        self._note = note
        self._splitter = EventSplitter()
        self._passing: list[bytes] = []
        self._passing_said: list[Said] = []
        self._held: list[bytes] = []
        self._held_said: list[Said] = []
        self._finished = False
        self.is_done = False

    async def feed(self, data: bytes) -> None:
        """Pass on what has come from the runtime. Raises RuntimeFailed, MalformedAnswer and ClientGone."""
        for event in self._splitter.feed(data):
            await self._take(event)
            if self.is_done:
                break
        await self._pass()

    def runtime_closed(self) -> None:
        """The runtime has closed its answer. Raises RuntimeFailed if it was not complete."""
        if not (self.is_done or self._finished):
            raise RuntimeFailed("The runtime ended its answer before it was complete.")

    async def complete(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Put the receipt on disk with `settle`, then tell the client that the answer is complete."""
        for said in self._held_said:
            self._delivered.add(said)
        await settle()
        if self._held:
            await self._sink.write(b"".join(self._held))
        await self._sink.end()

    async def _take(self, event: bytes) -> None:
        data = data_of(event)
        if data is None:
            self._pass_on(event)
        elif data.strip() == DONE:
            self.is_done = True
            self._held.append(event)
        else:
            await self._take_chunk(event, data)

    async def _take_chunk(self, event: bytes, data: bytes) -> None:
        document = await worked(lambda: document_in(data), len(data))
        said = said_by(document)
        if said.is_error:
            raise RuntimeFailed("The runtime reported an error in the middle of its answer.")
        if said.generated and said.finishes:
            first, last = without_finish(document), without_output(document)
            self._take_output(event_of(_dump(first)), said_by(first))
            self._hold(event_of(_dump(last)), said_by(last))
        elif said.generated:
            self._take_output(event, said)
        elif said.finishes or said.usage is not None:
            self._hold(event, said)
        else:
            self._pass_on(event)

    def _take_output(self, event: bytes, said: Said) -> None:
        # with several choices, one may end before the others
        self._passing += self._held
        self._passing_said += self._held_said
        self._held, self._held_said = [], []
        self._passing.append(event)
        self._passing_said.append(said)

    def _hold(self, event: bytes, said: Said) -> None:
        self._finished = self._finished or bool(said.finishes)
        self._held_said.append(said)
        is_extra = said.usage is not None and said.choices == 0
        if not (is_extra and self._hide_usage):
            self._held.append(event)

    def _pass_on(self, event: bytes) -> None:
        (self._held if self._held else self._passing).append(event)

    async def _pass(self) -> None:
        if not self._passing:
            return
        await self._sink.write(b"".join(self._passing))
        for said in self._passing_said:
            self._delivered.add(said)
        generated = bool(self._passing_said)
        self._passing, self._passing_said = [], []
        if generated:
            self._note()


def _dump(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
