"""Keeps the log files of the one-machine run small.

The processes that write to a log keep it open in append mode. So a log that has grown is copied and then
emptied in place. What is written between the two steps is lost.
"""

import shutil
from contextlib import suppress
from pathlib import Path

MAX_LOG_BYTES = 5_000_000


def rotate(log: Path) -> None:
    """Moves a log over 5 MB to `….log.1`, replacing the previous one."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            with log.open("r+b") as grown:
                grown.truncate()


def rotate_all(folder: Path) -> None:
    """Rotates every log of the folder. If a copy fails (a full disk), the log is emptied without it."""
    for log in folder.glob("*.log"):
        try:
            rotate(log)
        except OSError:
            with suppress(OSError), log.open("r+b") as grown:
                grown.truncate()
