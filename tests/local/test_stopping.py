import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


@pytest.mark.timeout(60)
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
