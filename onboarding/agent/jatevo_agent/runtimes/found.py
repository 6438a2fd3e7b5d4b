"""What is found out about a runtime."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..wire.names import name_problem, normal_model

_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class RuntimeUnreachable(Exception):
    """The runtime does not answer, or not as it should. The message says what happened.

    `certain` means that nothing listens at its address, so that asking again would not help.
    """

    def __init__(self, message: str, *, certain: bool = False) -> None:
        super().__init__(message)
        self.certain = certain


@dataclass(frozen=True)
class FoundModel:
    """A model that the runtime serves. `name` is its normal form, and `served_as` the runtime's own name."""

    name: str
    served_as: str
    sha256: str
    """64 lower-case hex digits: the runtime's digest, or else `substitute_digest`."""


class RuntimeApi(Protocol):
    """The HTTP API of one runtime. Raises RuntimeUnreachable."""

    async def get(self, path: str) -> Any:
        """The JSON that the runtime answers. None for 404 and 405."""

    async def post(self, path: str, document: Mapping[str, Any]) -> Any:
        """The same for a POST."""


class Adapter(Protocol):
    """What one kind of runtime offers besides completions. Raises RuntimeUnreachable."""

    async def models(self, api: RuntimeApi) -> list[FoundModel]:
        """The models that it serves now, in its order."""

    async def count_tokens(self, api: RuntimeApi, served_as: str, text: str) -> int | None:
        """The tokens of a text by the model's own tokeniser. None if the runtime does not offer that."""


def found_model(served_as: object, digest: object = None, revision: object = "") -> FoundModel | None:
    """A model from what the runtime says about it. None if its name would not be accepted in a receipt."""
    name = public_name(served_as) if isinstance(served_as, str) else ""
    if not isinstance(served_as, str) or name_problem(name):
        return None
    match = _SHA256.fullmatch(digest) if isinstance(digest, str) else None
    return FoundModel(
        name=normal_model(name),
        served_as=served_as,
        sha256=match[1]
        if match
        else substitute_digest(served_as, revision if isinstance(revision, str) else ""),
    )


def public_name(served_as: str) -> str:
    """The name that others see. Where a runtime gives a file's path, it is the file's name without `.gguf`."""
    if not served_as.startswith(("/", "~", "./", "../")):
        return served_as
    return served_as.rstrip("/").rpartition("/")[2].removesuffix(".gguf")


def substitute_digest(served_as: str, revision: str = "") -> str:
    """The SHA-256 of a phrase with the model's name, for runtimes that tell no digest of the weights.

    The phrase is `jatevo-model:` and the name as others see it, and `@` with the revision if one is known.
    """
    phrase = f"jatevo-model:{normal_model(public_name(served_as))}" + (f"@{revision}" if revision else "")
    return hashlib.sha256(phrase.encode()).hexdigest()


def members(document: Any, name: str) -> list[dict[str, Any]]:
    """The objects in a list of the document. Empty if there is no such list."""
    items = document.get(name) if isinstance(document, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
