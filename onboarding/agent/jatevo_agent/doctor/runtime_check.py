"""The check of the runtime: whether it answers, and which models the node offers."""

from __future__ import annotations

import asyncio

import aiohttp

from ..config import Config
from ..runtime_hints import runtime_hint
from ..runtimes.watch import HttpRuntime, RuntimeWatch
from ..wire.names import normal_model
from .findings import Finding, Verdict


def runtime_finding(config: Config) -> Finding:
    """Ask the runtime, as the agent does."""
    if config.simulate_per_second:
        return Finding(
            "runtime",
            Verdict.WARNING,
            "requests are simulated, so no runtime is used",
            "Set simulate to 0 in agent.yaml to serve real requests.",
        )
    watch = RuntimeWatch(config.runtime, config.models)
    asyncio.run(_look(watch, config.runtime_url))
    where = f"{config.runtime} at {config.runtime_url}"
    if not watch.is_up:
        return Finding(
            "runtime",
            Verdict.PROBLEM,
            f"{where} does not answer: {watch.problem}",
            f"{runtime_hint(config.runtime)} If it listens elsewhere, set runtime_url in agent.yaml.",
        )
    offered = [model.name for model in watch.models]
    missing = [name for name in config.models if normal_model(name) not in offered]
    if missing:
        return Finding(
            "runtime",
            Verdict.PROBLEM if not offered else Verdict.WARNING,
            f"{where} does not have {', '.join(missing)}",
            f"{runtime_hint(config.runtime)} Or correct models in agent.yaml.",
        )
    if not offered:
        return Finding("runtime", Verdict.PROBLEM, f"{where} has no model", runtime_hint(config.runtime))
    return Finding("runtime", Verdict.OK, f"{where} answers; models: {', '.join(offered)}")


async def _look(watch: RuntimeWatch, url: str) -> None:
    async with aiohttp.ClientSession() as session:
        await watch.look(HttpRuntime(session, url))
