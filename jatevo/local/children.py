"""Starts the console's child processes in their own sessions, records, watches and stops them."""

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
    """A process that the console started. `stop_signal` asks it to stop."""

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
        return " / ".join(line.strip() for line in tail) or "its log is empty"


class Children:
    """All children of one console. Their records (pid, start time, stop signal) are in `run_dir`.

    Children run in their own sessions, so that Ctrl-C in the terminal reaches only the console, which then
    stops them in order. If the console is killed, the guard process ends them. If that is killed too, the
    next start ends them from the records (`end_leftovers`).
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children: dict[str, Child] = {}
        # -P: otherwise this folder's valkey.py would hide a package of the same name
        self._guard = subprocess.Popen(
            [sys.executable, "-P", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end_leftovers(self) -> list[str]:
        """End what a killed console left running. Returns the names of the ended children.

        Only processes whose pid and start time match a record are ended.
        """
        ended = []
        for record in sorted(self.run_dir.glob("*.json")):
            try:
                left = json.loads(record.read_text())
                pid, started_at, stop_signal = left["pid"], left["started_at"], left["stop_signal"]
            except (ValueError, KeyError, TypeError):
                record.unlink()  # a crash cut it short, so it never named a process
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
        """Start a child. Its output is appended to `log`. Raises CannotStart."""
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
        self._children[name] = child  # first, so that it is stopped even if the disk is full
        self._record(child)
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # it has already ended; the caller's wait reports that
                process.stdin.write((stdin_text or "").encode())
                process.stdin.close()
        return child

    def _record(self, child: Child) -> None:
        pid = child.process.pid
        try:
            started_at = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return  # it has already ended; the caller's wait reports that
        child.record.write_text(
            json.dumps({"pid": pid, "started_at": started_at, "stop_signal": child.stop_signal})
        )
        if self._guard.stdin is not None:
            self._guard.stdin.write(f"{pid} {started_at} {child.stop_signal}\n".encode())
            self._guard.stdin.flush()

    def stop(self, child: Child, *, grace_seconds: float) -> None:
        """Ask the child to stop and wait for it. Kill it after `grace_seconds`."""
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
