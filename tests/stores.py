"""A private PostgreSQL and Valkey for this pytest run, started before Django reads its settings.

It is a plugin (`-p tests.stores` in pyproject.toml), because pytest-django loads the settings before any
conftest. Everything is in a temporary folder, so that parallel runs and workers share nothing. It is in memory if that
is roomy (tests/memory.py), and removed after the run. The guard process ends the servers even if pytest is killed.
"""

import argparse
import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from jatevo.local import keys, stores
from tests import memory, template_home

# Some machines set PYTHONDONTWRITEBYTECODE. Then this process and the many that tests start would compile every
# module again, and pytest would rewrite every assertion, which is most of the time of a start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_running: list[stores.Stores] = []


def start() -> None:
    """Start the servers and set the environment to use them. Later calls do nothing."""
    if _running:
        return
    forget_settings()
    # A short path: PostgreSQL's socket lies below it.
    home = Path(tempfile.mkdtemp(prefix="jatevo-test-"))
    atexit.register(stop)
    template_home.copy_into(home)
    started = stores.start(home, durable=False)
    _running.append(started)
    os.environ.update(started.environment())


def forget_settings() -> None:
    """A developer's settings for `make run` must not affect the tests. Those of fault runs stay."""
    for name in [*os.environ]:
        if (name.startswith("JATEVO_") and not name.startswith("JATEVO_CHAOS_")) or name == "PORT":
            del os.environ[name]


def only_divides(options: argparse.Namespace) -> bool:
    """Whether this process only hands tests to workers (`-n`)."""
    workers = getattr(options, "numprocesses", None) and not options.usepdb
    return bool(workers) and "PYTEST_XDIST_WORKER" not in os.environ


def load_settings_only() -> None:
    """Sets the secrets, since the process that divides the run also loads Django's settings."""
    forget_settings()
    os.environ.update({name: make() for name, make in keys.MAKERS.items()})


def stop() -> None:
    """Stop the servers and remove their folder. Safe to call twice."""
    while _running:
        ended = _running.pop()
        ended.stop()
        shutil.rmtree(ended.home, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    memory.use_it()
    if only_divides(early_config.known_args_namespace):
        load_settings_only()
    else:
        start()
    return (yield)


def pytest_unconfigure() -> None:
    stop()
