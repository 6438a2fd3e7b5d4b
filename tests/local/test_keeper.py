import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jatevo.local.children import Child, Children
from jatevo.local.keeper import FIRST_PAUSE_SECONDS, MOST_RESTARTS, WITHIN_SECONDS, Keeper
from jatevo.local.problems import CannotStart


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    made = Children(tmp_path / "run")
    yield made
    made.close()


@pytest.fixture
def ended(children: Children, tmp_path: Path) -> Child:
    command = [sys.executable, "-c", "print('out of memory'); raise SystemExit(3)"]
    child = children.start("store", command, log=tmp_path / "log")
    child.process.wait()
    return child


def test_a_running_store_is_not_restarted(children: Children, tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = children.start("sleeper", sleeper, log=tmp_path / "log")
    assert not Keeper("Store").is_due(child, at=0.0)


def test_first_restart_is_at_once_and_said(ended: Child) -> None:
    keeper = Keeper("Store")
    assert keeper.is_due(ended, at=100.0)
    assert keeper.line(ended) == "Store ended (code 3); started it again."


def test_pauses_grow_and_then_it_gives_up(ended: Child) -> None:
    keeper = Keeper("Store")
    now, pauses = 100.0, []
    assert keeper.is_due(ended, at=now)
    for _ in range(MOST_RESTARTS - 1):
        last = now
        while not keeper.is_due(ended, at=now):
            now += 0.25
        pauses.append(now - last)
    assert pauses == [FIRST_PAUSE_SECONDS * 2**n for n in range(MOST_RESTARTS - 1)]
    assert sum(pauses) < WITHIN_SECONDS
    with pytest.raises(CannotStart, match=r"Store ended with code 3, after 5 restarts.*: out of memory\.$"):
        keeper.is_due(ended, at=now)


def test_restarts_of_long_ago_do_not_count(ended: Child) -> None:
    keeper = Keeper("Store")
    for n in range(3 * MOST_RESTARTS):
        assert keeper.is_due(ended, at=n * WITHIN_SECONDS / 2)
