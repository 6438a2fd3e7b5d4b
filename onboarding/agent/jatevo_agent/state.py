"""The agent's stored state: its private key, its node token and its last heartbeat.

It is in one folder (mode 0700), which only one agent may use at a time:

    state.json    key, token and registration, mode 0600; if it is lost, a new node must be registered
    status.json   the last heartbeat's answer, for `jatevo-agent status`
    spool.sqlite  receipts not yet delivered
    lock          held by the running agent
    rotate-key    there while the running agent is asked to change its key
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from .exits import CannotRun, ExitCode

_STATE_VERSION = 1


@dataclass(frozen=True)
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
    former_keys: tuple[str, ...] = ()
    """The public keys that the node has had, `ed25519:…`, to verify its older receipts."""

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
        self.state_path = path / "state.json"
        self._status_path = path / "status.json"
        self._lock_path = path / "lock"
        self._key_request_path = path / "rotate-key"
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
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _locked_soon(descriptor):
                raise CannotRun(
                    f"Another jatevo-agent is running with state_dir {self.path}.", ExitCode.TRY_LATER
                )
        except BaseException:
            os.close(descriptor)
            raise
        self._lock_descriptor = descriptor

    def is_locked(self) -> bool:
        """Whether an agent is running with this folder."""
        try:
            descriptor = os.open(self._lock_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock_descriptor is not None:
            os.close(self._lock_descriptor)
            self._lock_descriptor = None

    def load(self) -> NodeState | None:
        """The stored identity. None on a first start. Raises CannotRun if it is damaged or open to others."""
        try:
            with self.state_path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                raw = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CannotRun(f"{self.state_path} cannot be read: {error.strerror}.") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CannotRun(
                f"{self.state_path} holds the node's private key and can be read by others: run "
                f"`chmod 600 {self.state_path}`, and if someone may have read it, enrol a new node."
            )
        try:
            return _parse(json.loads(raw))
        except (ValueError, KeyError, TypeError) as error:
            raise CannotRun(
                f"{self.state_path} is damaged: restore it from a backup, or remove it and enrol a new node."
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
            "former_public_keys": list(state.former_keys),
        }
        try:
            replace_file(self.state_path, document)
        except OSError as error:
            raise CannotRun(f"{self.state_path} cannot be written: {error.strerror}.") from error

    def request_key(self) -> None:
        """Ask the agent that is running with this folder to change its key. Raises OSError."""
        self._key_request_path.touch(mode=0o600)

    def is_key_requested(self) -> bool:
        """Whether a change of the key was asked for, and the running agent has not begun it."""
        return self._key_request_path.exists()

    def forget_key_request(self) -> None:
        """Remove the request for a change of the key."""
        self._key_request_path.unlink(missing_ok=True)

    def read_status(self) -> dict[str, Any]:
        """The last written status. Empty if it cannot be read."""
        try:
            document = json.loads(self._status_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write the status. Raises OSError if the disk fails."""
        replace_file(self._status_path, status)

    def note_needs_a_person(self, message: str) -> None:
        """Add to the status why the agent cannot work. Nothing happens if the folder cannot be written."""
        status = {**self.read_status(), "needs_a_person": {"message": message, "at": time.time()}}
        with contextlib.suppress(OSError):
            self.write_status(status)


def _locked_soon(descriptor: int) -> bool:
    """Lock the open file. `is_locked` may be holding it for a moment, so this tries for half a second."""
    for attempt in range(6):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt < 5:
                time.sleep(0.1)
        else:
            return True
    return False


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
        former_keys=tuple(map(str, document.get("former_public_keys", []))),
    )


def _seed(text: str) -> bytes:
    seed = base64.b64decode(text, validate=True)
    if len(seed) != 32:
        raise ValueError("the private key is not 32 bytes")
    return seed


def replace_file(path: Path, document: Mapping[str, Any]) -> None:
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
