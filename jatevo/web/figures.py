"""A figure on a page: known, unknown or stale, with its as-of time."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Generic, Self, TypeVar

V = TypeVar("V", bound=float | Decimal)


class Knowledge(StrEnum):
    KNOWN = "known"
    UNKNOWN = "unknown"  # no value; never shown as 0
    STALE = "stale"  # the last good value, because its source does not answer or is behind


@dataclass(frozen=True)
class Reading(Generic[V]):
    """`value` is None exactly if the reading is unknown. `reason` says why it is unknown or stale."""

    value: V | None
    as_of: datetime
    state: Knowledge = Knowledge.KNOWN
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != (self.state is Knowledge.UNKNOWN):
            raise ValueError("a figure is unknown exactly when it has no value")

    @classmethod
    def of(cls, value: V | None, *, as_of: datetime, if_none: str = "") -> Self:
        """A fresh figure: known, or unknown for the reason `if_none`."""
        if value is None:
            return cls(None, as_of, Knowledge.UNKNOWN, if_none)
        return cls(value, as_of)

    def aged(self, reason: str) -> Self:
        """The figure as stale. An unknown figure stays unknown."""
        state = Knowledge.UNKNOWN if self.value is None else Knowledge.STALE
        return type(self)(self.value, self.as_of, state, reason)


class Figure(Reading[float]):
    """A number."""


class Amount(Reading[Decimal]):
    """An amount of money, exact."""
