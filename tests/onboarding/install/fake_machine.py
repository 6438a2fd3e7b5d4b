"""A made-up machine to run the install script on: an empty home and a PATH of programs that record how they are called."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onboarding.install.script import InstallScript, install_script
from onboarding.install.services import SERVICES

CONSOLE = "https://console.example"
CODE = "jvi_" + "c" * 20
NODE_ID = "macbook-001"
WHEEL = "jatevo_agent-2.0.0-py3-none-any.whl"
SHA256 = "5a" * 32
PAGE = f"{CONSOLE}/run-a-node/1/"
SHELLS = ("dash", "bash", "zsh")
# Programs of every machine that the script may use.
_REAL = (
    "cat", "chmod", "cp", "cut", "dirname", "grep", "head", "ls", "mkdir", "mv", "nohup", "readlink", "rm",
    "sed", "setsid", "sh", "sleep", "tr",
)  # fmt: skip
# What the script would touch outside of the home. A test has its own of each.
_PLACES = (
    "/run/systemd/system",
    "/var/lib/jatevo",
    "/etc/systemd/system",
    "/Library/LaunchDaemons",
    "/usr/bin/",
)

_RECORD = 'printf "%s\\n" "${0##*/} $*" >>"$CALLS"\n'
# Answers for Python, for pip, and for the agent that it installs.
_PYTHON = (
    "#!/bin/sh\n"
    + _RECORD
    + """\
case "$*" in
    --version) echo "Python 3.12.1" ;;
    *version_info*) exit "${PYTHON_IS_OLD:-0}" ;;
    *hexdigest*) printf '%s\\n' "$WHEEL_IS" ;;
    "-m venv --clear "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
    "-m pip --version") ;;
    "-m pip "*install*)
        [ -z "${PIP_BREAKS:-}" ] || exit 1
        cp "$SERVED/jatevo-agent" "${0%/*}/" && chmod 755 "${0%/*}/jatevo-agent" ;;
esac
"""
)
# One in the background has started once it has recorded its call.
_AGENT = (
    "#!/bin/sh\n"
    + _RECORD
    + """\
case $1 in
    run) exec sleep 60 ;;
    status) while [ -f "${0%/venv*}/agent.pid" ] && ! grep -q "jatevo-agent run" "$CALLS"; do sleep 0.05; done ;;
esac
"""
)
_FAKES = {
    "uname": "echo $UNAME",
    "id": 'case "$*" in -u) echo $ID ;; -un) echo ada ;; *) exit 1 ;; esac',
    "curl": """\
for last; do :; done
while [ "$1" != -o ]; do shift; done
cp "$SERVED/${last##*/}" "$2" || exit 22""",
    "xcode-select": 'exit "$NO_TOOLS"',
    "launchctl": """\
case "$*" in
    "print gui/501") exit "${NO_SCREEN:-0}" ;;
    "print "*) [ -f "$HOME/loaded" ] ;;
    "bootout "*) rm -f "$HOME/loaded" ;;
    "bootstrap "*) : >"$HOME/loaded" ;;
esac""",
    "systemctl": 'case "$*" in "--user show-environment") exit "${NO_USER_SYSTEMD:-0}" ;; esac',
    "loginctl": "",
    "useradd": "",
    "chown": "",
    "sudo": 'exec "$@"',
    "runuser": 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
}


def a_script(node_id: str = NODE_ID) -> InstallScript:
    return install_script(
        console=CONSOLE,
        code=CODE,
        node_id=node_id,
        wheel=WHEEL,
        wheel_sha256=SHA256,
        least_python="3.9",
        page=PAGE,
    )


@dataclass
class FakeMachine:
    """`system` as `uname -s` says. Without `pythons`, there is none."""

    root: Path
    system: str = "Linux"
    uid: int = 501
    systemd: bool = False
    pythons: Sequence[str] = ("python3",)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.root / "home"
        self.folder = self.home / ".jatevo"
        self.calls_path = self.root / "calls"
        self.bin = self.root / "bin"
        self.served = self.root / "served"
        for each in (self.home, self.bin, self.served):
            each.mkdir(parents=True)
        for name in _REAL:
            found = shutil.which(name)
            assert found, f"{name} is not installed"
            (self.bin / name).symlink_to(found)
        for name, body in _FAKES.items():
            self.program(self.bin / name, f"#!/bin/sh\n{_RECORD}{body}\n")
        for name in self.pythons:
            self.program(self.bin / name, _PYTHON)
        if self.systemd:
            self.place("/run/systemd/system").mkdir(parents=True)
        self.serve("agent.yaml", f'console: "{CONSOLE}"\nenrollment_token: "jve_x"\nnode_id: "{NODE_ID}"\n')
        self.serve(WHEEL, "a wheel")
        self.serve("jatevo-agent", _AGENT)
        for name, path in SERVICES.items():
            self.serve(name, path.read_text())

    def place(self, path: str) -> Path:
        """This machine's own version of a path outside of the home."""
        return self.root / path.lstrip("/")

    def program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def serve(self, name: str, text: str) -> None:
        """What the console answers for an address that ends with `name`."""
        (self.served / name).write_text(text)

    def run(
        self, *options: str, shell: str = "dash", script: InstallScript | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Pipes the script into the shell, as the command on the page does."""
        program = shutil.which(shell)
        assert program
        text = (script or a_script()).text
        for place in _PLACES:
            text = text.replace(place, f"{self.place(place)}{'/' if place.endswith('/') else ''}")
        return subprocess.run(
            [program, "-s", "--", *options],
            input=text,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
            env={
                "HOME": str(self.home),
                "PATH": str(self.bin),
                "CALLS": str(self.calls_path),
                "SERVED": str(self.served),
                "UNAME": self.system,
                "ID": str(self.uid),
                "WHEEL_IS": SHA256,
                "NO_TOOLS": "2",
                **self.environment,
                **environment,
            },
        )

    def calls(self, program: str = "") -> list[str]:
        """What was called so far, in order."""
        lines = self.calls_path.read_text().splitlines() if self.calls_path.exists() else []
        return [line for line in lines if line.startswith(program)]

    def stop_agent(self) -> None:
        """Ends an agent that runs in the background."""
        for path in self.root.rglob("agent.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGKILL)
