"""A lock that allows one console per JATEVO_HOME, with flock(2).

The kernel releases the lock when the process ends, even by kill -9. The pid in the file is only for people.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jatevo.local.problems import CannotStart


@contextmanager
def sole_console(home: Path) -> Iterator[None]:
    """Hold the lock for the block. Raises CannotStart, with the holder's pid, if another console holds it."""
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = file.read().strip() or "unknown"
            raise CannotStart(
                f"A console with pid {holder} already runs in {home}: stop it or choose another JATEVO_HOME."
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)
