"""Prints, at the end of the run, seconds that tests have measured.

It is a plugin, because a run with workers (`pytest -n`) prints its summary in a process that runs no test.
"""

from collections.abc import Callable
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

# measure("agent start to Active", 3.2)
Measure = Callable[[str, float], None]

_MEASURED = pytest.StashKey[list[tuple[str, float]]]()
_FROM_WORKER = "measured in a browser"


def note(config: pytest.Config, what: str, seconds: float) -> None:
    """Keep a figure for the summary."""
    config.stash.setdefault(_MEASURED, []).append((what, seconds))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[_FROM_WORKER] = session.config.stash.get(_MEASURED, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes the figures of a worker that has finished. One that crashed sends none."""
    for what, seconds in getattr(node, "workeroutput", {}).get(_FROM_WORKER, []):
        note(node.config, what, seconds)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Prints a line for each figure, in the order of measurement."""
    measured = config.stash.get(_MEASURED, [])
    if measured:
        terminalreporter.section("measured in a real browser")
        for what, seconds in measured:
            terminalreporter.write_line(f"{seconds:7.2f} s  {what}")
