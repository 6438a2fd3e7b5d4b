"""Definitions of figures, shown by `{% help "key" %}`, in the API's schema and on the Docs page.

Each app has its own in a module `definitions.py`. All of these modules are loaded at the start.
"""

from dataclasses import dataclass

_known: dict[str, "Definition"] = {}


@dataclass(frozen=True)
class Definition:
    """A figure's definition: `text` says what is counted, `window` over which time, `source` from which
    records.
    """

    key: str
    title: str
    text: str
    window: str
    source: str

    @property
    def sentence(self) -> str:
        """The definition in one paragraph, for the API's schema."""
        return f"{self.text} Window: {self.window}. Source: {self.source}."


def define(key: str, title: str, *, text: str, window: str, source: str) -> Definition:
    """Registers a definition, for `find`. Raises ValueError if the key is taken."""
    definition = Definition(key, title, text, window, source)
    if _known.setdefault(key, definition) != definition:
        raise ValueError(f"{key} has two definitions")
    return definition


def find(key: str) -> Definition:
    """The definition of that key. Raises KeyError."""
    return _known[key]


def every_definition() -> list[Definition]:
    """All definitions, in the order in which the apps define them."""
    return list(_known.values())
