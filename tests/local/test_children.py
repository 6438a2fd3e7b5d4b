import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jatevo.local.children import Children
from jatevo.local.problems import CannotStart

SLEEPER = [sys.executable, "-c", "import sys, time; print('up', flush=True); time.sleep(600)"]

OWNER = """
import sys
from pathlib import Path
from jatevo.local.children import Children
children = Children(Path(sys.argv[1]))
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
child = children.start("sleeper", sleeper, log=Path(sys.argv[2]))
print(child.process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    made = Children(tmp_path / "run")
    yield made
    made.close()


def test_child_has_a_session_of_its_own_so_that_ctrl_c_spares_it(children: Children, tmp_path: Path) -> None:
    child = children.start("sleeper", SLEEPER, log=tmp_path / "log")
    assert os.getsid(child.process.pid) == child.process.pid


def test_stop_ends_the_child_and_its_record(children: Children, tmp_path: Path) -> None:
    child = children.start("sleeper", SLEEPER, log=tmp_path / "log")
    assert child.record.exists()
    children.stop(child, grace_seconds=5)
    assert child.process.returncode == -signal.SIGTERM
    assert not child.record.exists()


def test_child_that_ignores_the_request_is_killed(children: Children, tmp_path: Path) -> None:
    deaf = "import signal, sys; signal.signal(15, signal.SIG_IGN); print('up', flush=True); sys.stdin.read()"
    reader, writer = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", deaf], stdin=reader, stdout=subprocess.PIPE)
    os.close(reader)
    assert process.stdout is not None
    with process.stdout as out:
        assert out.readline() == b"up\n"
        stubborn = children.start("sleeper", SLEEPER, log=tmp_path / "log")
        children.stop(
            type(stubborn)("deaf", process, tmp_path / "log", tmp_path / "r.json", 15), grace_seconds=0.1
        )
    os.close(writer)
    assert process.returncode == -signal.SIGKILL


def test_program_that_is_missing_is_one_sentence(children: Children, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="nothing cannot be started"):
        children.start("nothing", [str(tmp_path / "missing")], log=tmp_path / "log")


def test_children_of_a_killed_console_are_ended(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "run"), str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        child = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
    child.wait(timeout=20)


def test_next_start_ends_what_even_the_guard_has_left(children: Children, tmp_path: Path) -> None:
    left = subprocess.Popen(SLEEPER, start_new_session=True, stdout=subprocess.DEVNULL)
    record = {"pid": left.pid, "started_at": psutil.Process(left.pid).create_time(), "stop_signal": 15}
    (children.run_dir / "sleeper.json").write_text(json.dumps(record))
    assert children.end_leftovers() == ["sleeper"]
    assert not psutil.pid_exists(left.pid)
    left.wait()
    assert list(children.run_dir.iterdir()) == []


def test_another_process_with_the_same_pid_is_not_ended(children: Children) -> None:
    stranger = subprocess.Popen(SLEEPER, start_new_session=True, stdout=subprocess.DEVNULL)
    record = {"pid": stranger.pid, "started_at": psutil.Process().create_time() - 3600, "stop_signal": 9}
    (children.run_dir / "sleeper.json").write_text(json.dumps(record))
    try:
        assert children.end_leftovers() == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_record_cut_short_is_forgotten(children: Children) -> None:
    (children.run_dir / "sleeper.json").write_text('{"pid": 1')
    assert children.end_leftovers() == []
    assert list(children.run_dir.iterdir()) == []
