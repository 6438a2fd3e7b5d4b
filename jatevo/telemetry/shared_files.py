"""Metrics of several processes in the files of one folder (PROMETHEUS_MULTIPROC_DIR), which any of them can add up.

prometheus_client keeps a file for each process and each type of metric. Here files have names that are unique also
across containers, whose processes often have the same pid. A process holds a lock for as long as it lives. The next one
that starts adds the files of dead ones up in a file of their own, so that counters go on and the number of files does
not grow with every restart.
"""

import fcntl
import os
import secrets
import struct
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

DEAD: Final = "dead"  # in the names of files with the sums of dead processes
_MARK: Final = ".alive"
_GAUGES: Final = "gauge_live"
UNREADABLE: Final = (RuntimeError, ValueError, struct.error)

log = structlog.get_logger(__name__)


def use(folder: Path) -> None:
    """Counts in the folder from now on. Metrics that exist already are not shared."""
    folder.mkdir(parents=True, exist_ok=True)
    values.ValueClass = values.MultiProcessValue(_Identity(folder))


@contextmanager
def locked(folder: Path, *, to_change: bool) -> Iterator[None]:
    """While files are read, none is added up and removed."""
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if to_change else fcntl.LOCK_SH)
        yield


class _Identity:
    """Names this process in its files. A forked child gets a name of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = 0
        self._name = ""
        self._mark: int | None = None

    def __call__(self) -> str:
        if self._pid != os.getpid():
            self._claim()
        return self._name

    def _claim(self) -> None:
        if self._mark is not None:
            os.close(self._mark)  # the parent's, which goes on to hold its lock
        with locked(self._folder, to_change=True):
            # No underscore, because prometheus_client divides names of files by them.
            name = f"{os.getpid()}-{secrets.token_hex(4)}"
            self._mark = os.open(
                self._folder / f"{name}{_MARK}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(self._mark, fcntl.LOCK_EX)
            add_up_the_dead(self._folder)
        self._pid, self._name = os.getpid(), name


def add_up_the_dead(folder: Path) -> None:
    """Adds up and removes the files of processes that have ended. The caller has locked the folder to change it."""
    files = [path for path in folder.glob("*.db") if _owner(path) != DEAD]
    dead = {owner for owner in {_owner(path) for path in files} if not _is_alive(folder, owner)}
    left = [path for path in files if _owner(path) in dead]
    for kind in ("counter", "histogram", "summary"):
        its = [path for path in left if path.name.startswith(f"{kind}_")]
        if its:
            _add_up(its, folder / f"{kind}_{DEAD}.db")
    for path in left:  # gauges say how things are, so they end with their process
        path.unlink(missing_ok=True)
    for mark in folder.glob(f"*{_MARK}"):
        if not _is_alive(folder, mark.name.removesuffix(_MARK)):
            mark.unlink(missing_ok=True)


def _add_up(files: list[Path], total: Path) -> None:
    sums: dict[str, float] = defaultdict(float)
    for path in [*files, *([total] if total.exists() else [])]:
        try:
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
                sums[key] += value
        except UNREADABLE as error:  # its process was killed while it made the file longer
            log.warning("a file of metrics cannot be read", file=path.name, error=str(error))
    new = total.with_suffix(".new")
    new.unlink(missing_ok=True)
    written = MmapedDict(str(new))
    for key, value in sums.items():
        written.write_value(key, value, 0.0)
    written.close()
    new.replace(total)


def shown(folder: Path) -> list[Path]:
    """The files to merge: all but the gauges of processes that have ended, whose files wait for the next that starts.

    The caller has locked the folder.
    """
    files = list(folder.glob("*.db"))
    owners = {_owner(path) for path in files if path.name.startswith(_GAUGES)}
    dead = {owner for owner in owners if not _is_alive(folder, owner)}
    return [path for path in files if not (path.name.startswith(_GAUGES) and _owner(path) in dead)]


def is_readable(path: str) -> bool:
    """Whether the file is whole. It is not for a moment while it is made, nor if its process was killed then."""
    try:
        list(MmapedDict.read_all_values_from_file(path))
    except UNREADABLE:
        return False
    return True


def _owner(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def _is_alive(folder: Path, owner: str) -> bool:
    try:
        mark = os.open(folder / f"{owner}{_MARK}", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(mark)
    return False
