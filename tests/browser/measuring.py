"""Seconds that tests have measured, for the end of the run's output."""

from collections.abc import Callable

import pytest
from _pytest.terminal import TerminalReporter

# measure("agent start to Active", 3.2)
Measure = Callable[[str, float], None]

_MEASURED = pytest.StashKey[list[tuple[str, float]]]()


def note(config: pytest.Config, what: str, seconds: float) -> None:
    """Keep a figure until the summary."""
    config.stash.setdefault(_MEASURED, []).append((what, seconds))


def write_summary(reporter: TerminalReporter, config: pytest.Config) -> None:
    """A line for each figure, in the order measured."""
    measured = config.stash.get(_MEASURED, [])
    if measured:
        reporter.section("measured in a real browser")
        for what, seconds in measured:
            reporter.write_line(f"{seconds:7.2f} s  {what}")
