"""Ends the console's children when the console dies without doing so itself (kill -9).

Runs as a separate process: `python guard.py`, with the read end of a pipe as standard input. Each line of
input is `PID STARTED_AT SIGNAL` and names a child. Only the console holds the write end, so the end of the
input means that the console is gone. A pipe works on both Linux and macOS. Unlike PR_SET_PDEATHSIG, it does
not depend on which thread started the child or whether the child changed its user.
"""

import signal
import sys

import psutil

GRACE_SECONDS = 8.0
# The clock may have been adjusted since the child started. Pids are not reused within seconds.
START_TOLERANCE_SECONDS = 2.0


def find(pid: int, started_at: float) -> psutil.Process | None:
    """The process with this pid if it started at `started_at` (unix seconds). None if it is a later one."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        same = abs(process.create_time() - started_at) <= START_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def end(watched: dict[int, tuple[float, int]], grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask the processes to stop. Kill those that are still running after `grace_seconds`.

    `watched` maps pids to their start time and the signal to send. Pids that now belong to another process
    are skipped.
    """
    alive = []
    for pid, (started_at, stop_signal) in watched.items():
        process = find(pid, started_at)
        if process is None:
            continue
        try:
            process.send_signal(stop_signal)
        except psutil.NoSuchProcess:
            continue
        alive.append(process)
    _, stubborn = psutil.wait_procs(alive, timeout=grace_seconds)
    for process in stubborn:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(stubborn, timeout=grace_seconds)


def main() -> None:
    # Only the end of the input ends this process. Signals are left to the console.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watched: dict[int, tuple[float, int]] = {}
    for line in sys.stdin:
        pid, started_at, stop_signal = line.split()
        watched[int(pid)] = (float(started_at), int(stop_signal))
    end(watched)


if __name__ == "__main__":
    main()
