"""An agent that needs a person ends with 2, or waits where ending would restart it for ever."""

from __future__ import annotations

import base64
import json

import pytest
from agent_process import AgentProcess
from fake_console import ConsoleForAgents

WAITING = "a person must act; waiting until agent.yaml or state_dir changes"


@pytest.mark.parametrize("service", ["", "systemd", "background"])
def test_where_the_exit_code_is_understood_it_ends(
    agent: AgentProcess, console: ConsoleForAgents, service: str
) -> None:
    agent.configure(enrollment_token="jve_expired")
    agent.start(service=service)
    assert agent.wait() == 2
    problem = agent.status()["needs_a_person"]
    assert "An enrolment token registers one node and expires after 24 hours" in problem
    assert len(console.bodies("register")) == 1


@pytest.mark.parametrize("service", ["launchd", "container"])
def test_where_everything_is_restarted_it_waits_for_a_changed_file(
    agent: AgentProcess, console: ConsoleForAgents, service: str
) -> None:
    agent.configure(enrollment_token="jve_expired")
    agent.start(service=service)
    agent.wait_for_log(WAITING)
    assert "expires after 24 hours" in agent.status()["needs_a_person"]
    assert agent.status()["running"] is False
    agent.configure(enrollment_token=console.enroll())
    console.wait_for(lambda: console.heartbeats)
    assert len(console.bodies("register")) == 2  # once each, however long it waited
    assert agent.status()["needs_a_person"] is None
    agent.terminate()


def test_a_wrong_agent_yaml_is_waited_for_too(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.configure(runtime="llamacpp")
    agent.start(service="launchd")
    agent.wait_for_log("runtime: must be one of")
    agent.configure(runtime="ollama")
    console.wait_for(lambda: console.heartbeats)


def test_a_state_file_closed_to_others_again_is_noticed(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    agent.start()
    console.wait_for(lambda: console.heartbeats)
    agent.terminate()
    before = len(console.heartbeats)
    (agent.state_dir / "state.json").chmod(0o644)
    agent.start(service="launchd")
    agent.wait_for_log(WAITING)
    (agent.state_dir / "state.json").chmod(0o600)
    console.wait_for(lambda: len(console.heartbeats) > before)


def test_a_renewed_token_is_taken_from_agent_yaml_without_a_restart(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    agent.start("--simulate", "20")
    console.wait_for_more_receipts(3)
    new_token = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    console.nodes["macbook-001"].node_token = new_token
    agent.wait_for_log("the console does not accept this node's token")
    agent.configure(node_token=new_token)
    console.wait_for_more_receipts(3)
    completed = agent.status()["completed_total"]
    console.wait_for(lambda: len(console.inserts) >= completed)
    agent.terminate()
    assert len(console.inserts) == len(set(console.inserts))
    assert agent.status()["refused"] == 0
    assert json.loads((agent.state_dir / "state.json").read_text())["node_token"] == new_token


def test_a_signal_ends_the_waiting(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.configure(enrollment_token="jve_expired")
    agent.start(service="launchd")
    agent.wait_for_log(WAITING)
    agent.terminate()


def test_what_passes_by_itself_is_left_to_the_service_manager(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    agent.configure(listen=console.url.removeprefix("http://"))
    agent.start(service="launchd")
    assert agent.wait() == 3
