"""Machines that publish to the event bus, and what is left on it."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import nats.js.errors
import orjson
from nats.aio.client import Client
from nats.js import JetStreamContext

from jatevo.bus import stream
from jatevo.bus.models import MessageKind
from tests.machines import SignedSender

T = TypeVar("T")
WAIT_SECONDS = 100.0  # on a busy machine; on an idle one it takes a moment


class EventBus:
    """The stream of a server, as machines and people see it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def publish(
        self,
        machine: SignedSender,
        kind: MessageKind,
        body: Any,
        *,
        at: float | None = None,
        message_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Publishes a signed message, and returns its number in the stream."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        signed = machine.headers(raw, at=at, message_id=message_id) | dict(headers or {})
        return self.publish_raw(kind, raw, signed)

    def publish_raw(self, kind: MessageKind, body: bytes, headers: Mapping[str, str]) -> int:
        async def send(client: Client) -> int:
            js = client.jetstream()
            return (await js.publish(kind.subject, body, headers=dict(headers), timeout=WAIT_SECONDS)).seq

        return self.connected(send)

    def publish_bytes(self, kind: MessageKind, headers: bytes, body: bytes = b"{}") -> None:
        """Publishes a message whose headers are these bytes, as no client would."""
        address = urlsplit(self.url)
        with (
            socket.create_connection((address.hostname, address.port), timeout=WAIT_SECONDS) as line,
            line.makefile("rb") as answers,
        ):
            answers.readline()
            sizes = f"{len(headers)} {len(headers) + len(body)}"
            line.sendall(
                b'CONNECT {"headers":true,"verbose":false,"no_responders":true}\r\n'
                + f"HPUB {kind.subject} {sizes}\r\n".encode()
                + headers + body + b"\r\nPING\r\n"
            )  # fmt: skip
            assert answers.readline() == b"PONG\r\n"

    def left(self) -> int:
        """The number of messages that are not acknowledged.

        The stream's own number of messages may be larger. If NATS is killed between the two, it may know that a message
        was acknowledged, and keep it all the same until it is too old.
        """

        async def ask(client: Client) -> int:
            js = client.jetstream(timeout=WAIT_SECONDS)
            return sum([await stream.pending(js, kind) for kind in MessageKind])

        return self.connected(ask, inbox_prefix=stream.INBOX_PREFIX)

    def make(self, *, ack_wait_seconds: float) -> None:
        """An empty stream with its consumers."""

        async def make(client: Client) -> None:
            js: JetStreamContext = client.jetstream(timeout=WAIT_SECONDS)
            with suppress(nats.js.errors.NotFoundError):
                await js.delete_stream(stream.STREAM)
            await stream.ensure(js, ack_wait_seconds=ack_wait_seconds)

        self.connected(make)

    def make_missing(self, *, ack_wait_seconds: float) -> None:
        async def make(client: Client) -> None:
            await stream.ensure(client.jetstream(), ack_wait_seconds=ack_wait_seconds)

        self.connected(make)

    def connected(self, work: Callable[[Client], Awaitable[T]], **options: Any) -> T:
        """What `work` returns. `options` are those of NATS' client."""

        async def story() -> T:
            client = stream.BusClient()
            try:
                await client.connect(self.url, **options)
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(story())


def eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not what():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)
