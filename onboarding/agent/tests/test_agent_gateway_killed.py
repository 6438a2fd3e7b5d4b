"""kill -9 of the agent: what was delivered to its end has one receipt, and no receipt states more than that."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from agent_process import AgentProcess
from fake_console import ConsoleForAgents
from fake_runtime import FakeRuntime, Script
from jatevo_agent.completion import Completion
from jatevo_agent.gateway.journal import PAGE_BYTES, Journal, UnderWay
from jatevo_agent.gateway.recovery import recover
from jatevo_agent.wire.gateway_key import gateway_key
from jatevo_agent.wire.webhook import secret_of
from serving_node import CHAT, MESSAGES, RawClient, blake3_of


def under_way(request_id: str, **changes: Any) -> UnderWay:
    values: dict[str, Any] = {
        "request_id": request_id,
        "model_id": "llama3.1",
        "model_sha256": "ab" * 32,
        "prompt_blake3": "0f" * 32,
        "tokens_output": 2,
        "output_blake3": "cd" * 32,
        "started_at": 4_000_000_000.0,
        "at": 4_000_000_001.0,
        "hedged": False,
        **changes,
    }
    return UnderWay(**values)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "in_flight", most=2)
    yield opened
    opened.close()


def noted(journal: Journal) -> list[UnderWay]:
    return list(journal.left_behind().values())


def test_the_journal_holds_what_was_last_written(journal: Journal) -> None:
    journal.write(0, under_way("r_0", tokens_output=1))
    journal.write(2, under_way("r_2"))
    journal.write(0, under_way("r_0", tokens_output=3))
    journal.write(1, under_way("r_1"))
    journal.clear(1)
    assert noted(journal) == [under_way("r_0", tokens_output=3), under_way("r_2")]


def test_a_slot_whose_writing_was_cut_short_is_left_out(journal: Journal, tmp_path: Path) -> None:
    journal.write(0, under_way("r_0"))
    journal.write(1, under_way("r_1"))
    content = bytearray((tmp_path / "in_flight").read_bytes())
    content[40] ^= 1
    (tmp_path / "in_flight").write_bytes(content[: PAGE_BYTES + 100])
    assert noted(journal) == []


def test_a_name_that_does_not_fit_a_slot_is_not_noted(journal: Journal) -> None:
    journal.write(0, under_way("r_0", model_id="x" * PAGE_BYTES))
    assert noted(journal) == []


def test_a_request_that_was_set_aside_is_kept_while_its_slot_is_used_again(journal: Journal) -> None:
    journal.write(0, under_way("r_without_receipt"))
    assert journal.set_aside(0)
    journal.write(0, under_way("r_next"))
    assert sorted(each.request_id for each in noted(journal)) == ["r_next", "r_without_receipt"]
    journal.clear(0)
    journal.write(1, under_way("r_other"))
    assert sorted(each.request_id for each in noted(journal)) == ["r_other", "r_without_receipt"]


def test_what_an_earlier_run_has_left_is_not_overwritten(journal: Journal, tmp_path: Path) -> None:
    journal.write(0, under_way("r_left"))
    next_run = Journal(tmp_path / "in_flight", most=2)
    next_run.write(0, under_way("r_new"))
    assert [each.request_id for each in noted(next_run)] == ["r_left", "r_new"]
    next_run.close()


def test_no_more_requests_are_set_aside_than_the_journal_may_keep(journal: Journal) -> None:
    kept = []
    for number in range(3):
        journal.write(0, under_way(f"r_{number}"))
        kept.append(journal.set_aside(0))
    assert kept == [True, True, False]
    assert [each.request_id for each in noted(journal)] == ["r_0", "r_1"]


def test_a_request_that_was_not_noted_cannot_be_set_aside(journal: Journal) -> None:
    assert not journal.set_aside(0)


def test_the_note_of_another_version_is_read(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one also wrote `tokens_input`."""
    monkeypatch.setattr(
        "jatevo_agent.gateway.journal.asdict", lambda noted: {**asdict(noted), "tokens_input": 0}
    )
    journal.write(0, under_way("r_0"))
    assert noted(journal) == [under_way("r_0")]


def test_the_journal_is_only_the_owners(journal: Journal, tmp_path: Path) -> None:
    assert (tmp_path / "in_flight").stat().st_mode & 0o777 == 0o600


def test_only_requests_without_a_receipt_are_recovered_and_only_once(
    journal: Journal, tmp_path: Path
) -> None:
    journal.write(0, under_way("r_has_one"))
    journal.write(1, under_way("r_has_none"))
    journal.write(2, under_way("r_too_old", at=1.0))
    recorded: list[Completion] = []
    for _ in range(2):
        recover(tmp_path / "in_flight", recorded.append, lambda request_id: request_id == "r_has_one")
    assert [(each.request_id, each.tokens_output, each.outcome.value) for each in recorded] == [
        ("r_has_none", 2, "error")
    ]


