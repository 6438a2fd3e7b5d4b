"""The install script of one enrolment. Pure: values in, text out."""

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

_TEMPLATE = Path(__file__).with_name("install.sh")


@dataclass(frozen=True)
class InstallScript:
    """The script's text, and its SHA-256 in hex."""

    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def install_script(
    *, console: str, code: str, node_id: str, wheel: str, wheel_sha256: str, least_python: str, page: str
) -> InstallScript:
    """The script for an install code. `node_id` is '' if the agent chooses it. `page` shows the node's progress."""
    values = {
        "CONSOLE": console,
        "CODE": code,
        "NODE_ID": node_id,
        "WHEEL": wheel,
        "WHEEL_SHA256": wheel_sha256,
        "LEAST_PYTHON": least_python,
        "PAGE": page,
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"\n{name}=@{name}@\n", f"\n{name}={shlex.quote(value)}\n", 1)
    return InstallScript(text)


def refusing_script(*sentences: str) -> str:
    """A script that only says why nothing can be installed: `curl -f | sh` would show no page."""
    lines = "".join(f"printf '%s\\n' {shlex.quote(sentence)} >&2\n" for sentence in sentences)
    return f"#!/bin/sh\n{lines}exit 1\n"
