"""Stops a server with SIGSTOP: it stays alive, keeps its connections and does not answer."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


def processes_of(pid: int) -> list[psutil.Process]:
    """A server and its children. Each backend of PostgreSQL is a process group of its own."""
    server = psutil.Process(pid)
    return [server, *server.children(recursive=True)]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Within the block, no process of the server runs."""
    family = processes_of(pid)
    _send(family, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(family, signal.SIGCONT)


def _send(family: list[psutil.Process], number: signal.Signals) -> None:
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
