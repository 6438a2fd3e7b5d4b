"""vLLM, TensorRT-LLM and other servers that list their models at `/v1/models`, as OpenAI does."""

from __future__ import annotations

from typing import Any

from .found import FoundModel, RuntimeApi, found_model, members


class OpenAiServer:
    """A server that tells no digest. vLLM and llama.cpp count tokens at `/tokenize`."""

    async def models(self, api: RuntimeApi) -> list[FoundModel]:
        """The models of `/v1/models`."""
        found = [found_model(item.get("id")) for item in members(await api.get("/v1/models"), "data")]
        return [model for model in found if model is not None]

    async def count_tokens(self, api: RuntimeApi, served_as: str, text: str) -> int | None:
        """vLLM reads `prompt` and says a count. llama.cpp reads `content` and lists the tokens."""
        answer = await api.post("/tokenize", {"model": served_as, "prompt": text, "content": text})
        return _counted(answer)


def _counted(answer: Any) -> int | None:
    if not isinstance(answer, dict):
        return None
    if type(answer.get("count")) is int and answer["count"] >= 0:
        return int(answer["count"])
    return len(answer["tokens"]) if isinstance(answer.get("tokens"), list) else None
