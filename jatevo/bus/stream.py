"""The stream and its durable consumers in NATS JetStream, and how messages are pulled from them.

nats-py's own `fetch` is not used. It takes any message that has a header `Status` for one of the server's and drops it,
and anyone who may publish can send such a header.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final

import nats.errors
import nats.js.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from jatevo.bus.models import MessageKind

STREAM: Final = "JATEVO"
MOST_AGE_SECONDS: Final = 7 * 86_400  # older receipts are refused anyway
MOST_BYTES: Final = 1024**3
MOST_BYTES_OF_MESSAGE: Final = 2 * 1024**2 + 64 * 1024  # a batch, and its headers
DUPLICATE_WINDOW_SECONDS: Final = 120
ACK_WAIT_SECONDS: Final = 30.0
# Messages that come again later count too, and must not hold up the others.
MOST_UNACKNOWLEDGED: Final = 20_000
# Messages are delivered there, with the time at which they were stored. Machines may neither read nor write there
# (deploy/nats/nats.conf).
INBOX_PREFIX: Final = "_INBOX_JATEVO"
PULL_SECONDS: Final = 1.0  # how long a process that is told to stop may still be sent messages
LATE_SECONDS: Final = 4.0
_ACK: Final = "$JS.ACK."
_ENDED: Final = frozenset({"404", "408"})  # no messages, or the pull's time is over
# What NATS' client raises while it has no server that answers.
NATS_ERRORS: Final = (nats.errors.Error, OSError, asyncio.TimeoutError)


class PullRefused(nats.errors.Error):
    """JetStream does not serve the pull, for example because the consumer is gone."""


class BusClient(Client):
    """NATS' client, which survives headers that are not text, and closes its socket whatever happens."""

    async def close(self) -> None:
        """nats-py leaves the socket open if the connection broke while something was to be sent, or was not made yet."""
        try:
            await super().close()
        finally:
            if self._transport is not None:
                self._transport.close()

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        """nats-py would stop reading for good, on each connection anew, as long as such a message is in the stream.
        Without its headers, the message is refused as unsigned.
        """
        try:
            return await super()._process_headers(headers)
        except Exception:
            return None


def durable_name(kind: MessageKind) -> str:
    return f"jatevo-{kind.value}"


async def ensure(js: JetStreamContext, *, ack_wait_seconds: float) -> None:
    """Creates the stream and the durable consumers where they are missing. Those that exist are left as they are, so
    that an operator may change replicas and limits.
    """
    try:
        await js.stream_info(STREAM)
    except nats.js.errors.NotFoundError:
        await js.add_stream(_stream())
    for kind in MessageKind:
        try:
            await js.consumer_info(STREAM, durable_name(kind))
        except nats.js.errors.NotFoundError:
            await js.add_consumer(STREAM, _consumer(kind, ack_wait_seconds))


async def pending(js: JetStreamContext, kind: MessageKind) -> int:
    """The number of messages that are not acknowledged yet."""
    info: ConsumerInfo = await js.consumer_info(STREAM, durable_name(kind))
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


class Pulling:
    """Pulls messages of one kind over one connection."""

    def __init__(self, client: Client, kind: MessageKind) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{durable_name(kind)}"
        self._inbox = client.new_inbox()
        self._pulls = 0

    async def open(self) -> None:
        self._subscription = await self._client.subscribe(f"{self._inbox}.*")

    async def pull(self, most: int) -> AsyncIterator[Msg]:
        """Messages as they come, for about a second, and at most so many. Raises NATS_ERRORS."""
        self._pulls += 1
        inbox = f"{self._inbox}.{self._pulls}"
        wanted = {"batch": most, "expires": int(PULL_SECONDS * 1e9)}
        await self._client.publish(self._subject, orjson.dumps(wanted), reply=inbox)
        deadline = time.monotonic() + PULL_SECONDS + LATE_SECONDS
        while most:
            message = await self._subscription.next_msg(max(0.01, deadline - time.monotonic()))
            if message.reply.startswith(_ACK):
                most -= 1
                yield message
            elif message.subject == inbox:  # others are about earlier pulls
                headers = message.headers or {}
                if headers.get("Status") in _ENDED:
                    return
                raise PullRefused(f"{headers.get('Status')} {headers.get('Description', '')}".strip())


def _stream() -> StreamConfig:
    return StreamConfig(
        name=STREAM,
        description="What machines post to the Jatevo console",
        subjects=_subjects(MessageKind),
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        max_age=MOST_AGE_SECONDS,
        max_bytes=MOST_BYTES,
        max_msg_size=MOST_BYTES_OF_MESSAGE,
        discard=DiscardPolicy.NEW,  # a full stream refuses what is published, and its sender knows
        duplicate_window=DUPLICATE_WINDOW_SECONDS,
    )


def _consumer(kind: MessageKind, ack_wait_seconds: float) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=durable_name(kind),
        filter_subject=kind.subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_seconds,
        max_deliver=-1,  # the console decides when it was enough, and parks the message
        max_ack_pending=MOST_UNACKNOWLEDGED,
    )


def _subjects(kinds: Iterable[MessageKind]) -> list[str]:
    return [kind.subject for kind in kinds]
