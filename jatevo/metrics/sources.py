"""Facts that are read from where they are recorded when they are shipped, so that their outbox rows need no body.

What is recorded must never change, because a batch that was interrupted is shipped again with the same content. The apps
that record such facts lie above this one, so they register their sources here when they start.
"""

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from jatevo.metrics.facts import Fact, FactKind

# The facts of a batch's outbox rows that have a source, by outbox id. Rows whose record is gone are left out.
FactSource = Callable[[UUID], Mapping[int, Fact]]

_sources: Final[dict[str, FactSource]] = {}


def register_source(kind: FactKind, source: FactSource) -> None:
    """Sets the source of a kind of fact. A second one takes the place of the first."""
    _sources[kind] = source


def recorded_facts(kind: str, batch: UUID) -> Mapping[int, Fact]:
    """The facts of this kind in the batch that have no body, by outbox id. Raises KeyError for a kind without a source."""
    return _sources[kind](batch)
