"""A fleet's machines from one event loop: requests signed when they are due, over the connections of a proxy."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson
from nacl.signing import SigningKey

from jatevo.wire.signing import sign
from jatevo.wire.webhook import new_message_id, sign_request


@dataclass(frozen=True)
class Machine:
    """An enrolled node with its secrets."""

    node_id: str
    secret: bytes
    key: SigningKey
    region: str
    model: str


@dataclass(frozen=True)
class Answer:
    """An answer to what was due at `due` and sent at `began` (monotonic seconds). Status 0 is none at all."""

    status: int
    due: float
    began: float
    ended: float


@dataclass
class Sender:
    """Sends what is due, with as many requests at a time as it has connections."""

    base: str
    connections: int
    answers: dict[str, list[Answer]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._due: asyncio.Queue[tuple[float, str, Machine, Callable[[Machine], bytes]]] = asyncio.Queue()

    async def run(self) -> None:
        """Sends until it is cancelled."""
        async with asyncio.TaskGroup() as all_of_them:
            for _ in range(self.connections):
                all_of_them.create_task(self._connection())

    def send(self, path: str, machine: Machine, body: Callable[[Machine], bytes], *, due: float) -> None:
        self._due.put_nowait((due, path, machine, body))

    @property
    def waiting(self) -> int:
        return self._due.qsize()

    async def _connection(self) -> None:
        address = urlsplit(self.base)
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while True:
            due, path, machine, body = await self._due.get()
            began = time.monotonic()
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection(address.hostname, address.port)
                writer.write(_request(path, machine, body(machine)))
                status = await _status(reader)
            except (OSError, EOFError):
                status, reader, writer = 0, None, None
            self.answers.setdefault(path, []).append(Answer(status, due, began, time.monotonic()))


def heartbeat(machine: Machine) -> bytes:
    metrics = {"uptime": 1234.5, "gpu_util": 0.5, "temp": 61.5}
    return orjson.dumps({"node_id": machine.node_id, "ts": time.time(), "metrics": metrics})


def receipt(machine: Machine) -> bytes:
    now = int(time.time())
    body: dict[str, Any] = {
        "version": "1.0", "request_id": f"fleet-{uuid.uuid4().hex}", "node_id": machine.node_id, "region": machine.region,
        "ts_start": now - 8, "ts_end": now, "model_id": machine.model, "model_hash": "sha256:" + "a" * 64,
        "prompt_hash": "blake3:" + "b" * 64, "tokens_input": 128, "tokens_output": 92, "p95_ms": 310, "hedged": False,
        "cache_hit": True,
    }  # fmt: skip
    return orjson.dumps(sign(body, machine.key))


def _request(path: str, machine: Machine, body: bytes) -> bytes:
    headers = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Node-Id": machine.node_id,
        **sign_request(machine.secret, new_message_id(), int(time.time()), body),
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    """The status of an answer, which is read whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
    return int(head[9:12])
