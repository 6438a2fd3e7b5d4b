"""A runtime for the gateway's tests: an OpenAI-compatible server whose answers and faults are scripted."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web
from fake_console import free_port

DIGEST = "ab" * 32


@dataclass
class Script:
    """How the next completions go. `faults` happen before the piece of that number; -1 is before the end."""

    pieces: list[str] = field(default_factory=lambda: ["Hel", "lo", " wor", "ld"])
    usage: Any = field(
        default_factory=lambda: {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    )
    finish: str | None = "stop"
    status: int = 200
    error: dict[str, Any] = field(default_factory=lambda: {"error": {"message": "no", "type": "x"}})
    pause_before: int | None = None
    """Wait before this piece until the test calls `go_on`."""
    raw_before: dict[int, bytes] = field(default_factory=dict)
    done: bool = True
    finish_with_text: bool = False
    line_end: str = "\n"
    one_write: bool = False
    prefix: bytes = b""
    """What comes before the pieces."""
    hang_up: bool = False
    """Close the connection instead of answering."""
    refuse_model: str = ""
    """Answer 400 where this model is asked for."""
    raw_body: bytes | None = None
    """The body of an answer that is not streamed."""


class FakeRuntime:
    """A context manager. `shape` is which server's other addresses it imitates."""

    def __init__(self, shape: str = "vllm") -> None:
        self.shape = shape
        self.script = Script()
        self.models = ["llama3.1:latest", "qwen3:8b"] if shape == "ollama" else ["llama3.1"]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.gone = 0
        """How many clients left before the end of their answer."""
        self.tokenized: list[dict[str, Any]] = []
        self.paused = threading.Event()
        self.port = free_port()
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._go_on: asyncio.Event | None = None
        self._runner: web.ServerRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeRuntime:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        """Close every connection at once, as a runtime that is killed does."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self._resume)

    def wait_for(self, condition: Callable[[], object], timeout_seconds: float = 10.0) -> None:
        """Wait until something at the runtime makes `condition` true."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(condition()), timeout_seconds)

    def _resume(self) -> None:
        assert self._go_on is not None
        self._go_on.set()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    async def _start(self) -> None:
        self._go_on = asyncio.Event()
        server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _stop(self) -> None:
        if self._runner is not None:
            server = self._runner.server
            assert server is not None
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == "/api/tags" and self.shape == "ollama":
            return web.json_response({"models": [{"name": name, "digest": DIGEST} for name in self.models]})
        if path == "/info" and self.shape == "tgi":
            return web.json_response({"model_id": self.models[0], "model_sha": "0f" * 20})
        if path == "/v1/models" and self.shape != "tgi":
            return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})
        if path == "/tokenize":
            return await self._tokenize(request)
        if path.startswith("/v1/") and request.method == "POST":
            return await self._complete(request, path.removeprefix("/v1/"))
        return web.json_response({"error": "not found"}, status=404)

    async def _tokenize(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = json.loads(await request.read())
        self.tokenized.append(asked)
        if self.shape == "vllm":
            return web.json_response({"count": len(asked["prompt"].split())})
        if self.shape == "tgi":
            return web.json_response([{"id": 1, "text": word} for word in asked["inputs"].split()])
        return web.json_response({}, status=404)

    async def _complete(self, request: web.BaseRequest, kind: str) -> web.StreamResponse:
        script, asked = self.script, json.loads(await request.read())
        self.requests.append(asked)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self._notify()
        try:
            if script.hang_up:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            if script.raw_body is not None:
                return web.Response(body=script.raw_body, content_type="application/json")
            if script.refuse_model and asked["model"] == script.refuse_model:
                return web.json_response(script.error, status=400)
            if script.status != 200:
                return await self._refuse(request, script)
            if asked.get("stream"):
                return await self._stream(request, kind, asked, script)
            return await self._body(request, kind, script)
        except asyncio.CancelledError:
            self.gone += 1
            self._notify()
            raise
        except ConnectionError:
            self.gone += 1
            self._notify()
            raise

    async def _refuse(self, request: web.BaseRequest, script: Script) -> web.StreamResponse:
        if script.pause_before is None:
            return web.json_response(script.error, status=script.status)
        response = web.StreamResponse(status=script.status, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b"{")
        await self._pause()
        return response

    async def _body(self, request: web.BaseRequest, kind: str, script: Script) -> web.StreamResponse:
        text = "".join(script.pieces)
        if kind == "embeddings":
            document: dict[str, Any] = {"object": "list", "data": [{"embedding": [0.5], "index": 0}]}
        elif kind == "completions":
            document = {"choices": [{"index": 0, "text": text, "finish_reason": script.finish}]}
        else:
            message = {"role": "assistant", "content": text}
            document = {"choices": [{"index": 0, "message": message, "finish_reason": script.finish}]}
        if script.usage is not None:
            document["usage"] = script.usage
        if script.pause_before is not None:
            await self._pause()
        return web.json_response(document)

    async def _stream(
        self, request: web.BaseRequest, kind: str, asked: dict[str, Any], script: Script
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        events: list[bytes | None] = []
        if kind == "chat/completions":
            events.append(_event(_chunk(kind, {"role": "assistant", "content": ""}, None), script))
        if script.prefix:
            events.append(script.prefix)
        for number, piece in enumerate(script.pieces):
            last = script.finish_with_text and number == len(script.pieces) - 1
            if number in script.raw_before:
                events.append(script.raw_before[number])
            if number == script.pause_before:
                events.append(None)
            delta: Any = {"content": piece} if kind == "chat/completions" else piece
            events.append(_event(_chunk(kind, delta, script.finish if last else None), script))
        if script.pause_before == -1:
            events.append(None)
        if script.finish and not script.finish_with_text:
            events.append(
                _event(_chunk(kind, {} if kind == "chat/completions" else "", script.finish), script)
            )
        if script.usage is not None and (asked.get("stream_options") or {}).get("include_usage"):
            events.append(_event({"object": "x", "choices": [], "usage": script.usage}, script))
        if script.done:
            events.append(f"data: [DONE]{script.line_end * 2}".encode())
        if script.one_write:
            await response.write(b"".join(event for event in events if event is not None))
            events = []
        for event in events:
            if event is not None:
                await response.write(event)
            else:
                await self._pause()
        await response.write_eof()
        return response

    async def _pause(self) -> None:
        assert self._go_on is not None
        self.paused.set()
        await self._go_on.wait()
        self._go_on.clear()


def _chunk(kind: str, output: Any, finish: str | None) -> dict[str, Any]:
    member = "delta" if kind == "chat/completions" else "text"
    return {"id": "c-1", "choices": [{"index": 0, member: output, "finish_reason": finish}]}


def _event(document: dict[str, Any], script: Script) -> bytes:
    return f"data: {json.dumps(document)}{script.line_end * 2}".encode()
