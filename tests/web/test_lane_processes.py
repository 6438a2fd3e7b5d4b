"""The lane in several processes that share a socket."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.web.serving import BASE_DIR, ServerUnderTest, services_environment, serving
from tests.web.wire import RawConnection, request

PROCESSES = 2
WITHIN_SECONDS = 60.0

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving(ServerUnderTest.LANES, tmp_path) as found:
        eventually(lambda: len(processes()) == PROCESSES)
        yield found


def parent() -> psutil.Process:
    (found,) = (each for each in psutil.Process().children() if "jatevo.lane" in each.cmdline())
    return found


def processes() -> list[psutil.Process]:
    """Those that answer requests."""
    return [each for each in parent().children() if "spawn_main" in " ".join(each.cmdline())]


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=10).status_code == 200


def test_process_that_is_killed_is_replaced(port: int, tmp_path: Path) -> None:
    killed, other = processes()
    killed.kill()
    killed.wait(WITHIN_SECONDS)
    assert lives(port)
    eventually(lambda: len({each.pid for each in processes()} - {killed.pid, other.pid}) == 1)
    assert f"Child process [{killed.pid}] died" in (tmp_path / "lanes.log").read_text()


def test_what_is_under_way_is_answered_and_nobody_waits_for_a_lane_that_stops(port: int) -> None:
    whole = request("POST", "/v1/receipts", b"{}")
    with RawConnection(port) as line:
        line.send(whole[:-1])
        assert lives(port)
        stopping = parent()
        stopping.terminate()
        eventually(lambda: is_refused(port))
        assert line.send(whole[-1:]).answer("POST").status == 401
    stopping.wait(WITHIN_SECONDS)


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_wrong_settings_end_it_at_once(tmp_path: Path) -> None:
    env = {**services_environment(tmp_path), "JATEVO_MASTER_KEY": "no key"}
    words = [sys.executable, "-m", "jatevo.lane", "--port", "1", "--workers", str(PROCESSES)]
    done = subprocess.run(
        words, cwd=BASE_DIR, env=env, capture_output=True, text=True, timeout=WITHIN_SECONDS, check=False
    )
    assert done.returncode == 1
    assert "JATEVO_MASTER_KEY" in done.stderr
