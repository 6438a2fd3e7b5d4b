"""What a runtime's answer says: text, finish reasons and tokens, of one chunk of a stream or of a whole body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..wire.schema import MAX_TOKENS

DONE = b"[DONE]"

_WORD = re.compile(r"[a-z_]{1,32}", re.ASCII)


class MalformedAnswer(ValueError):
    """The runtime's answer is not what an OpenAI-compatible server sends."""


@dataclass(frozen=True)
class Usage:
    """The tokens that a runtime states. None where it states none; an explicit 0 is 0."""

    tokens_input: int | None
    tokens_output: int | None
    tokens_cached: int = 0


@dataclass(frozen=True)
class Said:
    """What a chunk or a body says. `texts` and `finishes` are by the index of the choice."""

    texts: Mapping[int, str] = field(default_factory=dict, repr=False)
    finishes: Mapping[int, str] = field(default_factory=dict)
    usage: Usage | None = None
    generated: bool = False
    """Whether it has output of the model: text, reasoning or a tool call."""
    choices: int = 0
    is_error: bool = False


def document_in(data: bytes) -> dict[str, Any]:
    """The JSON object in a chunk or body. Raises MalformedAnswer."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise MalformedAnswer from None  # the cause has the text
    if not isinstance(document, dict):
        raise MalformedAnswer
    return document


def said_by(document: dict[str, Any]) -> Said:
    """What the object says. Raises MalformedAnswer."""
    if document.get("error"):
        return Said(is_error=True)
    choices = document.get("choices")
    usage = usage_in(document.get("usage"))
    if choices is None and usage is not None:
        return Said(usage=usage)
    if not isinstance(choices, list):
        raise MalformedAnswer
    texts: dict[int, str] = {}
    finishes: dict[int, str] = {}
    generated = False
    for position, choice in enumerate(choices):
        if not isinstance(choice, dict):
            raise MalformedAnswer
        index = choice.get("index", position)
        if type(index) is not int:
            raise MalformedAnswer
        text, more = _output_of(choice)
        if text:
            texts[index] = text
        generated = generated or bool(text) or more
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            finishes[index] = finish
    return Said(texts, finishes, usage, generated, len(choices))


def usage_in(value: object) -> Usage | None:
    """The tokens that a `usage` member states. None if it states neither input nor output."""
    if not isinstance(value, dict):
        return None
    tokens_input, tokens_output = _count(value.get("prompt_tokens")), _count(value.get("completion_tokens"))
    if tokens_input is None and tokens_output is None:
        return None
    details = value.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(tokens_input, tokens_output, cached or 0)


def without_finish(document: dict[str, Any]) -> dict[str, Any]:
    """The chunk with its output only, for a runtime that puts the last text and the finish into one."""
    choices = [{**choice, "finish_reason": None} for choice in document["choices"]]
    return {name: value for name, value in {**document, "choices": choices}.items() if name != "usage"}


def without_output(document: dict[str, Any]) -> dict[str, Any]:
    """The other half of `without_finish`."""
    choices = []
    for choice in document["choices"]:
        ended = {name: value for name, value in choice.items() if name != "logprobs"}
        if "text" in choice:
            ended["text"] = ""
        if "delta" in choice:
            ended["delta"] = {}
        choices.append(ended)
    return {**document, "choices": choices}


def finish_name(finishes: Mapping[int, str]) -> str | None:
    """The finish reason for the receipt: that of the first choice. None if it is not one word."""
    finish = finishes[min(finishes)] if finishes else ""
    return finish if _WORD.fullmatch(finish) else None


def _output_of(choice: dict[str, Any]) -> tuple[str, bool]:
    """The text of a choice, and whether it has output besides."""
    if isinstance(choice.get("text"), str):
        return choice["text"], False
    message = choice.get("delta", choice.get("message"))
    if not isinstance(message, dict):
        return "", False
    content = message.get("content")
    more = any(message.get(name) for name in ("reasoning_content", "reasoning", "tool_calls", "refusal"))
    return (content if isinstance(content, str) else ""), more


def _count(value: object) -> int | None:
    # the exact type, because True is an integer in Python
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None
