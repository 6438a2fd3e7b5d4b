"""Fixtures of the agent's tests: a fake console, a registered node, the agent as a process."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from agent_process import AgentProcess
from fake_console import ConsoleForAgents, free_port
from fake_runtime import FakeRuntime
from jatevo_agent import logs
from registered_node import RegisteredNode
from serving_node import ServingNode


@pytest.fixture(autouse=True)
def log() -> StringIO:
    """The agent's log lines in this process."""
    stream = StringIO()
    logs.start_logging(stream)
    return stream


@pytest.fixture
def console() -> Iterator[ConsoleForAgents]:
    with ConsoleForAgents() as running:
        yield running


@pytest.fixture
def node(console: ConsoleForAgents, tmp_path: Path) -> Iterator[RegisteredNode]:
    registered = RegisteredNode(console, tmp_path)
    yield registered
    registered.close()


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    with FakeRuntime() as running:
        yield running


@pytest.fixture
def serving(runtime: FakeRuntime, tmp_path: Path) -> Iterator[ServingNode]:
    """A node whose gateway serves `runtime`."""
    node = ServingNode(tmp_path, runtime.url)
    node.start()
    yield node
    node.close()


@pytest.fixture
def agent(console: ConsoleForAgents, tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent with a valid configuration and an enrolment token, not started yet."""
    process = AgentProcess(
        tmp_path,
        console=console.url,
        enrollment_token=console.enroll(),
        node_id="macbook-001",
        region="ap-southeast",
        runtime="ollama",
        listen=f"127.0.0.1:{free_port()}",
        models=["llama3.1-8b"],
        state_dir=str(tmp_path / "state"),
    )
    yield process
    process.end()
