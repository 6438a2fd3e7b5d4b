"""The command `jatevo-agent` and its options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from . import __version__
from .exits import CannotRun, ExitCode
from .faults import Fault


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "version":
        print(__version__)
        return ExitCode.STOPPED
    # Only the command's own module, because an HTTP server and client take half a second to import.
    work = getattr(import_module(f".commands.{options.command}", __package__), options.command)
    try:
        code: int = work(options)
    except CannotRun as error:
        print(f"jatevo-agent: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `jatevo-agent status | head -1`
        sys.stderr.close()
        return ExitCode.CRASHED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jatevo-agent", description="Runs a node of the Jatevo network.")
    commands = parser.add_subparsers(metavar="command", required=True)
    _add_run(commands)
    _add_status(commands)
    checking = commands.add_parser(
        "doctor",
        help="check everything that keeps the node from serving, and say what to do; 1 if something does",
    )
    _add_config(checking)
    checking.add_argument(
        "--report", action="store_true", help="print a report to paste, without tokens, keys and addresses"
    )
    checking.set_defaults(command="doctor")
    rotating = commands.add_parser(
        "rotate-key",
        aliases=["change-key"],
        help="change the node's key; without a running agent, at its next start",
    )
    _add_config(rotating)
    rotating.set_defaults(command="rotate_key")
    _add_verify(commands)
    _add_update(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command="version")
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run", help="register if needed, then serve, and send heartbeats and receipts, until stopped"
    )
    _add_config(parser)
    parser.add_argument(
        "--simulate", type=float, metavar="RATE", help="complete made-up requests, RATE per second on average"
    )
    parser.add_argument(
        "--router",
        default="",
        metavar="URL",
        help="take the simulated requests from this router instead of making them up",
    )
    parser.add_argument(
        "--fault",
        type=Fault,
        choices=list(Fault),
        help="misbehave in this way, to test a console",
        metavar="FAULT",
    )
    parser.add_argument(
        "--stand-for",
        default="",
        help="pretend to be a machine of this name, to show a fleet on one machine",
    )
    parser.add_argument(
        "--attest",
        type=Path,
        metavar="FILE",
        help="state the hardware that this JSON file describes, to show a fleet on one machine",
    )
    parser.set_defaults(command="run")


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("status", help="show what the agent does, and how the console sees the node")
    _add_config(parser)
    parser.add_argument("--json", action="store_true", help="as a JSON object")
    parser.add_argument(
        "--follow",
        type=_seconds,
        metavar="SECONDS",
        help="print each step until the node is active, for at most so long; 1 if it is not active then",
    )
    parser.set_defaults(command="status")


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("verify", help="tell whether a receipt is genuine; 1 if it is not")
    _add_config(parser)
    parser.add_argument("receipt", type=Path, help="the receipt's JSON, as the console gives it")
    parser.add_argument(
        "--key",
        action="append",
        metavar="ed25519:KEY",
        help="the node's public key; may be given several times. By default this machine's node's",
    )
    parser.add_argument(
        "--console",
        default="",
        metavar="URL",
        help="ask this console for the node's keys, with the access token in JATEVO_ACCESS_TOKEN",
    )
    parser.set_defaults(command="verify")


def _add_update(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "update", help="install the newest agent that the console offers, and restart the service"
    )
    _add_config(parser)
    parser.add_argument("--check", action="store_true", help="only tell whether there is one; 1 if there is")
    parser.add_argument("--no-restart", action="store_true", help="leave the running agent alone")
    parser.set_defaults(command="update")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=_default_config(),
        help="default: ./agent.yaml, or else the one beside the agent's virtual environment",
    )


def _default_config(prefix: str = sys.prefix) -> Path:
    here, beside = Path("agent.yaml"), Path(prefix).parent / "agent.yaml"
    return beside if not here.exists() and beside.exists() else here


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("must be from 0 to 86400 seconds")
    return seconds
