"""A figure on a page: a value, a zero, unknown or stale, with the time that it speaks of."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self


class Knowledge(StrEnum):
    KNOWN = "known"
    UNKNOWN = "unknown"  # there is no value; never shown as 0
    STALE = "stale"  # the last good value, while its source cannot be asked


@dataclass(frozen=True)
class Figure:
    """`value` is None exactly when the figure is unknown; `reason` says why a figure is not known afresh."""

    value: float | int | None
    as_of: datetime
    state: Knowledge = Knowledge.KNOWN
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != (self.state is Knowledge.UNKNOWN):
            raise ValueError("a figure is unknown exactly when it has no value")

    @classmethod
    def of(cls, value: float | int | None, *, as_of: datetime, if_none: str = "") -> Self:
        """A fresh figure: known, or unknown for the reason given."""
        if value is None:
            return cls(None, as_of, Knowledge.UNKNOWN, if_none)
        return cls(value, as_of)

    def aged(self, reason: str) -> Self:
        """The same figure once its source stopped answering; what was unknown stays so."""
        state = Knowledge.UNKNOWN if self.value is None else Knowledge.STALE
        return type(self)(self.value, self.as_of, state, reason)
