"""Ctrl-C during the start of `make run`: a message and nothing left behind, at any moment."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import rmtree

import psutil
import pytest

from jatevo.local.lock import sole_console
from tests.browser.processes import wait_until

BASE_DIR = Path(__file__).parents[2]
MOMENT_TIMEOUT_SECONDS = 200.0
STOP_TIMEOUT_SECONDS = 60.0
pytestmark = pytest.mark.timeout(900)  # a whole start, on whatever else the machine is doing


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a short path: PostgreSQL's socket lies below it."""
    folder = Path(tempfile.mkdtemp(prefix="jatevo-"))
    yield folder
    rmtree(folder)


class RunInTerminal:
    """What `make run` does once .venv exists, as the foreground job (a process group) of a terminal."""

    def __init__(self, home: Path) -> None:
        self.home = home
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        with (home / "said").open("w") as said:
            self.shell = subprocess.Popen(
                ["sh", "deploy/bin/run.sh"],
                cwd=BASE_DIR,
                env=env | {"JATEVO_HOME": str(home), "PORT": "0", "JATEVO_DEMO": "0"},
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # a test run in the background ignores SIGINT, and a shell cannot undo that for itself
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def said(self) -> str:
        return (self.home / "said").read_text()

    def python_runs(self) -> bool:
        return any("jatevo.local" in each.cmdline() for each in psutil.Process(self.shell.pid).children())

    def press_ctrl_c(self) -> list[psutil.Process]:
        """Fails unless the exit code is 0. Returns the processes that are still running."""
        family = psutil.Process(self.shell.pid).children(recursive=True)
        os.killpg(self.shell.pid, signal.SIGINT)
        code = self.shell.wait(timeout=STOP_TIMEOUT_SECONDS)
        assert code == 0, self.said()
        return psutil.wait_procs(family, timeout=0)[1]


@pytest.fixture
def start(home: Path) -> Iterator[Callable[[], RunInTerminal]]:
    begun: list[RunInTerminal] = []

    def begin() -> RunInTerminal:
        begun.append(RunInTerminal(home))
        return begun[-1]

    yield begin
    for each in begun:
        if each.shell.poll() is None:
            family = psutil.Process(each.shell.pid).children(recursive=True)
            os.killpg(each.shell.pid, signal.SIGKILL)
            each.shell.wait()
            psutil.wait_procs(family, timeout=30)


MOMENTS: dict[str, Callable[[RunInTerminal], bool]] = {
    "while Python loads": RunInTerminal.python_runs,
    "during initdb": lambda start: (start.home / "postgres.new").exists(),
    "once PostgreSQL runs": lambda start: "PostgreSQL" in start.said(),
    "during the migrations": lambda start: "Django" in start.said(),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_during_the_start_ends_in_a_sentence_and_leaves_nothing(
    moment: str, start: Callable[[], RunInTerminal]
) -> None:
    begun = start()
    wait_until(lambda: MOMENTS[moment](begun), within_seconds=MOMENT_TIMEOUT_SECONDS, what=moment)
    left = begun.press_ctrl_c()

    said = begun.said().strip()
    assert said.splitlines()[-1] in {"Everything has stopped.", "Stopped before anything was started."}
    assert "Traceback" not in said
    assert "failed" not in said
    assert left == []
    with sole_console(begun.home):  # raises CannotStart if it is still held
        pass


def test_start_after_an_interrupted_one_works(start: Callable[[], RunInTerminal]) -> None:
    interrupted = start()
    wait_until(
        lambda: MOMENTS["during initdb"](interrupted), within_seconds=MOMENT_TIMEOUT_SECONDS, what="initdb"
    )
    assert interrupted.press_ctrl_c() == []

    again = start()
    wait_until(
        lambda: "Ctrl-C stops everything" in again.said(), within_seconds=MOMENT_TIMEOUT_SECONDS, what="up"
    )
    assert again.press_ctrl_c() == []
