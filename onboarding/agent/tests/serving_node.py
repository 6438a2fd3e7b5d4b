"""A registered node whose gateway serves a runtime, in this process."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import yaml
from blake3 import blake3
from fake_console import free_port
from jatevo_agent.agent import Recorder
from jatevo_agent.clock import ConsoleClock
from jatevo_agent.completion import Completion
from jatevo_agent.config import load_config
from jatevo_agent.gateway.gateway import Gateway
from jatevo_agent.gateway.recovery import recover
from jatevo_agent.gateway.serving import Books
from jatevo_agent.key_change import CurrentKey
from jatevo_agent.spool import Spool
from nacl.signing import SigningKey

NODE_ID = "gpu-7"
KEY = "jvg_" + "k" * 43
MESSAGES = [{"role": "user", "content": "Say hello to the world"}]
CHAT = "/v1/chat/completions"


class ServingNode:
    """Close it after use."""

    def __init__(self, folder: Path, runtime_url: str, **keys: Any) -> None:
        port = free_port()
        document = {
            "console": "https://console.example",
            "node_id": NODE_ID,
            "region": "eu-west",
            "runtime": "vllm",
            "runtime_url": runtime_url,
            "listen": f"127.0.0.1:{port}",
            **keys,
        }
        (folder / "agent.yaml").write_text(yaml.safe_dump(document))
        self.config = load_config(folder / "agent.yaml", {})
        self.signing_key = SigningKey.generate()
        self.spool = Spool(folder / "spool.sqlite")
        self.gateway = Gateway(self.config, NODE_ID, CurrentKey(self.signing_key), ConsoleClock())
        self.journal_path = folder / "in_flight"
        self.broken_disk = False
        self.before_record: Callable[[], object] = lambda: None
        self.full: str | None = None
        self._changed = threading.Condition()
        self._recorder = Recorder(self.config, CurrentKey(self.signing_key), self.spool, lambda: None)
        scheme = "https" if self.config.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.port = port
        self.client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=20
        )

    def start(self) -> None:
        self.gateway.start()
        self.gateway.wait_for_models(10)
        self.open()

    def open(self) -> None:
        self.gateway.open(keys=[KEY], books=self.books(), journal_path=self.journal_path)

    def books(self) -> Books:
        return Books(self._record, self.spool.has_answered, lambda: self.full)

    def ask(self, **members: Any) -> httpx.Response:
        """A chat completion; `headers` and `path` are not members of its body."""
        headers, path = members.pop("headers", {}), members.pop("path", CHAT)
        body = {"model": "llama3.1", "messages": MESSAGES, **members}
        return self.client.post(path, json=body, headers=headers)

    def receipts(self) -> list[dict[str, Any]]:
        """The receipts on disk, oldest first."""
        return [json.loads(each.body) for each in self.spool.oldest(1000, 10_000_000)]

    def receipt(self) -> dict[str, Any]:
        """The only receipt."""
        found = self.receipts()
        assert len(found) == 1, found
        return found[0]

    def wait_for_receipts(self, count: int = 1) -> list[dict[str, Any]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.receipts()) >= count, 10), self.receipts()
        return self.receipts()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that no event announces."""
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def look_at_the_runtime(self) -> None:
        """Let the gateway ask the runtime for its models now."""
        gateway = self.gateway
        gateway._submit(gateway._watch.look(gateway._serving.api)).result(10)

    def wait_until_idle(self) -> None:
        self.wait_until(lambda: self.gateway.figures()["requests_running"] == 0)

    def recover(self) -> None:
        """Do what the agent does at its next start. The gateway must be closed."""
        recover(self.journal_path, self._recorder.store, self.spool.has_answered)

    def close(self) -> None:
        self.client.close()
        self.gateway.close()
        self.spool.close()

    def seen_before_the_receipt(self, **members: Any) -> tuple[bytes, bytes]:
        """What a client has when the receipt of its chat completion is being written, and in the end."""
        seen: list[bytes] = []
        looked = threading.Event()
        with RawClient(self.port) as client:

            def look() -> None:
                seen.append(client.available())
                looked.set()

            self.before_record = look
            client.post(CHAT, {"model": "llama3.1", "messages": MESSAGES, **members})
            assert looked.wait(10)
            return seen[0], client.read_to_end()

    @contextmanager
    def stream(self, **members: Any) -> Iterator[StreamedText]:
        """A streamed chat completion that the test reads piece by piece."""
        body = {"model": "llama3.1", "messages": MESSAGES, "stream": True, **members}
        with self.client.stream("POST", CHAT, json=body) as answer:
            yield StreamedText(answer)

    def _record(self, completion: Completion) -> None:
        self.before_record()
        if self.broken_disk:
            raise OSError("no space left on device")
        self._recorder.store(completion)
        with self._changed:
            self._changed.notify_all()


class StreamedText:
    """The text of a stream, as it comes."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()
        self.done = False
        self.errors: list[str] = []

    def text_until(self, pieces: int) -> str:
        """The text of the next so many pieces."""
        found: list[str] = []
        while len(found) < pieces:
            found += self._next_piece()
        return "".join(found)

    def rest(self) -> str:
        """The text until the end of the stream."""
        found: list[str] = []
        try:
            while True:
                found += self._next_piece()
        except StopIteration:
            return "".join(found)

    def _next_piece(self) -> list[str]:
        line = next(self._lines)
        self.done = self.done or line == "data: [DONE]"
        if not line.startswith("data: {"):
            return []
        document = json.loads(line.removeprefix("data: "))
        if "error" in document:
            self.errors.append(document["error"]["type"])
        texts = (choice["delta"].get("content") for choice in document.get("choices", []))
        return [text for text in texts if text]


class RawClient:
    """A client that reads from its socket only when told to."""

    def __init__(self, port: int, receive_buffer_bytes: int | None = None, key: str = KEY) -> None:
        self._key = key
        self.socket = socket.socket()
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self._read = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def post(self, path: str, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = (
            f"POST {path} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {self._key}\r\nConnection: close\r\n"
            f"{more}Content-Length: {len(body)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + body)

    def available(self) -> bytes:
        """Everything that has arrived so far, without waiting."""
        while select.select([self.socket], [], [], 0)[0] and (data := self.socket.recv(65536)):
            self._read += data
        return self._read

    def read_pieces(self, count: int) -> None:
        """Read until so many events of a stream have arrived."""
        while self._read.count(b"data: ") < count:
            self._read += self.socket.recv(65536)

    def available_or_nothing(self) -> bytes:
        """What was read before the connection was reset."""
        return self._read

    def read_to_end(self) -> bytes:
        """Everything until the node closes the connection."""
        while data := self.socket.recv(65536):
            self._read += data
        return self._read


def blake3_of(content: bytes) -> str:
    """As receipts spell it."""
    return "blake3:" + blake3(content).hexdigest()


def events(text: str) -> list[Any]:
    """The data of a stream's events, parsed; `[DONE]` as it is."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def text_of(stream: str) -> str:
    """The text of a streamed chat completion."""
    return "".join(
        choice["delta"].get("content") or ""
        for event in events(stream)
        if event != "[DONE]"
        for choice in event.get("choices", [])
    )
