"""Registration: what is sent, what is stored before and after it, and the message for each refusal."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_console import ConsoleForAgents, LoseAnswer, Reply, error
from jatevo_agent.clock import ConsoleClock
from jatevo_agent.config import Config, load_config
from jatevo_agent.console import ConsoleClient
from jatevo_agent.exits import CannotRun, ExitCode
from jatevo_agent.registration import Registrar, identity
from jatevo_agent.state import NodeState, StateFolder

ATTESTATION = {"gpu_model": "Apple M3 Max", "vram_gb": 48}
STATEMENT = {"agent_version": "1.1.0", "attest": ATTESTATION, "concurrency": 4}


class AgentStart:
    """A start of an agent up to its registration."""

    def __init__(self, folder: Path, console_url: str, **keys: Any) -> None:
        document = {
            "console": console_url,
            "node_id": "macbook-001",
            "region": "ap-southeast",
            "runtime": "ollama",
            "models": ["llama3.1-8b"],
            "wallet": {"chain": "solana", "address": "So1"},
            "state_dir": str(folder / "state"),
            **keys,
        }
        path = folder / "agent.yaml"
        path.write_text(yaml.safe_dump(document))
        self.config: Config = load_config(path, {})
        self.folder = StateFolder(self.config.state_dir)
        self.folder.prepare()
        self.clock = ConsoleClock()
        self.stopping = threading.Event()

    def register(self) -> NodeState | None:
        console = ConsoleClient(self.config.console, self.config.node_id, self.clock)
        try:
            state = identity(self.config, self.folder)
            return Registrar(self.config, self.folder, console, self.clock, self.stopping).ensure(
                state, lambda: STATEMENT, lambda: self.config.models
            )
        finally:
            console.close()

    def refusal(self) -> CannotRun:
        with pytest.raises(CannotRun) as caught:
            self.register()
        assert caught.value.exit_code is ExitCode.NEEDS_A_PERSON
        return caught.value


def test_registers_with_what_the_contract_asks(tmp_path: Path, console: ConsoleForAgents) -> None:
    start = AgentStart(
        tmp_path,
        console.url,
        enrollment_token=console.enroll(),
        green_energy_proof_url="https://sun.example/1",
    )
    state = start.register()
    assert state is not None
    assert state.node_token == console.nodes["macbook-001"].node_token
    assert bytes(state.signing_key.verify_key) == console.nodes["macbook-001"].public_key
    assert start.folder.load() == state
    sent = json.loads(console.bodies("register")[0])
    assert sent.pop("public_key").startswith("ed25519:")
    assert sent == {
        "node_id": "macbook-001",
        "region": "ap-southeast",
        "runtime": "ollama",
        "attest": ATTESTATION,
        "wallet": {"chain": "solana", "address": "So1"},
        "models": ["llama3.1-8b"],
        "endpoint": "http://127.0.0.1:11435",
        "agent_version": "1.1.0",
        "concurrency": 4,
    }


def test_the_key_is_on_disk_before_the_console_hears_of_it(tmp_path: Path, console: ConsoleForAgents) -> None:
    start = AgentStart(tmp_path, console.url, enrollment_token=console.enroll())
    on_disk: list[NodeState | None] = []
    console.before_work = lambda path: on_disk.append(start.folder.load())
    state = start.register()
    assert state is not None
    assert on_disk[0] is not None
    assert on_disk[0].seed == state.seed
    assert on_disk[0].node_token is None


def test_a_registered_node_asks_no_more(tmp_path: Path, console: ConsoleForAgents) -> None:
    first = AgentStart(tmp_path, console.url, enrollment_token=console.enroll()).register()
    assert AgentStart(tmp_path, console.url).register() == first
    assert len(console.bodies("register")) == 1


def test_trouble_of_the_server_is_waited_for(
    tmp_path: Path, console: ConsoleForAgents, log: StringIO
) -> None:
    console.next("register", error(503, "unavailable"), error(429, "rate_limited", retry_after=0))
    state = AgentStart(tmp_path, console.url, enrollment_token=console.enroll()).register()
    assert state is not None
    assert state.node_token
    assert log.getvalue().count("not registered yet") == 1


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (error(401, "invalid_token", "the token has expired"), "create a new one"),
        (error(409, "node_exists", "this node_id is taken"), "Choose another node_id"),
        (
            error(422, "invalid_request", "invalid", details=[{"field": "region", "message": "is unknown"}]),
            "invalid; region: is unknown.",
        ),
        (error(403, "forbidden", "not yours"), "not yours."),
        (error(404, "not_found", "no such page"), "no such page."),
    ],
)
def test_a_refusal_is_final_and_says_why(
    tmp_path: Path, console: ConsoleForAgents, reply: Reply, sentence: str
) -> None:
    console.next("register", reply)
    start = AgentStart(tmp_path, console.url, enrollment_token=console.enroll())
    refusal = str(start.refusal())
    assert refusal.startswith("The console refused to register macbook-001: ")
    assert sentence in refusal
    assert len(console.bodies("register")) == 1
    state = start.folder.load()
    assert state is not None
    assert state.attempted_at is None


def test_a_lost_answer_is_explained(tmp_path: Path, console: ConsoleForAgents) -> None:
    console.next("register", LoseAnswer())
    start = AgentStart(tmp_path, console.url, enrollment_token=console.enroll())
    assert "may be registered with this agent's key already" in str(start.refusal())


def test_a_lost_answer_is_explained_after_a_crash_too(tmp_path: Path, console: ConsoleForAgents) -> None:
    token = console.enroll()
    start = AgentStart(tmp_path, console.url, enrollment_token=token)
    state = identity(start.config, start.folder)
    # What a crash between the request and its answer leaves behind, on either side:
    start.folder.save(replace(state, attempted_at=1.0))
    console.add_node(state.node_id, bytes(state.signing_key.verify_key))
    again = AgentStart(tmp_path, console.url, enrollment_token=token)
    assert "may be registered with this agent's key already" in str(again.refusal())


def test_a_node_token_from_the_configuration_rescues(tmp_path: Path, console: ConsoleForAgents) -> None:
    console.next("register", LoseAnswer())
    AgentStart(tmp_path, console.url, enrollment_token=console.enroll()).refusal()
    token = console.nodes["macbook-001"].node_token
    rescued = AgentStart(tmp_path, console.url, node_token=token).register()
    assert rescued is not None
    assert rescued.node_token == token
    assert bytes(rescued.signing_key.verify_key) == console.nodes["macbook-001"].public_key
    assert AgentStart(tmp_path, console.url).register() == rescued  # it is remembered


def test_an_answer_without_a_token_is_explained(tmp_path: Path, console: ConsoleForAgents) -> None:
    console.next("register", Reply(201, {"node_id": "macbook-001"}))
    assert "no usable node token" in str(
        AgentStart(tmp_path, console.url, enrollment_token=console.enroll()).refusal()
    )


def test_without_any_token_the_agent_says_where_to_get_one(tmp_path: Path, console: ConsoleForAgents) -> None:
    assert "enrollment_token is missing" in str(AgentStart(tmp_path, console.url).refusal())
    assert console.posts == []


def test_another_nodes_state_is_not_touched(tmp_path: Path, console: ConsoleForAgents) -> None:
    AgentStart(tmp_path, console.url, enrollment_token=console.enroll()).register()
    other = AgentStart(tmp_path, console.url, node_id="macbook-002", enrollment_token=console.enroll())
    assert "belongs to the node macbook-001" in str(other.refusal())
    elsewhere = AgentStart(tmp_path, "https://other.example")
    assert "another state_dir for another console" in str(elsewhere.refusal())


def test_the_answers_time_corrects_a_clock_that_is_off(tmp_path: Path, console: ConsoleForAgents) -> None:
    console.clock_offset_seconds = 5000
    start = AgentStart(tmp_path, console.url, enrollment_token=console.enroll())
    start.register()
    assert start.clock.now() == pytest.approx(console.now(), abs=5)


def test_stopping_ends_the_attempts(tmp_path: Path, console: ConsoleForAgents) -> None:
    start = AgentStart(tmp_path, console.url, enrollment_token=console.enroll())
    console.next("register", error(503, "unavailable", retry_after=3600))
    console.before_work = lambda path: start.stopping.set()
    assert start.register() is None
