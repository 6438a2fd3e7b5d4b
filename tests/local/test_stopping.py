import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest

from jatevo.local.problems import CannotStart
from jatevo.local.steps import Steps
from jatevo.local.stopping import StopRequest, StopRequested

BASE_DIR = Path(__file__).parents[2]
# Says "ready" and goes on waiting; both signals come in a burst, as from a terminal and from a supervisor.
WAITS = """
from jatevo.local.stopping import listen
asked = listen()
print("ready", flush=True)
while not asked.wait(0.001):
    pass
print("stopped", flush=True)
"""


@pytest.mark.timeout(300)
def test_many_signals_at_once_stop_it_and_never_hang() -> None:
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", WAITS], cwd=BASE_DIR, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            until = time.monotonic() + 0.02
            while process.poll() is None and time.monotonic() < until:
                process.send_signal(signal.SIGINT)
                process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "stopped\n"


def killed_by_ctrl_c() -> None:
    """What a start says of a child that died of the terminal's Ctrl-C before it had its own session."""
    raise CannotStart("initdb could not create /home/postgres.new: ")


def test_problem_after_a_request_to_stop_is_that_stop() -> None:
    said, asked = StringIO(), StopRequest()
    asked.ask()
    with pytest.raises(StopRequested), Steps(said).step("PostgreSQL"), asked.before_problems():
        killed_by_ctrl_c()
    assert said.getvalue().split() == ["PostgreSQL", "stopped"]


def test_problem_without_a_request_to_stop_stays_one() -> None:
    said = StringIO()
    with pytest.raises(CannotStart), Steps(said).step("PostgreSQL"), StopRequest().before_problems():
        killed_by_ctrl_c()
    assert said.getvalue().split() == ["PostgreSQL", "failed"]
