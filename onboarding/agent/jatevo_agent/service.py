"""Which service manager keeps the agent running here, and the commands for it.

The names are those that the console's install script uses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHD_LABEL = "net.jatevo.agent"
SYSTEMD_UNIT = "jatevo-agent"


@dataclass(frozen=True)
class Service:
    """A way to run the agent. The commands are for a person to type."""

    name: str
    restart: str
    log: str
    restart_arguments: tuple[str, ...] = ()
    """The arguments with which `update` restarts it. Empty if only a person can."""
    stays_when_logged_out: bool | None = None
    """False if it ends when its user logs out. None if that is not known."""

    log_arguments: tuple[str, ...] = ()
    """The command that prints the log. Empty if it is in a file beside agent.yaml."""

    @property
    def starts_by_itself(self) -> bool:
        """Whether an agent that waited for a person goes on without a command."""
        return self.name.startswith("launchd")

    def log_lines(self) -> list[str]:
        """The end of the log that the service manager keeps. Empty if it keeps none, or does not say."""
        return (_run(self.log_arguments) or "").splitlines() if self.log_arguments else []

    def restarted(self) -> bool:
        """Restart it. Returns whether that worked."""
        if not self.restart_arguments:
            return False
        return _run(self.restart_arguments) is not None


def find_service(config_path: Path, *, platform: str = sys.platform, home: Path | None = None) -> Service:
    """The service that is installed here. Without one, the commands for a terminal."""
    home = home or Path.home()
    found = _launchd(home, config_path) if platform == "darwin" else _systemd(home)
    return found or _background(config_path) or _by_hand(config_path)


def _launchd(home: Path, config_path: Path) -> Service | None:
    log = f"tail -n 50 {config_path.absolute().with_name('agent.log')}"
    if (home / "Library" / "LaunchAgents" / f"{LAUNCHD_LABEL}.plist").exists():
        target = f"gui/{os.getuid()}/{LAUNCHD_LABEL}"
        arguments: tuple[str, ...] = ("launchctl", "kickstart", "-k", target)
        return Service("launchd, for this user", " ".join(arguments), log, arguments, False)
    if Path(f"/Library/LaunchDaemons/{LAUNCHD_LABEL}.plist").exists():
        arguments = ("launchctl", "kickstart", "-k", f"system/{LAUNCHD_LABEL}")
        return Service(
            "launchd, for the machine",
            f"sudo {' '.join(arguments)}",
            log,
            arguments if os.getuid() == 0 else (),
            True,
        )
    return None


def _systemd(home: Path) -> Service | None:
    if (home / ".config" / "systemd" / "user" / f"{SYSTEMD_UNIT}.service").exists():
        arguments: tuple[str, ...] = ("systemctl", "--user", "restart", SYSTEMD_UNIT)
        return Service(
            "systemd, for this user",
            " ".join(arguments),
            f"journalctl --user -u {SYSTEMD_UNIT} -n 50",
            arguments,
            _lingers(),
            (
                "journalctl",
                "--user",
                "--unit",
                SYSTEMD_UNIT,
                "--lines",
                "40",
                "--no-pager",
                "--output",
                "cat",
            ),
        )
    if Path(f"/etc/systemd/system/{SYSTEMD_UNIT}.service").exists():
        arguments = ("systemctl", "restart", SYSTEMD_UNIT)
        return Service(
            "systemd, for the machine",
            f"sudo {' '.join(arguments)}",
            f"sudo journalctl -u {SYSTEMD_UNIT} -n 50",
            arguments if os.getuid() == 0 else (),
            True,
            ("journalctl", "--unit", SYSTEMD_UNIT, "--lines", "40", "--no-pager", "--output", "cat"),
        )
    return None


def _background(config_path: Path) -> Service | None:
    pid_file = config_path.absolute().with_name("agent.pid")
    if not pid_file.exists():
        return None
    log = pid_file.with_name("agent.log")
    program = Path(sys.executable).with_name("jatevo-agent")
    return Service(
        "in the background, without a service",
        f"kill $(cat {pid_file}); JATEVO_SERVICE=background nohup {program} run --config {config_path.absolute()}"
        f" >>{log} 2>&1 & echo $! >{pid_file}",
        f"tail -n 50 {log}",
    )


def _by_hand(config_path: Path) -> Service:
    return Service("none", f"jatevo-agent run --config {config_path}", "the terminal in which it runs")


def _lingers() -> bool | None:
    """Whether systemd keeps this user's services after the last log-out."""
    said = _run(("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"))
    return {"yes": True, "no": False}.get((said or "").strip())


def _run(arguments: Sequence[str]) -> str | None:
    """The output of a command. None if it failed or is not there."""
    try:
        finished = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return finished.stdout if finished.returncode == 0 else None
