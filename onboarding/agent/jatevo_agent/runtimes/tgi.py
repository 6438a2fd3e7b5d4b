"""Text Generation Inference, which serves one model and tells its revision at `/info`."""

from __future__ import annotations

from .found import FoundModel, RuntimeApi, found_model
from .openai_server import OpenAiServer


class Tgi:
    """A TGI server. `model_sha` is the commit of the model's repository, not a digest of the weights."""

    async def models(self, api: RuntimeApi) -> list[FoundModel]:
        """The model of `/info`."""
        info = await api.get("/info")
        if not isinstance(info, dict):
            return await OpenAiServer().models(api)
        model = found_model(info.get("model_id"), revision=info.get("model_sha"))
        return [model] if model else []

    async def count_tokens(self, api: RuntimeApi, served_as: str, text: str) -> int | None:
        """TGI lists the tokens of `inputs`."""
        answer = await api.post("/tokenize", {"inputs": text})
        return len(answer) if isinstance(answer, list) else None
