"""Divides a test run among several workers (`pytest -n`, `make test`): a worker gets a file at a time.

Each worker has its own stores (tests/stores.py), so they share only the machine. The browser tests stay
together, because they share a console. Files are handed out in the order of collection. Those with tests that
have a longer time limit than usual come first, because the run would have to wait for one that started last.

There are half as many workers again as cores. Much of the time goes into waiting: in the browser tests for agents,
deadlines and refreshes, elsewhere for consoles that start and stop. Meanwhile the others have the cores.
"""

from typing import Any

import psutil
import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

BROWSER = "tests/browser"


def piece(nodeid: str) -> str:
    """The tests that must run on the same worker: a file, or all browser tests."""
    file = nodeid.split("::", 1)[0]
    return BROWSER if file.startswith(f"{BROWSER}/") else file


class ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return piece(nodeid)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """The number for `-n auto` and `-n logical`."""
    cores = psutil.cpu_count() or 1
    return cores + (cores + 1) // 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    config.option.loadscopereorder = False  # by the number of tests, which says little about the time
    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only under xdist, because a person who runs one file expects its order."""
    if hasattr(config, "workerinput"):
        long = {piece(item.nodeid) for item in items if item.get_closest_marker("timeout")}
        order = {
            name: position for position, name in enumerate(dict.fromkeys(piece(i.nodeid) for i in items))
        }
        items.sort(key=lambda item: (piece(item.nodeid) not in long, order[piece(item.nodeid)]))
