"""`jatevo-agent status`: what the agent is doing, and how the console sees the node."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from ..config import Config, load_config
from ..exits import ExitCode
from ..follow import Follower
from ..server_view import NoServerView, ServerView, ask_console
from ..service import find_service
from ..snapshot import Snapshot, rfc3339, take_snapshot


def status(options: argparse.Namespace) -> ExitCode:
    """Print the status. With `--follow` print each step until the node is active: 0, or 1 if it is not."""
    config = load_config(options.config)
    if options.follow is not None:
        follower = Follower(
            lambda: take_snapshot(config), ask_console, config, find_service(options.config), print
        )
        return ExitCode.STOPPED if follower.follow(options.follow) else ExitCode.CRASHED
    snapshot = take_snapshot(config)
    view: ServerView | None = None
    problem: str | None = None
    if snapshot.state is not None and snapshot.is_registered:
        try:
            view = ask_console(snapshot.console, snapshot.state)
        except NoServerView as error:
            problem = str(error)
    if options.json:
        document = {
            **snapshot.document(),
            "seen_by_console": asdict(view) if view else None,
            "console_problem": problem,
        }
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(_lines(config, snapshot, view, problem)))
    return ExitCode.STOPPED


def _lines(config: Config, snapshot: Snapshot, view: ServerView | None, problem: str | None) -> list[str]:
    counts = snapshot.counts
    lines = [
        f"{snapshot.node_id} at {snapshot.console}",
        f"  agent      {_agent(snapshot)}",
        f"  heartbeat  {_heartbeat(snapshot)}",
        f"  runtime    {_runtime(config, snapshot)}",
        f"  console    {_console(snapshot, view, problem)}",
        f"  reachable  {_reachable(view)}",
        f"  receipts   {counts.spooled} waiting, {counts.refused} refused, {counts.completed_total} in all",
    ]
    if snapshot.needs_a_person:
        lines.append(f"  to do      {snapshot.needs_a_person}")
    if view and view.advice:
        lines.append(f"  advice     {view.advice}")
    return lines


def _agent(snapshot: Snapshot) -> str:
    version = f" {snapshot.agent_version}" if snapshot.agent_version else ""
    if not snapshot.is_running:
        return f"not running{f'; the last one was{version}' if version else ''}"
    return f"running{version}, since {rfc3339(snapshot.started_at) or 'now'}"


def _heartbeat(snapshot: Snapshot) -> str:
    last = snapshot.last_heartbeat
    if last is None:
        return "none yet"
    return f"{rfc3339(last.get('at'))}, {last.get('outcome')}"


def _runtime(config: Config, snapshot: Snapshot) -> str:
    if config.simulate_per_second:
        return "simulated"
    up = {True: "answers", False: "does not answer", None: "not known yet"}[snapshot.runtime_is_up]
    return f"{config.runtime}, {up}; models: {', '.join(snapshot.models) or 'none'}"


def _console(snapshot: Snapshot, view: ServerView | None, problem: str | None) -> str:
    if view:
        is_plain = view.status == "active" or not view.status_reason
        return view.status if is_plain else f"{view.status} ({view.status_reason})"
    return f"not asked: {problem}" if problem else "the node is not registered yet"


def _reachable(view: ServerView | None) -> str:
    if view is None or (view.reachable is None and not view.is_behind_nat):
        return "not known yet"
    if view.reachable:
        return f"yes{f', since {view.reachable_since}' if view.reachable_since else ''}"
    if view.is_behind_nat:
        return "no; the node proves itself through its heartbeats, but gateways cannot send it requests"
    return "no; gateways cannot send it requests"
