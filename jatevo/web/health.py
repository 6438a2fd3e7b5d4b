"""Whether this process is ready to serve. One flag, set by whoever starts the process."""

from enum import StrEnum


class Readiness(StrEnum):
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


_state = Readiness.READY  # a plain web process is ready once it answers; the one-machine run says otherwise


def mark_starting() -> None:
    _set(Readiness.STARTING)


def mark_ready() -> None:
    _set(Readiness.READY)


def mark_stopping() -> None:
    _set(Readiness.STOPPING)


def readiness() -> Readiness:
    return _state


def _set(state: Readiness) -> None:
    global _state
    _state = state
