"""What a client asks for: the parts of its request that the agent must understand.

The request goes to the runtime as it was understood here, so that both mean the same. Messages of errors never
repeat what the client sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ..completion import prompt_digest
from ..wire.canonical import NotCanonicalError, canonicalize
from ..wire.text_enum import TextEnum


class Kind(TextEnum):
    """What is asked for. The value is the path below `/v1/`, here and at the runtime."""

    CHAT = "chat/completions"
    COMPLETION = "completions"
    EMBEDDING = "embeddings"


_PROMPT_MEMBER = {Kind.CHAT: "messages", Kind.COMPLETION: "prompt", Kind.EMBEDDING: "input"}


class BadRequest(ValueError):
    """The request cannot be understood. The message says why, to its sender."""


@dataclass(frozen=True)
class Asked:
    """An understood request. What was prompted is never part of its text form."""

    kind: Kind
    model: str
    stream: bool
    wants_usage: bool
    """Whether a stream should end with a chunk that states the tokens."""
    prompt_blake3: str
    document: dict[str, Any] = field(repr=False)
    size_bytes: int = 0
    """The length of the body that it came in."""

    def for_runtime(self, served_as: str) -> bytes:
        """The body to send to the runtime, which knows the model as `served_as`."""
        document = {**self.document, "model": served_as}
        if self.stream:
            document["stream_options"] = {**(document.get("stream_options") or {}), "include_usage": True}
        return json.dumps(document, separators=(",", ":")).encode()

    @property
    def prompt_tokens(self) -> int | None:
        """The number of tokens of a prompt that the client sent as token ids. None if it is text."""
        prompt = self.document.get(_PROMPT_MEMBER[self.kind])
        return _count_ids(prompt) if isinstance(prompt, list) else None

    @property
    def prompt_text(self) -> str:
        """The text of the prompt, to count its tokens where the runtime does not say them."""
        return "\n".join(_texts(self.document.get(_PROMPT_MEMBER[self.kind])))


def parse(kind: Kind, body: bytes) -> Asked:
    """Understand a request. Raises BadRequest."""
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None  # the cause has the body
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    return understand(kind, document, len(body))


def understand(kind: Kind, document: dict[str, Any], size_bytes: int = 0) -> Asked:
    """Understand the document of a request. Raises BadRequest."""
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("model must name a model.")
    member = _PROMPT_MEMBER[kind]
    prompt = document.get(member)
    if not isinstance(prompt, list) and (kind is Kind.CHAT or not isinstance(prompt, str)):
        raise BadRequest(f"{member} must be a list." if kind is Kind.CHAT else f"{member} is missing.")
    stream = document.get("stream") or False
    if not isinstance(stream, bool):
        raise BadRequest("stream must be true or false.")
    options = document.get("stream_options") or {}
    if not isinstance(options, dict):
        raise BadRequest("stream_options must be an object.")
    return Asked(
        kind=kind,
        model=model,
        stream=stream and kind is not Kind.EMBEDDING,
        wants_usage=options.get("include_usage") is True,
        prompt_blake3=prompt_digest(_prompt_bytes(prompt)),
        document=document,
        size_bytes=size_bytes,
    )


def _prompt_bytes(prompt: Any) -> bytes:
    """What `prompt_hash` covers: the UTF-8 bytes of a text, or else the RFC 8785 form."""
    try:
        return prompt.encode() if isinstance(prompt, str) else canonicalize(prompt)
    except (NotCanonicalError, UnicodeEncodeError):
        raise BadRequest("The prompt has a number or a character that JSON cannot carry safely.") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _count_ids(prompt: list[Any]) -> int | None:
    if prompt and all(type(item) is int for item in prompt):
        return len(prompt)
    if prompt and all(
        isinstance(item, list) and all(type(token) is int for token in item) for item in prompt
    ):
        return sum(map(len, prompt))
    return None


def _texts(prompt: Any) -> list[str]:
    """The texts of messages, of their parts, or of a list of prompts."""
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, dict):
        return _texts(prompt.get("content", prompt.get("text")))
    if isinstance(prompt, list):
        return [text for item in prompt for text in _texts(item)]
    return []
