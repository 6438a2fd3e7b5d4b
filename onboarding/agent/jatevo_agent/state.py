"""The agent's stored state: its private key, its node token and its last heartbeat.

It is in one folder (mode 0700), which only one agent may use at a time:

    state.json    key, token and registration, mode 0600; if it is lost, a new node must be registered
    status.json   the last heartbeat's answer, for `jatevo-agent status`
    spool.sqlite  receipts not yet delivered
    lock          held by the running agent
"""

import base64
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from .exits import CannotRun, ExitCode

_STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class NodeState:
    """The node's identity. Times are in unix seconds."""

    node_id: str
    console: str
    seed: bytes
    node_token: str | None = None
    attempted_at: float | None = None
    """When a registration was last sent, if its answer may have been lost."""
    registered_at: float | None = None
    next_seed: bytes | None = None
    """The seed of the key that the node is changing to, until the console has accepted it."""

    @property
    def signing_key(self) -> SigningKey:
        """The node's ed25519 key."""
        return SigningKey(self.seed)

    def __repr__(self) -> str:
        return f"NodeState({self.node_id!r}, registered={self.node_token is not None})"  # no secrets in logs


class StateFolder:
    """The folder of one node's state. Methods raise CannotRun, which says what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spool_path = path / "spool.sqlite"
        self._state_path = path / "state.json"
        self._status_path = path / "status.json"
        self._lock_descriptor: int | None = None

    def prepare(self) -> None:
        """Create the folder if it is missing. Refuses one that others may write to."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = self.path.stat().st_mode
        except OSError as error:
            raise CannotRun(f"state_dir {self.path} cannot be used: {error.strerror}.") from error
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise CannotRun(f"state_dir {self.path} can be changed by others: run `chmod 700 {self.path}`.")

    def lock(self) -> None:
        """Lock the folder until `unlock` or the end of the process. Raises CannotRun if another holds it."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise CannotRun(
                f"Another jatevo-agent is running with state_dir {self.path}.", ExitCode.TRY_LATER
            ) from error
        self._lock_descriptor = descriptor

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock_descriptor is not None:
            os.close(self._lock_descriptor)
            self._lock_descriptor = None

    def load(self) -> NodeState | None:
        """The stored identity. None on a first start. Raises CannotRun if it is damaged or open to others."""
        try:
            with self._state_path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                raw = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CannotRun(f"{self._state_path} cannot be read: {error.strerror}.") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CannotRun(
                f"{self._state_path} holds the node's private key and can be read by others: run "
                f"`chmod 600 {self._state_path}`, and if someone may have read it, enrol a new node."
            )
        try:
            return _parse(json.loads(raw))
        except (ValueError, KeyError, TypeError) as error:
            raise CannotRun(
                f"{self._state_path} is damaged: restore it from a backup, or remove it and enrol a new node."
            ) from error

    def save(self, state: NodeState) -> None:
        """Write the identity to disk. A crash leaves either the old one or the new one."""
        document = {
            "version": _STATE_VERSION,
            "node_id": state.node_id,
            "console": state.console,
            "private_key": base64.b64encode(state.seed).decode("ascii"),
            "node_token": state.node_token,
            "attempted_at": state.attempted_at,
            "registered_at": state.registered_at,
            "next_private_key": base64.b64encode(state.next_seed).decode("ascii")
            if state.next_seed
            else None,
        }
        try:
            _replace(self._state_path, document)
        except OSError as error:
            raise CannotRun(f"{self._state_path} cannot be written: {error.strerror}.") from error

    def read_status(self) -> dict[str, Any]:
        """The last written status. Empty if it cannot be read."""
        try:
            document = json.loads(self._status_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write the status. Raises OSError if the disk fails."""
        _replace(self._status_path, status)


def _parse(document: Any) -> NodeState:
    if document["version"] != _STATE_VERSION:
        raise ValueError("unknown version")
    next_key = document.get("next_private_key")
    return NodeState(
        node_id=str(document["node_id"]),
        console=str(document["console"]),
        seed=_seed(document["private_key"]),
        node_token=document.get("node_token"),
        attempted_at=document.get("attempted_at"),
        registered_at=document.get("registered_at"),
        next_seed=None if next_key is None else _seed(next_key),
    )


def _seed(text: str) -> bytes:
    seed = base64.b64decode(text, validate=True)
    if len(seed) != 32:
        raise ValueError("the private key is not 32 bytes")
    return seed


def _replace(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file atomically and durably. mkstemp creates the temporary file with mode 0600."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
