"""A quick OpenAI-compatible runtime, one token in each chunk, that can be stopped in the middle of its answers."""

import asyncio
import contextlib
import json
import random
from typing import Any

from aiohttp import web

from tests.chaos.agent.loop_thread import LoopThread

MODEL = "llama3.1-8b"


def tokens_of(request_id: str, wanted: int) -> list[str]:
    """The answer to a prompt that is a request's id."""
    return [f" {request_id}/{number}" for number in range(wanted)]


class TokenRuntime:
    """Starts at once. `stop` resets every connection, as the end of a killed process does."""

    def __init__(self, port: int, seed: str) -> None:
        self.port = port
        self._dice = random.Random(seed)
        self._thread = LoopThread()
        self._runner: web.ServerRunner | None = None
        self.start()

    def start(self) -> None:
        self._thread.call(self._start())

    def stop(self) -> None:
        self._thread.call(self._stop())

    def close(self) -> None:
        self.stop()
        self._thread.close()

    async def _start(self) -> None:
        server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is None or runner.server is None:
            return
        for connection in runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": [{"id": MODEL}]})
        if request.path != "/v1/chat/completions":
            return web.json_response({"error": {"message": "not found"}}, status=404)
        asked = json.loads(await request.read())
        tokens = tokens_of(asked["messages"][0]["content"], asked["max_tokens"])
        usage = {"prompt_tokens": 7, "completion_tokens": len(tokens), "total_tokens": 7 + len(tokens)}
        pause = self._dice.choice((0.0, 0.001, 0.01, 0.03))
        if not asked.get("stream"):
            await asyncio.sleep(pause * len(tokens))
            message = {"role": "assistant", "content": "".join(tokens)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({"choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with contextlib.suppress(ConnectionError):  # the agent has left
            await self._stream(request, response, asked, tokens, usage, pause)
        return response

    async def _stream(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        asked: dict[str, Any],
        tokens: list[str],
        usage: dict[str, int],
        pause: float,
    ) -> None:
        await response.prepare(request)
        for token in tokens:
            await response.write(_event({"index": 0, "delta": {"content": token}, "finish_reason": None}))
            await asyncio.sleep(pause)
        await response.write(_event({"index": 0, "delta": {}, "finish_reason": "stop"}))
        if (asked.get("stream_options") or {}).get("include_usage"):
            await response.write(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()


def _event(choice: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"
