"""`jatevo-agent run`: work until stopped."""

from __future__ import annotations

import argparse
import json
import os
import signal
import stat
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from .. import __version__, logs
from ..agent import Agent
from ..config import HIGHEST_RATE_PER_SECOND, Config, ConfigError, load_config
from ..exits import CannotRun, ExitCode
from ..state import StateFolder

SERVICE_VARIABLE = "JATEVO_SERVICE"
# These restart what has ended, whatever its exit code.
RESTARTS_ALWAYS = frozenset({"launchd", "container"})
LOOK_EVERY_SECONDS = 3.0


def run(options: argparse.Namespace) -> ExitCode:
    """Work until a signal comes. Raises CannotRun if the agent cannot start or continue.

    Under a service manager that restarts whatever ends, an agent that needs a person does not end. It waits
    until one of its files changes, and then starts again.
    """
    logs.start_logging()
    signals = StopSignals()
    while True:
        watched = [options.config]
        try:
            config = _with_rate(load_config(options.config), options.simulate)
            folder = StateFolder(config.state_dir)
            watched += [folder.path, folder.state_path]
            agent = _agent(config, options)
            signals.stop(agent)
            code = agent.run()
            if not agent.starts_again or signals.wait(0):
                return code
        except CannotRun as error:
            if error.exit_code is not ExitCode.NEEDS_A_PERSON:
                raise
            if len(watched) > 1:
                folder.note_needs_a_person(str(error))
            if os.environ.get(SERVICE_VARIABLE) not in RESTARTS_ALWAYS:
                raise
            logs.error("a person must act; waiting until agent.yaml or state_dir changes", reason=str(error))
            if not _changed(watched, signals):
                return ExitCode.STOPPED
            logs.info("starting again, because a file has changed")


def _agent(config: Config, options: argparse.Namespace) -> Agent:
    logs.info("starting", version=__version__, node=config.node_id, console=config.console)
    if options.fault:
        logs.warning("misbehaving on request", fault=options.fault)
    return Agent(
        config,
        options.fault,
        options.stand_for,
        _hardware(options.attest),
        _router(options.router),
        lambda: _configured_token(options.config),
    )


def _configured_token(path: Path) -> str | None:
    try:
        return load_config(path).node_token
    except ConfigError as error:
        logs.warning("agent.yaml cannot be read again", reason=str(error))
        return None


class StopSignals:
    """SIGTERM and SIGINT, from the first moment on. Must be made in the main thread.

    The interpreter's own handler, in C, writes to a pipe. A thread reads the pipe and stops the agent. A
    handler in Python would not do: it runs when the main thread next executes Python code. A signal that
    comes just before the main thread begins to wait for a lock does not interrupt that wait.
    """

    def __init__(self) -> None:
        self._came = threading.Event()
        self._lock = threading.Lock()
        self._agent: Agent | None = None
        self._reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _do_nothing)  # without a handler in Python, none in C writes to the pipe
        threading.Thread(target=self._pass_on, name="signals", daemon=True).start()

    def stop(self, agent: Agent) -> None:
        """Stop this agent when a signal comes, or now if one has come."""
        with self._lock:
            self._agent = agent
            came = self._came.is_set()
        if came:
            agent.stop()

    def wait(self, seconds: float) -> bool:
        """Wait for a signal. Returns whether one has come."""
        return self._came.wait(seconds)

    def _pass_on(self) -> None:
        os.read(self._reading, 1)
        with self._lock:
            self._came.set()
            agent = self._agent
        if agent is not None:
            agent.stop()


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def _changed(watched: Sequence[Path], signals: StopSignals) -> bool:
    """Wait until one of the files or folders changes. False if a signal came first."""
    before = [_fingerprint(path) for path in watched]
    while not signals.wait(LOOK_EVERY_SECONDS):
        if [_fingerprint(path) for path in watched] != before:
            return True
    return False


def _fingerprint(path: Path) -> tuple[int, ...]:
    """A file's times, size and mode, or a folder's mode. Empty if there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    if stat.S_ISDIR(found.st_mode):
        return (found.st_mode,)  # its times also change when a file in it does
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _router(url: str) -> str:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ConfigError("--router: must be an http or https URL.")
    return url


def _hardware(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        stated = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"--attest: {file} cannot be read as JSON: {error}") from error
    if not isinstance(stated, dict):
        raise ConfigError(f"--attest: {file} must be a JSON object.")
    return stated


def _with_rate(config: Config, simulate: float | None) -> Config:
    if simulate is not None:
        if not 0 <= simulate <= HIGHEST_RATE_PER_SECOND:
            raise ConfigError(
                f"--simulate: must be from 0 to {HIGHEST_RATE_PER_SECOND:g} requests per second"
            )
        config = replace(config, simulate_per_second=simulate)
    if config.simulate_per_second and not config.models:
        raise ConfigError(
            "models: is empty, but simulated requests need a model: name one, like [llama3.1-8b]"
        )
    return config
