"""One console per JATEVO_HOME, held by flock(2).

The kernel drops such a lock with the process that holds it, so what a kill -9 leaves behind is a file that
locks nothing. The pid inside is for people only.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jatevo.local.problems import CannotStart


@contextmanager
def sole_console(home: Path) -> Iterator[None]:
    """Hold the home for the length of the block; CannotStart names the process that has it already."""
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = file.read().strip() or "unknown"
            raise CannotStart(
                f"A console with pid {holder} already runs on {home}: stop it, or choose another JATEVO_HOME."
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)
