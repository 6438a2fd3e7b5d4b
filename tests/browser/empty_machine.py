"""A machine that a newcomer installs an agent on: an empty home, and the programs of this machine."""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

BASE_DIR = Path(__file__).parents[2]
# Packages that pip has downloaded, kept between runs: the bound on the time is for a warm cache.
PACKAGES = BASE_DIR / "build" / "tests" / "pip-cache"
INSTALL_TIMEOUT_SECONDS = 300.0  # on a busy machine
NO_PACKAGES = ("No matching distribution", "Could not find a version", "Could not fetch URL")


class EmptyMachine:
    """Commands run as in a terminal there. `remove` ends what they have started in the background."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="jatevo-newcomer-")
        self.home = Path(self._temporary.name)
        self._env = {
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(Path(sys.executable).resolve().parent), os.environ["PATH"]]),
            "LANG": "C.UTF-8",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "PIP_CACHE_DIR": str(PACKAGES),
            # where this machine gets its packages
            **{name: value for name, value in os.environ.items() if name in _PIP_SETTINGS},
        }

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Types the command into a terminal, literally."""
        return subprocess.run(
            ["sh", "-c", command], cwd=self.home, env=self._env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_SECONDS,
        )  # fmt: skip

    def remove(self) -> None:
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            agent = psutil.Process(int((self.home / ".jatevo" / "agent.pid").read_text()))
            if str(self.home) in " ".join(agent.cmdline()):
                agent.kill()
                agent.wait(10)
        self._temporary.cleanup()


_PIP_SETTINGS = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_CERT",
    "PIP_NO_INDEX",
    "HTTPS_PROXY",
    "https_proxy",
)


def warm_packages() -> str:
    """Downloads what the agent needs, so that a later installation finds it in the cache. Returns pip's trouble.

    Does nothing if the cache is already warm for the agent's present requirements.
    """
    source = BASE_DIR / "onboarding" / "agent"
    wanted = (source / "pyproject.toml").read_text()
    stamp = PACKAGES / "warm-for.toml"
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    machine = EmptyMachine()
    try:
        made = machine.run(
            f"'{sys.executable}' -m venv v && v/bin/python -m pip install --quiet --disable-pip-version-check '{source}'"
        )
    finally:
        machine.remove()
    if made.returncode:
        return made.stderr or "pip failed"
    stamp.write_text(wanted)
    return ""
