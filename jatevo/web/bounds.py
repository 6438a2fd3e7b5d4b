"""Limits for untrusted values that are stored or logged."""

from typing import Any

LONGEST_TEXT = 500
MOST_ITEMS = 100
DEEPEST = 6
CUT = "…"


def bounded(value: Any, longest: int = LONGEST_TEXT) -> Any:
    """The value with texts of at most `longest` characters, and lists and objects of at most 100 items, six
    deep.

    A text that was cut ends in an ellipsis. Items left out are replaced by their number. U+0000 is removed,
    because PostgreSQL refuses it.
    """
    return _bounded(value, longest, DEEPEST)


def _bounded(value: Any, longest: int, levels: int) -> Any:
    match value:
        case str():
            clean = value.replace("\x00", "\ufffd")
            return clean if len(clean) <= longest else clean[: longest - 1] + CUT
        case dict() | list() | tuple() if not levels:
            return CUT
        case dict():
            kept = list(value.items())[:MOST_ITEMS]
            found = {
                _bounded(str(name), longest, levels): _bounded(inner, longest, levels - 1)
                for name, inner in kept
            }
            return found if len(kept) == len(value) else {**found, CUT: len(value) - len(kept)}
        case list() | tuple():
            items = [_bounded(inner, longest, levels - 1) for inner in value[:MOST_ITEMS]]
            return items if len(items) == len(value) else [*items, f"{CUT} {len(value) - len(items)} more"]
    return value
