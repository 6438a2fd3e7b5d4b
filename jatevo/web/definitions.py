"""What a figure means, in words: shown by `{% help "key" %}`, by the API's schema and by the Docs page.

Each app states its own in a module `definitions.py` beside the code that computes them; Django loads those
modules at the start, so that a key is enough to find a text.
"""

from dataclasses import dataclass

_known: dict[str, "Definition"] = {}


@dataclass(frozen=True)
class Definition:
    """`text` says what is counted, `window` over which time, `source` from which records."""

    key: str
    title: str
    text: str
    window: str
    source: str

    @property
    def sentence(self) -> str:
        """All of it in one paragraph, for the API's schema."""
        return f"{self.text} Window: {self.window}. Source: {self.source}."


def define(key: str, title: str, *, text: str, window: str, source: str) -> Definition:
    """A definition that `find` finds from now on. Two of one key are a mistake: ValueError."""
    definition = Definition(key, title, text, window, source)
    if _known.setdefault(key, definition) != definition:
        raise ValueError(f"{key} has two definitions")
    return definition


def find(key: str) -> Definition:
    """The definition of that key. Raises KeyError."""
    return _known[key]


def every_definition() -> list[Definition]:
    """All of them, in the order in which the apps state them."""
    return list(_known.values())
