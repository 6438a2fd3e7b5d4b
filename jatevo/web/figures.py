"""A figure on a page: known, unknown or stale, with its as-of time."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self


class Knowledge(StrEnum):
    KNOWN = "known"
    UNKNOWN = "unknown"  # no value; never shown as 0
    STALE = "stale"  # the last good value, because its source does not answer


@dataclass(frozen=True)
class Figure:
    """`value` is None exactly if the figure is unknown. `reason` says why a figure is unknown or stale."""

    value: float | int | None
    as_of: datetime
    state: Knowledge = Knowledge.KNOWN
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != (self.state is Knowledge.UNKNOWN):
            raise ValueError("a figure is unknown exactly when it has no value")

    @classmethod
    def of(cls, value: float | int | None, *, as_of: datetime, if_none: str = "") -> Self:
        """A fresh figure: known, or unknown for the reason `if_none`."""
        if value is None:
            return cls(None, as_of, Knowledge.UNKNOWN, if_none)
        return cls(value, as_of)

    def aged(self, reason: str) -> Self:
        """The figure as stale, because its source does not answer. An unknown figure stays unknown."""
        state = Knowledge.UNKNOWN if self.value is None else Knowledge.STALE
        return type(self)(self.value, self.as_of, state, reason)
