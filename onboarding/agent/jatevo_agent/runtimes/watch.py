"""Keeps asking the runtime whether it is there and which models it serves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from .. import logs
from ..wire.names import normal_model
from .found import Adapter, FoundModel, RuntimeApi, RuntimeUnreachable, public_name
from .ollama import Ollama
from .openai_server import OpenAiServer
from .tgi import Tgi

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_BETWEEN_LOOKS_WHILE_DOWN = 1.0
ANSWER_TIMEOUT_SECONDS = 3.0
COUNT_TIMEOUT_SECONDS = 2.0
FAILURES_UNTIL_DOWN = 2  # a runtime that loads a model may be slow to answer once

_ADAPTERS: dict[str, Adapter] = {
    "ollama": Ollama(),
    "vllm": OpenAiServer(),
    "tensorrtllm": OpenAiServer(),
    "tgi": Tgi(),
}


class HttpRuntime:
    """The runtime's API over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def get(self, path: str) -> Any:
        return await self._ask("GET", path, None, ANSWER_TIMEOUT_SECONDS)

    async def post(self, path: str, document: Mapping[str, Any]) -> Any:
        return await self._ask("POST", path, document, COUNT_TIMEOUT_SECONDS)

    async def _ask(self, method: str, path: str, document: Mapping[str, Any] | None, seconds: float) -> Any:
        try:
            async with self._session.request(
                method,
                self._url + path,
                json=document,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as answer:
                if answer.status in {404, 405}:
                    return None
                if answer.status != 200:
                    raise RuntimeUnreachable(f"{path} answers with status {answer.status}")
                return await answer.json(content_type=None)
        except asyncio.TimeoutError:
            raise RuntimeUnreachable(f"no answer within {seconds:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise RuntimeUnreachable(str(error), certain=True) from None
        except (aiohttp.ClientError, ValueError) as error:
            raise RuntimeUnreachable(type(error).__name__) from None  # its message may repeat content


class RuntimeWatch:
    """What is known about the runtime. `models` and `is_up` may be read from any thread."""

    def __init__(self, runtime: str, wanted: Sequence[str]) -> None:
        self._adapter = _ADAPTERS[runtime]
        self._wanted = [normal_model(name) for name in wanted]
        self._failures = 0
        self._look_now: asyncio.Event | None = None  # made in the loop, as Python 3.9 wants it
        self.models: tuple[FoundModel, ...] = ()
        self.is_up = False
        self.has_looked = threading.Event()
        self.problem = "it has not been asked yet"

    async def run(self, api: RuntimeApi) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._look_now = asyncio.Event()
            await self.look(api)
            pause_seconds = SECONDS_BETWEEN_LOOKS if self.is_up else SECONDS_BETWEEN_LOOKS_WHILE_DOWN
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), pause_seconds)

    def look_now(self) -> None:
        """Look again at once, because a request has failed. Must be called in the event loop."""
        if self._look_now is not None:
            self._look_now.set()

    async def look(self, api: RuntimeApi) -> None:
        """Ask the runtime once."""
        try:
            models = await self._adapter.models(api)
        except RuntimeUnreachable as error:
            self._failed(str(error), error.certain)
        else:
            self._answered(models)
        self.has_looked.set()

    async def count_tokens(self, api: RuntimeApi, model: FoundModel, text: str) -> int | None:
        """The tokens of a text by the runtime's tokeniser. None if it does not say."""
        try:
            return await self._adapter.count_tokens(api, model.served_as, text)
        except RuntimeUnreachable:
            return None

    def find(self, name: str) -> FoundModel | None:
        """The offered model of this name, in any of its spellings."""
        wanted = normal_model(public_name(name))
        return next((model for model in self.models if model.name == wanted), None)

    def _answered(self, models: Sequence[FoundModel]) -> None:
        offered = tuple({model.name: model for model in reversed(models) if self._offers(model)}.values())[
            ::-1
        ]
        if not self.is_up or [model.name for model in offered] != [model.name for model in self.models]:
            names = ",".join(model.name for model in offered) or "none"
            logs.info("the runtime answers", models=names)
            missing = set(self._wanted) - {model.name for model in offered}
            if missing:
                logs.warning(
                    "the runtime lacks models that agent.yaml names", models=",".join(sorted(missing))
                )
        self.models, self.is_up, self.problem, self._failures = offered, True, "", 0

    def _failed(self, problem: str, certain: bool) -> None:
        self._failures += 1
        if certain or self._failures >= FAILURES_UNTIL_DOWN or not self.is_up:
            if self.is_up or self._failures == 1:
                logs.warning("the runtime does not answer; trying again", reason=problem)
            self.is_up, self.problem = False, problem

    def _offers(self, model: FoundModel) -> bool:
        return not self._wanted or model.name in self._wanted
