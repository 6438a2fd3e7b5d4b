"""`jatevo-agent verify`: genuine, changed, and foreign receipts, with the key from three places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent_process import AgentProcess
from fake_console import ConsoleForAgents
from jatevo_agent.state import NodeState, StateFolder
from jatevo_agent.verify import parse_receipt, verify_receipt
from jatevo_agent.wire.keys import public_key_text
from nacl.signing import SigningKey
from registered_node import NODE_ID, RegisteredNode


@pytest.fixture
def receipt(node: RegisteredNode, tmp_path: Path) -> Path:
    path = tmp_path / "receipt.json"
    path.write_bytes(node.receipt("r_1"))
    return path


@pytest.fixture
def key(node: RegisteredNode) -> str:
    return public_key_text(bytes(node.signing_key.verify_key))


def changed(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))
    return path


def test_a_genuine_receipt(receipt: Path, key: str) -> None:
    finished = AgentProcess.command("verify", str(receipt), "--key", key)
    assert (finished.returncode, finished.stdout) == (0, f"Genuine: request r_1 of gpu-7, signed by {key}.\n")


def test_its_members_may_stand_in_any_order_and_shape(receipt: Path, key: str) -> None:
    document = json.loads(receipt.read_bytes())
    text = json.dumps(dict(reversed(list(document.items()))), indent=4)
    assert verify_receipt(parse_receipt(text.encode()), [key]).problems == ()


@pytest.mark.parametrize("member", ["tokens_output", "ts_end", "p95_ms"])
def test_a_changed_number_is_found(receipt: Path, key: str, member: str) -> None:
    document = parse_receipt(receipt.read_bytes())
    document[member] += 1
    assert verify_receipt(document, [key]).problems


def test_an_added_member_is_found(receipt: Path, key: str) -> None:
    finished = AgentProcess.command("verify", str(changed(receipt, note="x")), "--key", key)
    assert finished.returncode == 1
    assert "or the receipt was changed" in finished.stdout


def test_another_nodes_key_does_not_verify_it(receipt: Path, key: str) -> None:
    other = public_key_text(bytes(SigningKey.generate().verify_key))
    assert verify_receipt(parse_receipt(receipt.read_bytes()), [other]).key is None
    assert verify_receipt(parse_receipt(receipt.read_bytes()), [other, key]).key == key


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not a receipt"),
        ("[]", "it must be one JSON object"),
        ('{"a": 1, "a": 2}', "a member is given twice"),
        ("[" * 100_000, "is not a receipt"),
    ],
)
def test_what_is_no_receipt_is_one_sentence(tmp_path: Path, key: str, text: str, complaint: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(text)
    finished = AgentProcess.command("verify", str(path), "--key", key)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert complaint in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_a_key_that_is_none(receipt: Path) -> None:
    finished = AgentProcess.command("verify", str(receipt), "--key", "ed25519:AAAA")
    assert (finished.returncode, finished.stdout) == (2, "")


def test_this_machines_own_receipt_needs_no_key(
    receipt: Path, agent: AgentProcess, console: ConsoleForAgents, node: RegisteredNode
) -> None:
    agent.configure(node_id=NODE_ID)
    folder = StateFolder(agent.state_dir)
    folder.prepare()
    folder.save(NodeState(NODE_ID, console.url, bytes(node.signing_key), "whsec_AAAA"))
    finished = agent.command("verify", str(receipt), "--config", str(agent.config_path))
    assert finished.returncode == 0, finished.stderr
    others = agent.command(
        "verify", str(changed(receipt, node_id="gpu-8")), "--config", str(agent.config_path)
    )
    assert (others.returncode, "not this machine's node" in others.stderr) == (2, True)


def test_the_console_tells_the_keys(receipt: Path, console: ConsoleForAgents, key: str) -> None:
    document = {"node_id": NODE_ID, "keys": [{"public_key": key}]}
    console.files[f"/v1/nodes/{NODE_ID}"] = json.dumps(document).encode()
    finished = AgentProcess.command("verify", str(receipt), "--console", console.url)
    assert finished.returncode == 0, finished.stderr
    console.files[f"/v1/nodes/{NODE_ID}"] = b'{"keys": []}'
    unknown = AgentProcess.command("verify", str(receipt), "--console", console.url)
    assert (unknown.returncode, "knows no key of gpu-7" in unknown.stderr) == (2, True)
