"""The rule for names that agents supply, and the form in which model names are compared.

Node ids, model ids, regions, GPUs, drivers and versions appear on other people's pages. A control
character, a direction override or an invisible character can make a name look like a different one, and
can make two different names look the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_NAME_CHARACTERS = 128
MAX_NODE_ID_CHARACTERS = 64
MAX_REGION_CHARACTERS = 32

NODE_ID_CHARACTER = "[a-z0-9._-]"
REGION_CHARACTER = "[a-z0-9-]"
NODE_ID_PATTERN = rf"{NODE_ID_CHARACTER}{{1,{MAX_NODE_ID_CHARACTERS}}}"
REGION_PATTERN = rf"{REGION_CHARACTER}{{1,{MAX_REGION_CHARACTERS}}}"
NODE_ID_RULE = f"must be 1 to {MAX_NODE_ID_CHARACTERS} of a-z 0-9 . _ -"
REGION_RULE = f"must be 1 to {MAX_REGION_CHARACTERS} of a-z 0-9 -"

# These mean something else in a URL below /v1/nodes/.
RESERVED_NODE_IDS = frozenset({".", "..", "register", "heartbeat", "challenge", "self"})

# `str.isprintable` refuses controls, format characters (direction, zero width), surrogates, unassigned
# characters and all white space except U+0020. It accepts the following, although they are invisible:
# Unicode's other Default_Ignorable_Code_Points, and the empty Braille cell.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_NODE_ID = re.compile(NODE_ID_PATTERN, re.ASCII)
_REGION = re.compile(REGION_PATTERN, re.ASCII)
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_DEFAULT_TAG = ":latest"


def name_problem(text: str) -> str | None:
    """What is wrong with a name that an agent supplies, as a message to its author. None if nothing is."""
    if not text:
        return "must not be empty"
    if len(text) > MAX_NAME_CHARACTERS:
        return f"must be at most {MAX_NAME_CHARACTERS} characters"
    if not shows_plainly(text):
        return "must be printable, without control, direction or invisible characters"
    if text[0] == " " or text[-1] == " ":
        return "must not begin or end with a space"
    return None


def shows_plainly(text: str) -> bool:
    """Whether every character of the text is visible and in its place."""
    return text.isprintable() and (text.isascii() or _INVISIBLE.search(text) is None)


def node_id_problem(text: str) -> str | None:
    """What is wrong with a node id. Reserved ids are refused too. None if nothing is wrong."""
    if not _NODE_ID.fullmatch(text):
        return NODE_ID_RULE
    return "is reserved" if text in RESERVED_NODE_IDS else None


def region_problem(text: str) -> str | None:
    """What is wrong with a region. None if nothing is."""
    return None if _REGION.fullmatch(text) else REGION_RULE


def normal_model(name: str) -> str:
    """The form in which model names are compared: `QWEN3:latest`, `qwen3:latest` and `qwen3` are one model.

    Lower case, without the tag `:latest`, which runtimes assume if a name has no tag. Only A to Z are
    folded, so that PostgreSQL (`nodes.models.NormalModel`) and ClickHouse (`lower`) compute the same form.
    """
    lower = name.translate(_ASCII_LOWER)
    return lower.removesuffix(_DEFAULT_TAG) or lower


def distinct_models(names: Iterable[str]) -> tuple[str, ...]:
    """The names in their original order and spelling, without repeats of the same model."""
    seen: dict[str, str] = {}
    for name in names:
        seen.setdefault(normal_model(name), name)
    return tuple(seen.values())
