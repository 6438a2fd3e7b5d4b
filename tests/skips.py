"""In CI, a skipped test fails the run, so that a green run means that every test ran.

It is a plugin, so that it also counts in the process that collects the results of all workers (`pytest -n`).
"""

import os

import pytest
from _pytest.terminal import TerminalReporter


def _skipped(config: pytest.Config) -> int:
    """The number of skips. 0 on a worker, whose skips are counted in the collecting process."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if isinstance(reporter, TerminalReporter) else 0


def _skips_fail() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skips_fail() and _skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    if _skips_fail() and (skipped := _skipped(config)):
        terminalreporter.write_line(f"CI is set, so {skipped} skipped test(s) fail the run.", red=True)
