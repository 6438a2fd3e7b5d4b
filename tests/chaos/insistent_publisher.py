"""A machine that publishes each message to the event bus until NATS has acknowledged it."""

import asyncio
import base64
import hmac
import random
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from nats.aio.client import Client

from jatevo.bus.models import MessageKind
from jatevo.bus.stream import NATS_ERRORS, BusClient
from jatevo.wire.webhook import secret_of

SECONDS_BEFORE_RETRY: Final = 0.1
ACKNOWLEDGED_WITHIN_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Statement:
    """What a message says: its body, and what is written down once it is acknowledged."""

    kind: MessageKind
    body: bytes
    entries: dict[str, str]


@dataclass
class Journal:
    """What NATS has acknowledged, by kind: what identifies each entry, and what it says."""

    entries: dict[MessageKind, dict[str, str]] = field(
        default_factory=lambda: {kind: {} for kind in MessageKind}
    )
    messages: dict[MessageKind, int] = field(default_factory=lambda: dict.fromkeys(MessageKind, 0))
    retries: int = 0


class InsistentPublisher(threading.Thread):
    """Publishes what `next_statement` returns, one after the other, until `finish`.

    A retry has the same bytes, the same webhook-id and the same Nats-Msg-Id.
    """

    def __init__(
        self,
        url: str,
        *,
        header: str,
        sender: str,
        token: str,
        next_statement: Callable[[], Statement],
        seconds_between: float,
    ) -> None:
        super().__init__(name=sender, daemon=True)
        self.journal = Journal()
        self.failure: BaseException | None = None
        self._url = url
        self._sender = {header: sender}
        self._secret = secret_of(token)
        self._next_statement = next_statement
        self._seconds_between = seconds_between
        self._random = random.Random(sender)
        self._ending = threading.Event()
        self._client: Client | None = None

    def finish(self, timeout_seconds: float) -> None:
        """Publishes nothing new, and waits until the current message is acknowledged."""
        self._ending.set()
        self.join(timeout_seconds)
        assert not self.is_alive(), f"{self.name} still waits for an acknowledgement"
        if self.failure is not None:
            raise self.failure

    def abandon(self) -> None:
        self._ending.set()

    def run(self) -> None:
        try:
            asyncio.run(self._publish_until_told())
        except BaseException as error:
            self.failure = error

    async def _publish_until_told(self) -> None:
        while not self._ending.is_set():
            started = time.monotonic()
            await self._insist(self._next_statement())
            await asyncio.sleep(max(0.0, self._seconds_between - (time.monotonic() - started)))
        await self._disconnect()

    async def _insist(self, statement: Statement) -> None:
        headers = self._signed(statement.body)
        while True:
            try:
                client = await self._connected()
                await client.jetstream().publish(
                    statement.kind.subject,
                    statement.body,
                    headers=headers,
                    timeout=ACKNOWLEDGED_WITHIN_SECONDS,
                )
            except NATS_ERRORS:
                self.journal.retries += 1
                await self._disconnect()
                await asyncio.sleep(SECONDS_BEFORE_RETRY * (1 + self._random.random()))
                continue
            self.journal.entries[statement.kind] |= statement.entries
            self.journal.messages[statement.kind] += 1
            return

    async def _connected(self) -> Client:
        if self._client is None or self._client.is_closed:
            self._client = (
                BusClient()
            )  # known before it connects, because what fails half-way must be closed too
            await self._client.connect(
                self._url, allow_reconnect=False, max_reconnect_attempts=1, error_cb=_ignore
            )
        return self._client

    async def _disconnect(self) -> None:
        if self._client is not None:
            with suppress(*NATS_ERRORS):
                await self._client.close()
        self._client = None

    def _signed(self, body: bytes) -> dict[str, str]:
        message_id, stamp = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
        mac = hmac.digest(self._secret, f"{message_id}.{stamp}.".encode() + body, "sha256")
        return self._sender | {
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
            "Nats-Msg-Id": message_id,
        }


async def _ignore(_: Exception) -> None: ...
