"""A clock that can be set while processes run that see it (libfaketime). What waits for so many seconds is not hurried."""

from collections.abc import Iterable, Mapping
from pathlib import Path


def find_library() -> Path | None:
    """Debian's libfaketime, for processes with threads."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class FakedClock:
    """The clock of all processes that are started with `environment`. It shows the true time until it is set."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "clock"
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.set_ahead(0)

    def set_ahead(self, seconds: int) -> None:
        """So many seconds ahead of the true time, or behind it if negative."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)  # no process reads half of it

    def forget(self, pids: Iterable[int]) -> None:
        """Deletes what killed processes have left, which another process with the same id could not use."""
        for pid in pids:
            for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                (Path("/dev/shm") / name).unlink(missing_ok=True)  # noqa: S108 - libfaketime chose it
