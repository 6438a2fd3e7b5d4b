import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jatevo.local.lock import sole_console
from jatevo.local.problems import CannotStart

HOLDER = """
import sys, time
from pathlib import Path
from jatevo.local.lock import sole_console
with sole_console(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_console_gets_the_pid_of_the_first(tmp_path: Path) -> None:
    with sole_console(tmp_path), pytest.raises(CannotStart) as refused, sole_console(tmp_path):
        pass
    assert f"pid {os.getpid()}" in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_lock_is_free_after_the_block(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    held = []
    for _ in range(2):
        with sole_console(tmp_path):
            held.append(lock.read_text())
        assert lock.read_text() == ""  # the pid is removed on release
    assert held == [f"{os.getpid()}\n"] * 2


def test_lock_of_a_killed_console_is_recovered(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CannotStart, match=f"pid {holder.pid} "), sole_console(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / "lock").read_text() == f"{holder.pid}\n"
    with sole_console(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