def test_a_receipt_that_cannot_be_stored_is_tried_again_at_the_next_start(
    journal: Journal, tmp_path: Path, log: StringIO
) -> None:
    journal.write(0, under_way("r_0"))
    journal.write(1, under_way("r_1", output_blake3=None))
    recorded: list[Completion] = []

    def record(completion: Completion) -> None:
        if completion.request_id == "r_0":
            raise sqlite3.OperationalError("database or disk is full")
        recorded.append(completion)

    assert recover(tmp_path / "in_flight", record, lambda request_id: False) == 1
    assert "the next start tries again request_id=r_0" in log.getvalue()
    assert recover(tmp_path / "in_flight", recorded.append, lambda request_id: False) == 1
    assert [(each.request_id, each.output_blake3) for each in recorded] == [("r_1", None), ("r_0", "cd" * 32)]


def test_a_receipt_that_the_spool_has_after_all_is_not_tried_for_ever(
    journal: Journal, tmp_path: Path
) -> None:
    journal.write(0, under_way("r_0"))

    def record(completion: Completion) -> None:
        raise sqlite3.IntegrityError("UNIQUE constraint failed: spooled.request_id")

    assert recover(tmp_path / "in_flight", record, lambda request_id: False) == 0
    assert noted(journal) == []


@pytest.fixture
def serving_agent(agent: AgentProcess, runtime: FakeRuntime) -> AgentProcess:
    agent.configure(runtime="vllm", runtime_url=runtime.url, models=[], concurrency=2)
    return agent


def started(agent: AgentProcess, console: ConsoleForAgents) -> tuple[int, str]:
    """Start the agent. Returns its port and its gateways' key when it serves its runtime's model."""
    beats = len(console.heartbeats)
    agent.start()
    console.wait_for(
        lambda: len(console.heartbeats) > beats and console.heartbeats[-1]["models"] == ["llama3.1"]
    )
    port = int(agent.config["listen"].rpartition(":")[2])
    return port, gateway_key(secret_of(console.nodes["macbook-001"].node_token))


def noted_up_to(pieces: int, agent: AgentProcess) -> None:
    """Wait until the agent has noted that so many pieces were delivered, which it does just afterwards."""
    journal = Journal(agent.state_dir / "in_flight", most=0)
    deadline = time.monotonic() + 10
    while [request.tokens_output for request in noted(journal)] != [pieces]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    journal.close()


def receipts(console: ConsoleForAgents) -> dict[str, dict[str, Any]]:
    return {request_id: json.loads(raw) for (_, request_id), raw in console.receipts.items()}


def test_the_whole_agent_serves_a_runtime_and_delivers_the_receipt(
    serving_agent: AgentProcess, console: ConsoleForAgents
) -> None:
    port, key = started(serving_agent, console)
    assert console.heartbeats[-1]["metrics"]["runtime_up"] is True
    assert console.heartbeats[-1]["metrics"]["requests_running"] == 0
    with RawClient(port, key=key) as client:
        client.post(
            CHAT,
            {"model": "llama3.1", "messages": MESSAGES, "stream": True},
            {"X-Jatevo-Request-Id": "r_1"},
        )
        assert b"[DONE]" in client.read_to_end()
    console.wait_for_receipt("r_1", 10)
    assert receipts(console)["r_1"]["tokens_output"] == 4
    serving_agent.terminate()


@pytest.mark.parametrize("pieces", [0, 2, 4])
def test_a_stream_cut_off_by_kill_nine_has_one_receipt_for_what_was_delivered(
    serving_agent: AgentProcess, console: ConsoleForAgents, runtime: FakeRuntime, pieces: int
) -> None:
    port, key = started(serving_agent, console)
    runtime.script = Script(pause_before=pieces if pieces < 4 else -1)
    with RawClient(port, key=key) as client:
        client.post(
            CHAT,
            {"model": "llama3.1", "messages": MESSAGES, "stream": True},
            {"X-Jatevo-Request-Id": "r_cut"},
        )
        assert runtime.paused.wait(10)
        client.read_pieces(1 + pieces)  # the first has the role only
        noted_up_to(pieces, serving_agent)
        serving_agent.kill()
    delivered = "".join(["Hel", "lo", " wor", "ld"][:pieces])
    started(serving_agent, console)
    console.wait_for_receipt("r_cut", 10)
    receipt = receipts(console)["r_cut"]
    assert (receipt["outcome"], receipt["tokens_output"]) == ("error", pieces)
    assert receipt["output_hash"] == blake3_of(delivered.encode())
    serving_agent.terminate()
    assert list(receipts(console)) == ["r_cut"]


def test_a_completed_stream_keeps_its_one_receipt_over_kill_nine(
    serving_agent: AgentProcess, console: ConsoleForAgents
) -> None:
    port, key = started(serving_agent, console)
    console.stop()  # so that the receipt is still in the spool
    with RawClient(port, key=key) as client:
        client.post(
            CHAT,
            {"model": "llama3.1", "messages": MESSAGES, "stream": True},
            {"X-Jatevo-Request-Id": "r_ok"},
        )
        assert b"[DONE]" in client.read_to_end()
    serving_agent.kill()
    console.start()
    started(serving_agent, console)
    console.wait_for_receipt("r_ok", 10)
    serving_agent.terminate()
    assert "outcome" not in receipts(console)["r_ok"]
    assert list(receipts(console)) == ["r_ok"]
