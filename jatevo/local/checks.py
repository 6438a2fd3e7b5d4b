"""Checks before anything starts. They raise CannotStart."""

import errno
import os
import shutil
import socket
import sys
from pathlib import Path

from jatevo.local.problems import CannotStart

LOOPBACK = "127.0.0.1"
MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 500_000_000


def python_is_new_enough(version: tuple[int, ...] = sys.version_info[:2]) -> None:
    if version < MIN_PYTHON:
        raise CannotStart(f"Python {version[0]}.{version[1]} is too old: the console needs 3.11 or newer.")


def home_is_usable(home: Path) -> None:
    """Checks that the folder can be created and written to, and that its disk has MIN_FREE_BYTES."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise CannotStart(
            f"{home} cannot be created ({_reason(error)}): set JATEVO_HOME to a folder that you own."
        ) from error
    except OSError as error:
        raise CannotStart(f"{home} cannot be created: {_reason(error)}.") from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise CannotStart(f"You cannot write to {home}: set JATEVO_HOME to a folder that you own.")
    free = shutil.disk_usage(home).free
    if free < MIN_FREE_BYTES:
        raise CannotStart(
            f"Only {free // 1_000_000} MB are free on the disk of {home}, and the console needs "
            f"{MIN_FREE_BYTES // 1_000_000} MB: free some space or set JATEVO_HOME to another disk."
        )


def wanted_port(text: str) -> int:
    """PORT as a number. 0 means any free port."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise CannotStart(f"PORT is {text!r} but must be a number from 0 to 65535.")
    return int(text)


def claim_port(port: int) -> socket.socket:
    """Bind the console's port now, so that a taken port is found before anything else starts.

    The socket does not listen yet, so clients are refused at once until the server is up.
    """
    claimed = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        claimed.bind((LOOPBACK, port))
    except OSError as error:
        claimed.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"Port {port} is taken by another program: stop that program or choose another port, "
                f"for example PORT={port + 1 if port < 65535 else 8000}."
            ) from error
        if error.errno == errno.EACCES:
            raise CannotStart(f"Port {port} is reserved for root: choose one above 1023.") from error
        raise CannotStart(f"Port {port} cannot be used: {_reason(error)}.") from error
    return claimed


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
