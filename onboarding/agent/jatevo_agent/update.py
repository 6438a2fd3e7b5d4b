"""Replaces the agent's package with the newest one that the console offers."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from .exits import CannotRun, ExitCode
from .newest import Newest, console_http

MOST_WHEEL_BYTES = 20 * 2**20
INSTALL_TIMEOUT_SECONDS = 600
# The install script writes the SHA-256 of what it installed here, and compares it when it runs again.
INSTALLED_MARK = ".installed"


def environment_problem() -> str | None:
    """Why this agent cannot replace itself. None if it can."""
    if sys.prefix == sys.base_prefix:
        return "The agent is not installed in a virtual environment of its own."
    if Path(sys.prefix).resolve() not in Path(__file__).resolve().parents:
        return "The agent runs from its source, not from an installed package."
    if _pip("--version").returncode != 0:
        return f"There is no pip in {sys.prefix}: run `{sys.executable} -m ensurepip` first."
    return None


def install(console_url: str, newest: Newest) -> None:
    """Download the wheel, compare its SHA-256, and install it.

    Raises CannotRun if that fails. pip then leaves, or puts back, what was installed before.
    """
    with tempfile.TemporaryDirectory(prefix="jatevo-update-") as folder:
        wheel = Path(folder) / newest.name
        wheel.write_bytes(_downloaded(console_url, newest))
        installed = _pip("install", "--quiet", str(wheel))
    if installed.returncode != 0:
        raise CannotRun(
            f"pip could not install {newest.name}: {_last_line(installed.stderr)}", ExitCode.CRASHED
        )
    found = _run([sys.executable, "-m", "jatevo_agent", "version"])
    if found.stdout.strip() != newest.version:
        raise CannotRun(
            f"{newest.name} was installed and does not start: {_last_line(found.stderr)}", ExitCode.CRASHED
        )
    (Path(sys.prefix) / INSTALLED_MARK).write_text(f"{newest.sha256}\n")


def _downloaded(console_url: str, newest: Newest) -> bytes:
    """The wheel's bytes, which have the SHA-256 that the console names. Raises CannotRun."""
    content = bytearray()
    try:
        with (
            console_http(console_url) as http,
            http.stream("GET", f"/install/agent/{newest.name}") as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise CannotRun(
                    f"{newest.name} could not be downloaded: HTTP status {response.status_code}.",
                    ExitCode.TRY_LATER,
                )
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MOST_WHEEL_BYTES:
                    raise CannotRun(f"{newest.name} is larger than an agent can be.")
    except httpx.HTTPError as error:
        raise CannotRun(f"{newest.name} could not be downloaded: {error}.", ExitCode.TRY_LATER) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != newest.sha256:
        raise CannotRun(
            f"The SHA-256 of {newest.name} is {sha256} instead of {newest.sha256}. Nothing was changed; try again.",
            ExitCode.TRY_LATER,
        )
    return bytes(content)


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments])


def _run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_TARGET"))
    }
    try:
        return subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_SECONDS,
            check=False,
            cwd=sys.prefix,  # no package of the current folder may come first
            env={**environment, "PIP_USER": "0"},
            umask=0o022,  # root may update the agent of a service that has a user of its own
        )
    except subprocess.TimeoutExpired as error:
        raise CannotRun(f"pip did not end within {INSTALL_TIMEOUT_SECONDS} s.", ExitCode.CRASHED) from error


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "it says nothing"
