"""An enumeration whose members are text. `enum.StrEnum` does the same from Python 3.11 on.

The agent runs on Python 3.9, so its enumerations and those of this package use this one.
"""

from __future__ import annotations

from enum import Enum


class TextEnum(str, Enum):
    """Members equal their values, and print and format as them."""

    def __str__(self) -> str:
        """The value, not `Class.MEMBER`."""
        return str(self.value)
