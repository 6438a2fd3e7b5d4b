"""Changing the node's key, with lost answers, crashes and refusals."""

from __future__ import annotations

import base64
import json
import subprocess
from io import StringIO
from pathlib import Path

import httpx
import pytest
from agent_process import AgentProcess
from fake_console import ConsoleForAgents, LoseAnswer, error
from jatevo_agent.exits import CannotRun
from jatevo_agent.key_change import CurrentKey, KeyChange, prepare_key_change
from jatevo_agent.state import NodeState, StateFolder
from jatevo_agent.wire.keys import public_key_text
from jatevo_agent.wire.signing import verify_health
from nacl.signing import SigningKey
from registered_node import NODE_ID, RegisteredNode

NONCE = "00112233445566778899aabbccddeeff"


@pytest.fixture
def folder(node: RegisteredNode, console: ConsoleForAgents, tmp_path: Path) -> StateFolder:
    """The state folder of the registered node, with a next key."""
    made = StateFolder(tmp_path / "state")
    made.prepare()
    made.save(
        NodeState(node_id=NODE_ID, console=console.url, seed=bytes(node.signing_key), node_token=node.token)
    )
    prepare_key_change(made)
    return made


def loaded(folder: StateFolder) -> NodeState:
    state = folder.load()
    assert state is not None
    return state


def change(node: RegisteredNode, folder: StateFolder) -> CurrentKey:
    """Runs the key change of an agent's start. Returns the key that it signs with afterwards."""
    state = loaded(folder)
    key = CurrentKey(state.signing_key)
    KeyChange(folder, node.http, node.clock, node.stopping, key).complete(state)
    return key


def next_key(folder: StateFolder) -> SigningKey:
    seed = loaded(folder).next_seed
    assert seed is not None
    return SigningKey(seed)


def test_the_console_has_the_key_before_it_is_used(
    node: RegisteredNode, console: ConsoleForAgents, folder: StateFolder
) -> None:
    wanted = next_key(folder)
    key = change(node, folder)
    assert key.signing_key == wanted
    assert console.nodes[NODE_ID].public_key == bytes(wanted.verify_key)
    state = loaded(folder)
    assert (state.signing_key, state.next_seed) == (wanted, None)
    assert state.former_keys == (public_key_text(bytes(node.signing_key.verify_key)),)


def test_a_lost_answer_is_asked_for_again(
    node: RegisteredNode, console: ConsoleForAgents, folder: StateFolder
) -> None:
    wanted = next_key(folder)
    console.next("keys", LoseAnswer())
    assert change(node, folder).signing_key == wanted
    assert len(console.bodies("keys")) == 2
    assert loaded(folder).next_seed is None


def test_a_crash_before_the_answer_is_made_up_for_at_the_next_start(
    node: RegisteredNode, console: ConsoleForAgents, folder: StateFolder
) -> None:
    wanted = next_key(folder)
    before = loaded(folder)
    change(node, folder)
    folder.save(before)  # as if the process had died with the answer on its way
    assert change(node, folder).signing_key == wanted
    assert loaded(folder).next_seed is None


def test_a_busy_console_is_asked_again(
    node: RegisteredNode, console: ConsoleForAgents, folder: StateFolder
) -> None:
    console.next("keys", error(503, "unavailable"), error(429, "rate_limited", retry_after=0))
    change(node, folder)
    assert loaded(folder).next_seed is None


@pytest.mark.parametrize("status", [409, 422])
def test_a_key_that_the_console_does_not_take_is_dropped_and_the_old_one_stays(
    node: RegisteredNode, console: ConsoleForAgents, folder: StateFolder, log: StringIO, status: int
) -> None:
    other = "ed25519:" + base64.b64encode(bytes(32)).decode()
    console.next("keys", error(status, "key_exists", current_key=other))
    assert change(node, folder).signing_key == node.signing_key
    assert loaded(folder).next_seed is None
    assert "the old one stays in use" in log.getvalue()


def test_a_change_under_way_keeps_its_key(folder: StateFolder) -> None:
    before = loaded(folder).next_seed
    prepare_key_change(folder)
    assert loaded(folder).next_seed == before


