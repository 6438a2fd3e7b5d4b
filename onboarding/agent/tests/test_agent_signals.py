"""Signals stop the agent whatever the main thread is doing."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A signal arrives while the main thread holds the lock of the very Event that stopping sets, as it does for a moment
# whenever it begins to wait. A handler that set the Event would wait for that lock for ever.
INTERRUPTED = """\
import signal, threading
from jatevo_agent.commands.run import StopSignals

class Agent:
    def __init__(self):
        self.stopping = threading.Event()
    def stop(self):
        self.stopping.set()

signals = StopSignals()
agent = Agent()
signals.stop(agent)
with agent.stopping._cond:
    signal.raise_signal(signal.SIGTERM)
assert agent.stopping.wait(20)
assert signals.wait(20)
late = Agent()
signals.stop(late)
assert late.stopping.is_set()
"""


# The main thread waits in C for a lock, and a signal does not interrupt that. So it is when a signal comes just before
# the main thread begins to wait in `Event.wait`, which on a busy machine can last a while.
EXECUTES_NO_PYTHON = """\
import ctypes, os, signal, threading, time
from jatevo_agent.commands.run import StopSignals

class Agent:
    def stop(self):
        os._exit(0)

libc = ctypes.CDLL(None)
mutex = ctypes.create_string_buffer(256)
libc.pthread_mutex_init(mutex, None)
libc.pthread_mutex_lock(mutex)

def kill():
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
    os._exit(1)

signals = StopSignals()
signals.stop(Agent())
threading.Thread(target=kill, daemon=True).start()
libc.pthread_mutex_lock(mutex)
"""


@pytest.mark.parametrize("program", [INTERRUPTED, EXECUTES_NO_PYTHON])
def test_a_signal_stops_the_agent_whatever_the_main_thread_is_doing(program: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
