"""The temporary files of a run are in memory only where there is room, and are not left there."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import memory

BASE_DIR = Path(__file__).parents[1]
RUN = """
import sys, tempfile
from pathlib import Path
from tests import memory
memory.MEMORY, memory.NEEDED_BYTES = Path(sys.argv[1]), 0
memory.use_it()
print(tempfile.mkdtemp(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the machine has in place of /dev/shm, with enough room."""
    monkeypatch.setattr(memory, "MEMORY", tmp_path)
    monkeypatch.setattr(memory, "NEEDED_BYTES", 0)
    return tmp_path


@pytest.fixture
def run(shared: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another run, which has begun."""
    env = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    command = [sys.executable, "-c", RUN, str(shared)]
    with subprocess.Popen(
        command, cwd=BASE_DIR, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        made = Path(process.stdout.readline().strip())
        assert made.is_dir() and made.parent.parent == shared
        yield process
        process.kill()


def test_run_removes_its_folder(run: "subprocess.Popen[str]", shared: Path) -> None:
    assert len(list(shared.iterdir())) == 1
    run.communicate()
    assert list(shared.iterdir()) == []


def test_folder_of_a_run_stays_until_it_was_killed(run: "subprocess.Popen[str]", shared: Path) -> None:
    memory.remove_left_behind()
    assert len(list(shared.iterdir())) == 1
    run.kill()
    run.wait()
    memory.remove_left_behind()
    assert list(shared.iterdir()) == []


@pytest.mark.parametrize("reason", ["TMPDIR", "little room", "no such folder"])
def test_memory_is_not_used(reason: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "unchanged")
    monkeypatch.delenv("TMPDIR", raising=False)
    if reason == "TMPDIR":
        monkeypatch.setenv("TMPDIR", "/chosen")
    elif reason == "little room":
        monkeypatch.setattr(memory, "NEEDED_BYTES", 2**60)
    else:
        monkeypatch.setattr(memory, "MEMORY", shared / "missing")
    memory.use_it()
    assert tempfile.tempdir == "unchanged"
    assert list(shared.iterdir()) == []
