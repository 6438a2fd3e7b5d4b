"""The command `jatevo-agent`: `run`, `change-key`, `status`, `version`."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import __version__, logs
from .agent import Agent
from .config import HIGHEST_RATE_PER_SECOND, Config, ConfigError, load_config
from .exits import CannotRun, ExitCode
from .faults import Fault
from .key_change import prepare_key_change
from .spool import read_counts
from .state import StateFolder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "run":
            return _run(options)
        if options.command == "change-key":
            return _change_key(options)
        if options.command == "status":
            return _status(options)
        print(__version__)
        return ExitCode.STOPPED
    except CannotRun as error:
        print(f"jatevo-agent: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jatevo-agent", description="Runs a node of the Jatevo network.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run", help="register if needed, then send heartbeats and receipts until stopped"
    )
    _add_config(run)
    run.add_argument(
        "--simulate", type=float, metavar="RATE", help="complete made-up requests, RATE per second on average"
    )
    run.add_argument(
        "--router",
        default="",
        metavar="URL",
        help="take the simulated requests from this router instead of making them up",
    )
    run.add_argument(
        "--fault",
        type=Fault,
        choices=list(Fault),
        help="misbehave in this way, to test a console",
        metavar="FAULT",
    )
    run.add_argument(
        "--stand-for",
        default="",
        help="pretend to be a machine of this name, to show a fleet on one machine",
    )
    run.add_argument(
        "--attest",
        type=Path,
        metavar="FILE",
        help="state the hardware that this JSON file describes, to show a fleet on one machine",
    )
    change = commands.add_parser(
        "change-key", help="create a new key, which the agent changes to at its next start"
    )
    _add_config(change)
    status = commands.add_parser("status", help="print the agent's last known state as JSON")
    _add_config(status)
    commands.add_parser("version", help="print the version")
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default=Path("agent.yaml"), help="default: ./agent.yaml")


def _run(options: argparse.Namespace) -> int:
    logs.start_logging()
    config = _with_rate(load_config(options.config), options.simulate)
    agent = Agent(
        config, options.fault, options.stand_for, _hardware(options.attest), _router(options.router)
    )
    agent.stop_on_signals()
    logs.info("starting", version=__version__, node=config.node_id, console=config.console)
    if options.fault:
        logs.warning("misbehaving on request", fault=options.fault)
    return agent.run()


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


def _change_key(options: argparse.Namespace) -> int:
    folder = StateFolder(load_config(options.config).state_dir)
    folder.prepare()
    folder.lock()
    try:
        public_key = prepare_key_change(folder)
    finally:
        folder.unlock()
    print(
        f"{public_key} is the node's next key. The agent changes to it when it starts, once the console has it."
    )
    return ExitCode.STOPPED


def _status(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    folder = StateFolder(config.state_dir)
    state = folder.load()
    status = folder.read_status()
    counts = read_counts(folder.spool_path)
    document = {
        "node_id": state.node_id if state else config.node_id,
        "console": state.console if state else config.console,
        "registered": bool(state and state.node_token),
        "registered_at": _rfc3339(state.registered_at if state else None),
        "spooled": counts.spooled if counts else 0,
        "refused": counts.refused if counts else 0,
        "completed_total": counts.completed_total if counts else 0,
        "last_heartbeat": _last_heartbeat(status),
        "agent_version": status.get("agent_version"),
        "started_at": _rfc3339(status.get("started_at")),
    }
    print(json.dumps(document, indent=2))
    return ExitCode.STOPPED


def _last_heartbeat(status: dict[str, Any]) -> dict[str, Any] | None:
    last = status.get("last_heartbeat")
    return {**last, "at": _rfc3339(last.get("at"))} if isinstance(last, dict) else None


def _rfc3339(unix_seconds: float | None) -> str | None:
    if unix_seconds is None:
        return None
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
