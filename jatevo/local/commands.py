"""The two commands of `python -m jatevo.local`: `run`, and `stores`, which runs another command."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from jatevo.local import checks, stores
from jatevo.local.lock import sole_console
from jatevo.local.problems import CannotStart
from jatevo.local.stopping import StopRequest, StopRequested

BASE_DIR = Path(__file__).resolve().parent.parent.parent


def home_folder() -> Path:
    return Path(os.environ.get("JATEVO_HOME") or BASE_DIR / ".local").expanduser().resolve()


def run_in_stores(command: list[str], *, temporary: bool, asked_to_stop: StopRequest) -> int:
    """Run a command with private stores. Returns its exit code. `temporary` stores are removed afterwards.

    Raises StopRequested if asked to stop before the command has begun.
    """
    home = Path(tempfile.mkdtemp(prefix="jatevo-")) if temporary else home_folder()
    checks.home_is_usable(home)
    try:
        with sole_console(stores.make_home(home)):
            with asked_to_stop.before_problems():
                servers = stores.start(home, durable=not temporary)
            try:
                if asked_to_stop.is_set():
                    raise StopRequested
                return _call(command, os.environ | servers.environment())
            finally:
                servers.stop()
    finally:
        if temporary:
            shutil.rmtree(home, ignore_errors=True)


def _call(command: list[str], env: dict[str, str]) -> int:
    """Runs the command and returns its exit code. Ctrl-C is left to the command: a shell survives it."""
    with subprocess.Popen(command, env=env) as process:
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        code = process.wait()
    return code if code >= 0 else 128 - code


def main(asked_to_stop: StopRequest) -> int:
    parser = argparse.ArgumentParser(prog="python -m jatevo.local")
    commands = parser.add_subparsers(dest="action", required=True)
    commands.add_parser("run", help="run the whole console on this machine")
    with_stores = commands.add_parser("stores", help="run a command with the private stores")
    with_stores.add_argument("--temporary", action="store_true", help="fresh stores, removed afterwards")
    with_stores.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    try:
        checks.python_is_new_enough()
        if arguments.action == "stores":
            return run_in_stores(
                arguments.command, temporary=arguments.temporary, asked_to_stop=asked_to_stop
            )
        from jatevo.local.run import run  # loads the web server, which the other command does not need

        return run(home_folder(), asked_to_stop)
    except CannotStart as problem:
        print(f"Cannot start: {problem}", file=sys.stderr)
        return 1
    except StopRequested:
        print("Stopped before the command began.", file=sys.stderr)
        return 128 + signal.SIGINT
