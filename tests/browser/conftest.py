"""One real console, validator and browser for all end-to-end tests.

pytest-playwright's fixtures are not used, because they last until the end of the session. While Playwright
runs, Django takes this thread for an asynchronous one and refuses to use the database in it.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests import chromium as installed
from tests import template_home
from tests.browser import measuring
from tests.browser.agent import AgentAtWork, MakeAgent, agent_yaml
from tests.browser.console import RunningConsole
from tests.browser.earned import Earned
from tests.browser.measuring import Measure
from tests.browser.processes import Program
from tests.browser.staff import make_validator, set_default_rate
from tests.browser.visitors import PAGE_TIMEOUT_MS, Visitors

VALIDATOR = "browser-tests-validator"
BUSY_NODE = "busy-node"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Debian's chromium, or another installed one."""
    path = installed.path()
    if path is None:
        if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
            pytest.fail(f"{installed.NOT_INSTALLED}, and CI is set")
        pytest.skip(installed.NOT_INSTALLED)
    expect.set_options(timeout=PAGE_TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(installed.ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def console(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[RunningConsole]:
    """The console, from its first start to a clean stop. None without a browser.

    The start creates everything but what the template has. tests/local/test_run.py has one in an empty home.
    """
    # A short path: PostgreSQL's socket lies below it.
    home = Path(tempfile.mkdtemp(prefix="jatevo-browser-"))
    installation = RunningConsole(home)
    try:
        template_home.copy_into(home)
        measuring.note(request.config, "console, first start with the tables there", installation.start())
        yield installation
        code = installation.stop()
        assert code == 0, f"the console ended with {code}:\n{installation.program.last_words()}"
    finally:
        installation.program.kill()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="package")
def validator(
    chromium: Browser, console: RunningConsole, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The id of a running reference validator, which the admin has created in Django admin."""
    visitors = Visitors(chromium, console)
    token = make_validator(visitors.sign_in("admin"), VALIDATOR)
    assert visitors.close() == []
    command = [sys.executable, "-m", "nodes.validator", "--console", console.url]
    command += ["--validator-id", VALIDATOR, "--allow-private"]
    home = tmp_path_factory.mktemp("validator")
    program = Program("validator", home, command, {"JATEVO_VALIDATOR_TOKEN": token})
    program.start()
    yield VALIDATOR
    program.kill()


@pytest.fixture(scope="package")
def rates(chromium: Browser, console: RunningConsole) -> None:
    """A price for all models, which the admin has set in Django admin."""
    visitors = Visitors(chromium, console)
    visitors.expect_complaint("403")  # the page that asks for the password again
    set_default_rate(visitors.sign_in("admin"), password=console.login("admin")["password"])
    assert visitors.close() == []


@pytest.fixture(scope="package")
def earned(console: RunningConsole, rates: None) -> Earned:
    """Three organisations with a month that is final, a second admin, and an operator."""
    found: Earned = console.work("tests.browser.earned")
    return found


@pytest.fixture(scope="package")
def busy_node(
    console: RunningConsole, validator: str, rates: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An active node that completes a request a second, so that pages have data to show."""
    region, runtime = "eu-central", "vllm"
    token = console.enrol(BUSY_NODE, region=region, runtime=runtime)
    config = agent_yaml(console, BUSY_NODE, token, region=region, runtime=runtime)
    agent = AgentAtWork(tmp_path_factory.mktemp(BUSY_NODE), BUSY_NODE, config)
    agent.start("--simulate", "1")
    yield BUSY_NODE
    agent.program.kill()


@pytest.fixture
def visitors(chromium: Browser, console: RunningConsole) -> Iterator[Visitors]:
    """Browsers for this test. Errors in the consoles of their pages fail it."""
    opened = Visitors(chromium, console)
    yield opened
    complaints = opened.close()
    assert complaints == [], "\n".join(complaints)


@pytest.fixture
def agents(console: RunningConsole, tmp_path: Path) -> Iterator[MakeAgent]:
    """Creates agents, which are not started. All of them are ended with the test."""
    made: list[AgentAtWork] = []
    number = count(1)

    def make(
        node_id: str, config: str = "", *, region: str = "ap-southeast", runtime: str = "ollama"
    ) -> AgentAtWork:
        if not config:
            token = console.enrol(node_id, region=region, runtime=runtime)
            config = agent_yaml(console, node_id, token, region=region, runtime=runtime)
        home = tmp_path / f"machine-{next(number)}"
        home.mkdir()
        made.append(AgentAtWork(home, node_id, config))
        return made[-1]

    yield make
    for agent in made:
        agent.program.kill()


@pytest.fixture
def measure(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Measure:
    """Records seconds for the end of the run's output and for its JUnit file."""

    def note(what: str, seconds: float) -> None:
        record_property(what, round(seconds, 2))
        measuring.note(request.config, what, seconds)

    return note
