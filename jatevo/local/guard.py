"""Ends the console's children when the console dies without a chance to do so itself (kill -9).

Runs as a process of its own: `python guard.py`, with the read end of a pipe as standard input. Each line on
it is `PID STARTED_AT SIGNAL`, a child to watch over. The console alone holds the write end, so the end of
the input means that the console is gone, however it went. A pipe works on Linux and macOS alike and, unlike
PR_SET_PDEATHSIG, does not care which thread started the child or whether the child changed its user.
"""

import signal
import sys

import psutil

GRACE_SECONDS = 8.0
# The clock may have been set since the child started; pids do not come round again within seconds.
START_TOLERANCE_SECONDS = 2.0


def find(pid: int, started_at: float) -> psutil.Process | None:
    """The process with this pid, if it is the very one that started then (unix seconds), not a later one."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        same = abs(process.create_time() - started_at) <= START_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def end(watched: dict[int, tuple[float, int]], grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask each process that is still the one we were told about to stop; after the grace, kill the rest."""
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
    # A terminal's Ctrl-C or a hang-up is the console's business; only the end of the pipe is ours.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watched: dict[int, tuple[float, int]] = {}
    for line in sys.stdin:
        pid, started_at, stop_signal = line.split()
        watched[int(pid)] = (float(started_at), int(stop_signal))
    end(watched)


if __name__ == "__main__":
    main()