def test_a_node_that_is_not_registered_has_no_key_to_change(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    with pytest.raises(CannotRun):
        prepare_key_change(folder)


def test_the_state_is_read_again_only_when_a_change_is_asked_for(
    node: RegisteredNode, folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jatevo_agent.key_change.LOOK_FOR_REQUEST_EVERY_SECONDS", 0.0)
    change(node, folder)
    key = CurrentKey(loaded(folder).signing_key)
    read: list[int] = []
    looked = [False, False, False, True, False, False]

    def load(of: StateFolder) -> NodeState | None:
        read.append(len(looked))
        return load_state(of)

    def is_requested(of: StateFolder) -> bool:
        if len(looked) == 1:
            node.stopping.set()
        return looked.pop(0)

    load_state = StateFolder.load
    monkeypatch.setattr(StateFolder, "load", load)
    monkeypatch.setattr(StateFolder, "is_key_requested", is_requested)
    before = key.signing_key
    KeyChange(folder, node.http, node.clock, node.stopping, key).run()
    assert read == [5, 2, 2]  # at the start, to prepare the asked change, and to complete it
    assert key.signing_key != before


def rotate_key(agent: AgentProcess) -> subprocess.CompletedProcess[str]:
    return agent.command("rotate-key", "--config", str(agent.config_path))


def signs_with_the_consoles_key(agent: AgentProcess, console: ConsoleForAgents) -> bool:
    answer = httpx.get(f"http://{agent.config['listen']}/healthz", params={"nonce": NONCE}, trust_env=False)
    key = console.nodes["macbook-001"].public_key
    return verify_health("macbook-001", NONCE, answer.json()["signature"], key)


def test_the_key_of_a_stopped_agent_changes_at_its_next_start(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    agent.start("--simulate", "20")
    console.wait_for_more_receipts(3)
    old = console.nodes["macbook-001"].public_key
    agent.terminate()
    stopped = rotate_key(agent)
    assert stopped.returncode == 0, stopped.stderr
    console.next("keys", LoseAnswer())
    agent.start("--simulate", "20")
    node = console.nodes["macbook-001"]
    console.wait_for(lambda: len(console.bodies("keys")) == 2)
    assert node.public_key != old
    assert base64.b64encode(node.public_key).decode() in stopped.stdout
    console.wait_for_more_receipts(3)
    assert signs_with_the_consoles_key(agent, console)
    agent.terminate()
    assert console.refused_signatures == []
    assert json.loads((agent.state_dir / "state.json").read_text())["next_private_key"] is None
    assert "whsec_" not in agent.log


def test_a_running_agent_changes_its_key_at_once(agent: AgentProcess, console: ConsoleForAgents) -> None:
    agent.start("--simulate", "20")
    console.wait_for_more_receipts(3)
    old = console.nodes["macbook-001"].public_key
    console.next("keys", error(503, "unavailable"))
    changed = rotate_key(agent)
    new = console.nodes["macbook-001"].public_key
    assert changed.returncode == 0, changed.stderr
    assert new != old
    assert base64.b64encode(new).decode() in changed.stdout
    console.wait_for_more_receipts(3)
    assert signs_with_the_consoles_key(agent, console)
    assert console.refused_signatures == []
    assert rotate_key(agent).returncode == 0  # and again
    assert console.nodes["macbook-001"].public_key not in (old, new)


def test_a_key_that_the_console_refuses_is_reported_to_who_asked(
    agent: AgentProcess, console: ConsoleForAgents
) -> None:
    agent.start("--simulate", "20")
    console.wait_for_more_receipts(3)
    old = base64.b64encode(console.nodes["macbook-001"].public_key).decode()
    console.next("keys", error(422, "invalid_signature"))
    refused = rotate_key(agent)
    assert refused.returncode == 1, refused.stdout
    assert "The new key was refused" in refused.stdout
    assert f"ed25519:{old} stays the node's key" in refused.stdout
    assert rotate_key(agent).returncode == 0
