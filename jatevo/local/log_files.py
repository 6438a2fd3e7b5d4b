"""The log files of the one-machine run stay small, however long it runs and whoever writes to them.

A log that has grown is copied and emptied in place, since the processes that write to it keep it open: they
all append, so that they go on at its new end. What is written between copy and emptying is lost.
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
    """The same for each log of the folder. A full disk must not end the console: then nothing is kept."""
    for log in folder.glob("*.log"):
        try:
            rotate(log)
        except OSError:
            with suppress(OSError), log.open("r+b") as grown:
                grown.truncate()
