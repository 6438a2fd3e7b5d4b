"""The installation's secrets, generated once and stored in JATEVO_HOME/secrets.json (mode 0600)."""

import base64
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from jatevo.local.problems import CannotStart

MAKERS: dict[str, Callable[[], str]] = {
    "JATEVO_SECRET_KEY": lambda: secrets.token_urlsafe(64),
    "JATEVO_MASTER_KEY": lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
}


def load_or_make(home: Path) -> dict[str, str]:
    """The secrets by the names of their environment variables. Missing ones are generated and stored.

    Without the master key, all node tokens would become invalid. So an unreadable file is never replaced:
    it raises CannotStart.
    """
    path = home / "secrets.json"
    kept: dict[str, str] = {}
    if path.exists():
        try:
            kept = dict(json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise CannotStart(f"{path} is not JSON: restore it, since node tokens derive from it.") from error
        path.chmod(0o600)
    missing = {name: make() for name, make in MAKERS.items() if name not in kept}
    if missing:
        kept |= missing
        write_private(path, json.dumps(kept, indent=2) + "\n")
    return kept


def write_private(path: Path, text: str) -> None:
    """Replace the file atomically. Only its owner can ever read it."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
