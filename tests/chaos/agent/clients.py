"""Clients of a node's gateway, many at once: some stream, some do not, and some leave before the end."""

import asyncio
import random
import threading
from collections import Counter

import aiohttp

from tests.chaos.agent.token_runtime import MODEL

LONGEST_ANSWER_TOKENS = 40
STREAMED_SHARE, LEAVING_SHARE = 0.75, 0.1
PATIENCE_SECONDS = 15.0
REFUSED_PAUSE_SECONDS = 0.1  # nobody listens while the agent starts again


class Clients:
    """Sends requests, `at_once` at a time, until `wanted` have an answer or a part of one. An id is used once."""

    def __init__(self, port: int, key: str, *, wanted: int, at_once: int, seed: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self.sent: dict[str, int] = {}  # request id: tokens asked for
        self.begun = 0
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self._key = key
        self._wanted = wanted
        self._at_once = at_once
        self._dice = random.Random(seed)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def are_done(self) -> bool:
        if self._failure is not None:
            raise self._failure
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:
            self._failure = error

    async def _all(self) -> None:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            await asyncio.gather(*(self._one_after_another(session) for _ in range(self._at_once)))

    async def _one_after_another(self, session: aiohttp.ClientSession) -> None:
        while self.begun < self._wanted:
            self.begun += 1
            outcome = await self._ask(session, f"chaos-{self.begun}")
            self.outcomes[outcome] += 1
            if outcome not in {"complete", "left"}:
                self.begun -= outcome == "no answer"
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)

    async def _ask(self, session: aiohttp.ClientSession, request_id: str) -> str:
        request_id = f"{request_id}-{self._dice.randrange(10**9)}"
        wanted = self._dice.randint(1, LONGEST_ANSWER_TOKENS)
        streamed = self._dice.random() < STREAMED_SHARE
        leaves_after = self._dice.randrange(2000) if self._dice.random() < LEAVING_SHARE else None
        self.sent[request_id] = wanted
        body = {
            "model": MODEL, "stream": streamed, "max_tokens": wanted,
            "messages": [{"role": "user", "content": request_id}],
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {self._key}", "X-Jatevo-Request-Id": request_id}
        read, has_answer = 0, False
        try:
            async with session.post(self._url, json=body, headers=headers) as answer:
                has_answer = True
                async for piece in answer.content.iter_any():
                    read += len(piece)
                    if leaves_after is not None and read > leaves_after:
                        answer.close()
                        return "left"
                return "complete" if answer.status == 200 else f"status {answer.status}"
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return "broken off" if has_answer else "no answer"
