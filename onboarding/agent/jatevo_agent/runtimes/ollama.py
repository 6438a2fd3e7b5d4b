"""Ollama, which lists its models with their digests at `/api/tags`."""

from __future__ import annotations

from .found import FoundModel, RuntimeApi, found_model, members
from .openai_server import OpenAiServer


class Ollama:
    """An Ollama server. Others that imitate its API, like llama.cpp's, are asked at `/v1/models` as well."""

    async def models(self, api: RuntimeApi) -> list[FoundModel]:
        """The models of `/api/tags`, with the digests of their manifests."""
        listed = members(await api.get("/api/tags"), "models")
        found = [found_model(item.get("name"), item.get("digest")) for item in listed]
        return [model for model in found if model is not None] or await OpenAiServer().models(api)

    async def count_tokens(self, api: RuntimeApi, served_as: str, text: str) -> int | None:
        """Ollama has no tokeniser to ask; a server that imitates it may."""
        return await OpenAiServer().count_tokens(api, served_as, text)
