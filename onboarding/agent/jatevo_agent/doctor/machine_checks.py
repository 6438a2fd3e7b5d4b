"""Checks of this machine: the agent itself, its files, its service, its receipts."""

from __future__ import annotations

import platform
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from .. import __version__
from ..config import Config
from ..exits import CannotRun
from ..newest import Newest, is_older
from ..room import LEAST_FREE_BYTES, free_bytes_at
from ..service import Service
from ..snapshot import Snapshot
from ..state import StateFolder
from .findings import Finding, Verdict


def agent_finding(newest: Newest | None) -> Finding:
    """The agent's version and Python."""
    text = f"version {__version__} on Python {platform.python_version()}"
    if newest and is_older(__version__, newest.version):
        return Finding(
            "agent", Verdict.WARNING, f"{text}; {newest.version} is out", "Run `jatevo-agent update`."
        )
    return Finding("agent", Verdict.OK, text)


def config_finding(path: Path) -> Finding:
    """Who can read `agent.yaml`, which may contain tokens. It has been read already."""
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding(
            "agent.yaml",
            Verdict.WARNING,
            f"{path} can be read by others on this machine, and may contain a token",
            f"Run `chmod 600 {path}`.",
        )
    return Finding("agent.yaml", Verdict.OK, f"{path} is valid")


def state_finding(config: Config) -> Finding:
    """The folder with the node's key."""
    folder = StateFolder(config.state_dir)
    if not folder.path.exists():
        return Finding("state", Verdict.OK, f"{folder.path} does not exist yet; the first start makes it")
    try:
        folder.prepare()
        state = folder.load()
    except CannotRun as error:
        return Finding("state", Verdict.PROBLEM, "the node's key cannot be used", str(error))
    if state is None:
        return Finding("state", Verdict.OK, f"{folder.path} holds no key yet; the first start makes one")
    if (state.node_id, state.console) != (config.node_id, config.console):
        return Finding(
            "state",
            Verdict.PROBLEM,
            f"{folder.path} belongs to {state.node_id} at {state.console}",
            "Set node_id and console to these in agent.yaml, or name another state_dir.",
        )
    return Finding("state", Verdict.OK, f"{folder.path} holds the node's key; keep a backup of it")


def running_findings(snapshot: Snapshot, service: Service) -> Iterator[Finding]:
    """Whether the agent runs, and whether it goes on when its user logs out."""
    if snapshot.needs_a_person:
        then = "" if service.starts_by_itself else f" Then start it: `{service.restart}`."
        yield Finding(
            "running", Verdict.PROBLEM, "the agent waits for you", f"{snapshot.needs_a_person}{then}"
        )
    elif not snapshot.is_running:
        yield Finding(
            "running",
            Verdict.PROBLEM,
            "the agent is not running",
            f"Start it: `{service.restart}`. Its log: `{service.log}`.",
        )
    elif snapshot.agent_version != __version__:
        yield Finding(
            "running",
            Verdict.WARNING,
            f"the running agent is {snapshot.agent_version}, the installed one {__version__}",
            f"Restart it: `{service.restart}`.",
        )
    else:
        yield Finding("running", Verdict.OK, "the agent is running")
    yield _service_finding(service)


def _service_finding(service: Service) -> Finding:
    if service.stays_when_logged_out is False and service.name.startswith("systemd"):
        return Finding(
            "service",
            Verdict.WARNING,
            f"{service.name}; it stops when you log out",
            'Run `loginctl enable-linger "$USER"`.',
        )
    if service.stays_when_logged_out is False:
        return Finding(
            "service",
            Verdict.OK,
            f"{service.name}; it stops when you log out, and a closed lid sleeps in spite of it",
        )
    if service.name.startswith(("none", "in the background")):
        return Finding(
            "service",
            Verdict.WARNING,
            f"{service.name}; the agent does not start again with the machine",
            "Install it as a service: the console's page Run a Node has the command.",
        )
    return Finding("service", Verdict.OK, service.name)


def receipts_finding(config: Config, snapshot: Snapshot) -> Finding:
    """Receipts that wait or were refused, and room for more."""
    spool_path = StateFolder(config.state_dir).spool_path
    if not spool_path.exists():
        return Finding("receipts", Verdict.OK, "none yet")
    free_bytes = free_bytes_at(spool_path.parent)
    if free_bytes < LEAST_FREE_BYTES:
        return Finding(
            "receipts",
            Verdict.PROBLEM,
            f"only {free_bytes // 2**20} MB are free on the disk of {spool_path.parent}",
            "Free some space: without it the agent takes no requests.",
        )
    try:
        reason = _newest_refusal(spool_path)
    except sqlite3.Error as error:
        return Finding(
            "receipts",
            Verdict.PROBLEM,
            f"{spool_path} cannot be read: {error}",
            "Check the disk. If the file is damaged, stop the agent, move it away, and start the agent.",
        )
    counts = snapshot.counts
    said = f"{counts.spooled} waiting, {counts.refused} refused, {counts.completed_total} in all"
    if reason:
        return Finding("receipts", Verdict.WARNING, said, f"The newest refusal: {reason}")
    return Finding("receipts", Verdict.OK, said)


def _newest_refusal(spool_path: Path) -> str | None:
    uri = f"{spool_path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=5.0)) as connection:
        row = connection.execute("SELECT status, reason FROM refused ORDER BY seq DESC LIMIT 1").fetchone()
    return f"{row[0]} {row[1]}" if row else None
