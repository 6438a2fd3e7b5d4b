"""Puts the temporary files of a test run into memory, where there is enough of it.

A database that is made anew has nine hundred files, and so has each store that a test starts. A disk takes up to a
second for them, memory a twentieth of that. Programs that tests start get the folder too, by TMPDIR. A TMPDIR that
is set already is left as it is.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

MEMORY = Path("/dev/shm")  # noqa: S108 - not a file that others could guess
PREFIX = "jatevo-"  # short, because sockets lie below it
NEEDED_BYTES = 6 * 1024**3  # three processes were seen to take half a gigabyte
_LOCK = "lock"


def use_it() -> None:
    """Sets TMPDIR for this process and those that it starts, and removes the folder at its end."""
    if "TMPDIR" in os.environ or not is_roomy():
        return
    remove_left_behind()
    new = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=MEMORY))
    new.chmod(0o711)  # PostgreSQL may run as another user
    held = _held(new / _LOCK)
    # Only now others can find it, and take it for left behind unless it is locked.
    folder = new.rename(MEMORY / new.name.removeprefix("."))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    atexit.register(_remove, folder, held, os.getpid())


def is_roomy() -> bool:
    """Whether programs may run there, and the files of a run leave enough for the run itself."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:  # macOS
        return False
    free = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    return not found.f_flag & os.ST_NOEXEC and os.access(MEMORY, os.W_OK) and free >= NEEDED_BYTES


def remove_left_behind() -> None:
    """The folders of runs that were killed. Those of other runs are locked."""
    for lock in MEMORY.glob(f"{PREFIX}*/{_LOCK}"):
        with suppress(OSError):
            held = _held(lock)
            shutil.rmtree(lock.parent, ignore_errors=True)
            held.close()


def _held(lock: Path) -> IO[str]:
    """Raises BlockingIOError if another process holds it. The system lets go of it when its process ends."""
    file = lock.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _remove(folder: Path, held: IO[str], pid: int) -> None:
    if os.getpid() == pid:  # not a fork
        shutil.rmtree(folder, ignore_errors=True)
        held.close()
