"""The console's child processes: starting them in their own sessions, recording, watching and ending them."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from jatevo.local import guard
from jatevo.local.log_files import rotate
from jatevo.local.problems import CannotStart


@dataclass(frozen=True)
class Child:
    """A process that we started, and the signal that it takes as a request to stop."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    record: Path
    stop_signal: int

    def running(self) -> bool:
        return self.process.poll() is None

    def last_words(self, lines: int = 3) -> str:
        """The end of the child's log, on one line, for an error message."""
        tail = self.log.read_text(errors="replace").strip().splitlines()[-lines:]
        return " / ".join(line.strip() for line in tail) or "it said nothing"


class Children:
    """All children of one console, whose records (pid and start time) live in `run_dir`.

    Children get sessions of their own, so that Ctrl-C in the terminal reaches the console alone and it can
    stop them in order. If the console is killed, the guard process ends them; if that is killed too, the next
    start does, from the records (`end_leftovers`).
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children: dict[str, Child] = {}
        # -P: this file's folder has a valkey.py, which must not stand in for a package of that name
        self._guard = subprocess.Popen(
            [sys.executable, "-P", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end_leftovers(self) -> list[str]:
        """End what a killed console left running; only processes whose pid and start time are on record."""
        ended = []
        for record in sorted(self.run_dir.glob("*.json")):
            try:
                left = json.loads(record.read_text())
                pid, started_at, stop_signal = left["pid"], left["started_at"], left["stop_signal"]
            except (ValueError, KeyError, TypeError):
                record.unlink()  # cut short by a crash: it never named a process
                continue
            if guard.find(pid, started_at):
                guard.end({pid: (started_at, stop_signal)})
                ended.append(record.stem)
            record.unlink()
        return ended

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        stdin_text: str | None = None,
        stop_signal: int = signal.SIGTERM,
        cwd: Path | None = None,
    ) -> Child:
        """Start a child; its output is appended to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        rotate(log)
        with log.open("ab") as output:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL if stdin_text is None else subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=None if env is None else dict(env),
                    cwd=cwd,
                    start_new_session=True,
                )
            except OSError as error:
                raise CannotStart(f"{name} cannot be started: {error}.") from error
        child = Child(name, process, log, self.run_dir / f"{name}.json", stop_signal)
        self._children[name] = child  # first of all: a full disk must not leave a child that nobody stops
        self._record(child)
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # ended already; whoever waits for it will say so
                process.stdin.write((stdin_text or "").encode())
                process.stdin.close()
        return child

    def _record(self, child: Child) -> None:
        pid = child.process.pid
        try:
            started_at = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return  # ended already; whoever waits for it will say so
        child.record.write_text(
            json.dumps({"pid": pid, "started_at": started_at, "stop_signal": child.stop_signal})
        )
        if self._guard.stdin is not None:
            self._guard.stdin.write(f"{pid} {started_at} {child.stop_signal}\n".encode())
            self._guard.stdin.flush()

    def stop(self, child: Child, *, grace_seconds: float) -> None:
        """Ask the child to stop, wait for it, kill it after the grace."""
        if child.running():
            child.process.send_signal(child.stop_signal)
            try:
                child.process.wait(timeout=grace_seconds)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        child.record.unlink(missing_ok=True)
        self._children.pop(child.name, None)

    def close(self) -> None:
        """Stop the remaining children and the guard."""
        for child in list(self._children.values()):
            if child.running():
                child.process.send_signal(child.stop_signal)
        for child in list(self._children.values()):
            self.stop(child, grace_seconds=guard.GRACE_SECONDS)
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()
