"""A TCP proxy that cuts, delays and corrupts, and remembers what the side behind it has written."""

import asyncio
import random
from dataclasses import dataclass, field

from tests.chaos.agent.loop_thread import LoopThread

PIECE_BYTES = 16_384
LONGEST_DELAY_SECONDS = 0.4
PATIENCE_SECONDS = 20.0
MEAN_BYTES_UNTIL_CUT = 1500


@dataclass(frozen=True)
class Trouble:
    """The shares of connections that are cut and corrupted, and of pieces that are delayed."""

    cut: float
    corrupt: float
    delay: float


@dataclass
class Connection:
    """What the side behind the proxy wrote on one connection, before anything was changed."""

    written: bytearray = field(default_factory=bytearray)
    is_corrupted: bool = False


class UnreliableLink:
    """Listens on `port` of the loopback interface and passes on to `target_port`, in a thread of its own.

    A cut reaches both sides: the caller is reset, and the side behind sees the end of the caller's half. What that
    side has written by then is read to its end, so that `connections` has all of it.
    """

    def __init__(self, target_port: int, trouble: Trouble, seed: str) -> None:
        self.target_port = target_port
        self.trouble: Trouble | None = trouble
        self.connections: list[Connection] = []
        self.cuts = self.corruptions = self.delays = 0
        self._dice = random.Random(seed)
        self._thread = LoopThread()
        self._server = self._thread.call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        self._thread.call(self._stop_listening())
        self._thread.close()

    async def _stop_listening(self) -> None:
        self._server.close()

    async def _serve(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        try:
            far_in, far_out = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            near_out.transport.abort()
            return
        connection = Connection()
        self.connections.append(connection)
        budget = self._bytes_until_cut()
        there = asyncio.ensure_future(self._there(near_in, far_out, connection, budget))
        back = asyncio.ensure_future(self._back(far_in, near_out, connection, budget))
        there.add_done_callback(lambda _: _end(far_out))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            if budget.is_spent:
                near_out.transport.abort()
            await asyncio.wait({back}, timeout=PATIENCE_SECONDS)
        finally:
            there.cancel()
            back.cancel()
            near_out.close()
            far_out.transport.abort()

    async def _there(
        self,
        near: asyncio.StreamReader,
        far: asyncio.StreamWriter,
        connection: Connection,
        budget: "_Budget",
    ) -> None:
        """From the caller to the side behind, until the caller leaves or is cut."""
        while data := await _read(near):
            data = await self._troubled(data, connection)
            if not budget.allows(data):
                return
            if not await _written(far, data):
                return

    async def _back(
        self,
        far: asyncio.StreamReader,
        near: asyncio.StreamWriter,
        connection: Connection,
        budget: "_Budget",
    ) -> None:
        """From the side behind to the caller. It is read to its end, also when nobody takes it any more."""
        is_passing = True
        while data := await _read(far):
            connection.written += data
            if not is_passing:
                continue
            data = await self._troubled(data, connection)
            if not budget.allows(data):
                near.transport.abort()  # `_there` then ends, and tells the side behind
            is_passing = not budget.is_spent and await _written(near, data)

    async def _troubled(self, data: bytes, connection: Connection) -> bytes:
        """The data after a delay, or with one bit changed, if the dice say so."""
        if self.trouble is None:
            return data
        if self._dice.random() < self.trouble.delay:
            self.delays += 1
            await asyncio.sleep(self._dice.random() * LONGEST_DELAY_SECONDS)
        if self._dice.random() < self.trouble.corrupt:
            self.corruptions += 1
            connection.is_corrupted = True
            position = self._dice.randrange(len(data))
            changed = data[position] ^ (1 << self._dice.randrange(8))
            return data[:position] + bytes([changed]) + data[position + 1 :]
        return data

    def _bytes_until_cut(self) -> "_Budget":
        if self.trouble is None or self._dice.random() >= self.trouble.cut:
            return _Budget(None)
        self.cuts += 1
        return _Budget(int(self._dice.expovariate(1 / MEAN_BYTES_UNTIL_CUT)))


class _Budget:
    """How many bytes a connection passes on, in both directions, before it is cut. None for no end."""

    def __init__(self, left: int | None) -> None:
        self._left = left
        self.is_spent = False

    def allows(self, data: bytes) -> bool:
        if self._left is not None:
            self._left -= len(data)
            self.is_spent = self.is_spent or self._left < 0
        return not self.is_spent


async def _read(source: asyncio.StreamReader) -> bytes:
    try:
        return await source.read(PIECE_BYTES)
    except ConnectionError:
        return b""


async def _written(target: asyncio.StreamWriter, data: bytes) -> bool:
    """Whether the data could be written."""
    try:
        target.write(data)
        await target.drain()
    except (ConnectionError, RuntimeError):
        return False
    return True


def _end(target: asyncio.StreamWriter) -> None:
    try:
        target.write_eof()
    except (OSError, RuntimeError):
        target.transport.abort()
