"""Stops a server with SIGSTOP: it stays alive, keeps its connections and does not answer."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

STOPS_WITHIN_SECONDS = 10.0


def processes_of(pid: int) -> list[psutil.Process]:
    """A server and its children. Each backend of PostgreSQL is a process group of its own."""
    server = psutil.Process(pid)
    return [server, *server.children(recursive=True)]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Within the block, no process of the server runs."""
    family = processes_of(pid)
    stop(family)
    try:
        yield
    finally:
        _send(family, signal.SIGCONT)


def pause(pid: int) -> None:
    """Stops one process."""
    stop([psutil.Process(pid)])


def stop(family: Sequence[psutil.Process]) -> None:
    """Returns once no thread of the processes runs. On a busy machine one may answer after it was told to stop."""
    _send(family, signal.SIGSTOP)
    until = time.monotonic() + STOPS_WITHIN_SECONDS
    while not all(_is_stopped(process) for process in family):
        assert time.monotonic() < until, "it goes on"
        time.sleep(0.005)


def _is_stopped(process: psutil.Process) -> bool:
    """Whether no thread of it runs, or it is gone."""
    try:
        states = [_state(thread) for thread in Path(f"/proc/{process.pid}/task").iterdir()]
    except (
        FileNotFoundError,
        ProcessLookupError,
    ):  # a thread of it is gone, or all of it, or this is no Linux
        try:
            return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True
    return all(state in "TtZX" for state in states)


def _state(thread: Path) -> str:
    """A letter, as in proc(5). The name before it may hold anything."""
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def _send(family: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
