"""Requests that do not go well: each has exactly one receipt, which states what was delivered and no more."""

from __future__ import annotations

import errno
import json
import threading
import time
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from agent_process import AgentProcess
from fake_console import ConsoleForAgents
from fake_runtime import FakeRuntime, Script
from jatevo_agent.agent import Agent
from jatevo_agent.config import load_config
from jatevo_agent.exits import ExitCode
from jatevo_agent.gateway import exchange as exchange_module
from jatevo_agent.gateway import sinks
from jatevo_agent.gateway import stream as stream_module
from jatevo_agent.gateway.answers import Said, document_in, said_by
from jatevo_agent.gateway.delivered import Delivered
from jatevo_agent.gateway.journal import Journal
from jatevo_agent.gateway.long_work import LONG_BYTES
from jatevo_agent.gateway.serving import CannotComplete
from jatevo_agent.runtimes import watch as watch_module
from jatevo_agent.runtimes.watch import RuntimeWatch
from serving_node import CHAT, MESSAGES, RawClient, ServingNode, blake3_of, events

PIECES = ["Hel", "lo", " wor", "ld"]


@pytest.mark.parametrize("pieces", range(5))
def test_a_client_that_leaves_gets_a_receipt_for_what_it_got(
    serving: ServingNode, runtime: FakeRuntime, pieces: int
) -> None:
    runtime.script = Script(pause_before=pieces if pieces < 4 else -1)
    with serving.stream() as lines:
        text = lines.text_until(pieces)
        assert runtime.paused.wait(10)
    runtime.wait_for(lambda: runtime.gone == 1)
    (receipt,) = serving.wait_for_receipts()
    assert receipt["outcome"] == "cancelled"
    assert (receipt["tokens_input"], receipt["tokens_output"]) == (5, pieces)
    assert receipt["usage_source"] == "counted"
    assert receipt["output_hash"] == blake3_of(text.encode()) == blake3_of("".join(PIECES[:pieces]).encode())
    assert "finish" not in receipt
    serving.wait_until_idle()


def test_a_client_that_leaves_a_plain_request_ends_the_runtimes_work(
    serving: ServingNode, runtime: FakeRuntime
) -> None:
    runtime.script = Script(pause_before=0)
    with RawClient(serving.port) as client:
        client.post(CHAT, {"model": "llama3.1", "messages": MESSAGES})
        assert runtime.paused.wait(10)
    runtime.wait_for(lambda: runtime.gone == 1)
    (receipt,) = serving.wait_for_receipts()
    assert (receipt["outcome"], receipt["tokens_output"]) == ("cancelled", 0)
    assert receipt["output_hash"] == blake3_of(b"")


@pytest.mark.parametrize("pieces", range(5))
def test_a_runtime_killed_in_mid_stream_is_an_error_with_what_was_delivered(
    serving: ServingNode, runtime: FakeRuntime, pieces: int
) -> None:
    runtime.script = Script(pause_before=pieces if pieces < 4 else -1)
    with serving.stream() as lines:
        lines.text_until(pieces)
        assert runtime.paused.wait(10)
        runtime.stop()
        assert lines.rest() == ""
    assert (lines.errors, lines.done) == (["runtime_error"], False)
    receipt = serving.receipt()
    assert (receipt["outcome"], receipt["tokens_output"]) == ("error", pieces)
    assert receipt["output_hash"] == blake3_of("".join(PIECES[:pieces]).encode())


@pytest.mark.parametrize("stream", [True, False])
def test_a_runtime_that_hangs_up_before_its_answer_is_502(
    serving: ServingNode, runtime: FakeRuntime, stream: bool
) -> None:
    runtime.script = Script(hang_up=True)
    answer = serving.ask(stream=stream)
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "runtime_error")
    receipt = serving.receipt()
    assert (receipt["outcome"], receipt["tokens_output"]) == ("error", 0)


def test_a_runtime_that_is_down_is_503_at_once_and_served_again_when_it_is_back(
    serving: ServingNode, runtime: FakeRuntime
) -> None:
    runtime.stop()
    first = serving.ask()  # the gateway learns by this request, or has noticed by itself
    assert first.status_code in {502, 503}
    serving.wait_until(lambda: serving.gateway.figures()["runtime_up"] is False)
    assert serving.gateway.models() == ["llama3.1"]  # the last known
    answer = serving.ask()
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "runtime_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert len(serving.receipts()) == int(first.status_code == 502)
    runtime.start()
    serving.wait_until(lambda: serving.gateway.figures()["runtime_up"] is True)
    assert serving.ask().status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"data: {broken\n\n",
        b"data: 7\n\n",
        b'data: {"choices": 7}\n\n',
        b'data: {"choices": [7]}\n\n',
        b'data: {"error": {"message": "CUDA out of memory"}}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"\xff\xfe\n\ndata: \xff\n\n",
    ],
)
def test_a_malformed_stream_ends_as_an_error(serving: ServingNode, runtime: FakeRuntime, raw: bytes) -> None:
    runtime.script = Script(raw_before={2: raw})
    answer = serving.ask(stream=True)
    assert events(answer.text)[-1]["error"]["type"] == "runtime_error"
    assert "[DONE]" not in answer.text
    assert "CUDA" not in answer.text
    receipt = serving.receipt()
    assert receipt["outcome"] == "error"
    assert receipt["tokens_output"] <= 2


def test_a_stream_without_an_end_of_its_event_is_cut(
    serving: ServingNode, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jatevo_agent.gateway.events.MOST_EVENT_BYTES", 1000)
    runtime.script = Script(raw_before={2: b"data: " + b"x" * 2000})
    serving.ask(stream=True)
    assert serving.receipt()["outcome"] == "error"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"choices": []}', b'{"error": "x"}'])
def test_a_malformed_plain_answer_is_502(serving: ServingNode, runtime: FakeRuntime, body: bytes) -> None:
    runtime.script = Script(raw_body=body)
    answer = serving.ask()
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "runtime_error")
    receipt = serving.receipt()
    assert (receipt["outcome"], receipt["tokens_output"]) == ("error", 0)


def test_an_answer_that_is_too_long_is_not_kept(
    serving: ServingNode, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "MOST_ANSWER_BYTES", 100)
    assert serving.ask().status_code == 502
    assert serving.receipt()["outcome"] == "error"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", [400, 404, 422, 429])
def test_a_request_that_the_runtime_refuses_is_passed_on_without_a_receipt(
    serving: ServingNode, runtime: FakeRuntime, status: int, stream: bool
) -> None:
    runtime.script = Script(status=status)
    answer = serving.ask(stream=stream, headers={"X-Jatevo-Request-Id": "r_1"})
    assert (answer.status_code, answer.json()) == (status, runtime.script.error)
    assert serving.receipts() == []
    runtime.script = Script()
    assert serving.ask(headers={"X-Jatevo-Request-Id": "r_1"}).status_code == 200


def test_a_client_that_leaves_while_the_runtime_refuses_its_request_has_no_receipt(
    serving: ServingNode, runtime: FakeRuntime
) -> None:
    runtime.script = Script(status=422, pause_before=0)
    with RawClient(serving.port) as client:
        client.post(CHAT, {"model": "llama3.1", "messages": MESSAGES})
        assert runtime.paused.wait(10)
    runtime.wait_for(lambda: runtime.gone == 1)
    serving.wait_until_idle()
    assert serving.receipts() == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("status", "outcomes"), [(200, ["cancelled"]), (422, [])])
def test_a_client_that_is_gone_before_the_answer_begins(
    serving: ServingNode,
    runtime: FakeRuntime,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    outcomes: list[str],
    stream: bool,
) -> None:
    """Its leaving is not taken for a failure of the runtime."""
    start = sinks.ClientSocket.start

    async def start_too_late(client: sinks.ClientSocket, *arguments: Any) -> None:
        client.abort()
        await start(client, *arguments)

    monkeypatch.setattr(sinks.ClientSocket, "start", start_too_late)
    runtime.script = Script(status=status)
    with pytest.raises(httpx.TransportError):
        serving.ask(stream=stream)
    serving.wait_until_idle()
    assert [receipt["outcome"] for receipt in serving.receipts()] == outcomes


@pytest.mark.parametrize("status", [500, 503])
def test_an_error_of_the_runtime_is_passed_on_with_an_error_receipt(
    serving: ServingNode, runtime: FakeRuntime, status: int
) -> None:
    runtime.script = Script(status=status)
    answer = serving.ask(stream=True)
    assert (answer.status_code, answer.json()) == (status, runtime.script.error)
    assert serving.receipt()["outcome"] == "error"


def test_a_redirect_of_the_runtime_is_not_followed(serving: ServingNode, runtime: FakeRuntime) -> None:
    runtime.script = Script(status=302)
    answer = serving.ask()
    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "runtime_error")


def test_a_runtime_that_stalls_is_given_up(
    serving: ServingNode, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "SILENCE_SECONDS", 0.3)
    runtime.script = Script(pause_before=2)
    answer = serving.ask(stream=True)
    assert events(answer.text)[-1]["error"]["type"] == "runtime_error"
    receipt = serving.receipt()
    assert (receipt["outcome"], receipt["tokens_output"]) == ("error", 2)
    runtime.wait_for(lambda: runtime.gone == 1)
    runtime.script = Script(pause_before=0)
    assert serving.ask().status_code == 504


def test_a_slow_client_gets_everything(serving: ServingNode, runtime: FakeRuntime) -> None:
    """More than fits any buffer. The runtime is not read faster than the client reads."""
    pieces = [f"{number:<100000}" for number in range(100)]
    runtime.script = Script(pieces=pieces)
    with RawClient(serving.port, receive_buffer_bytes=65536) as client:
        client.post(CHAT, {"model": "llama3.1", "messages": MESSAGES, "stream": True})
        serving.wait_until(lambda: serving.gateway.figures()["requests_running"] == 1)
        whole = client.read_to_end()
    assert whole.count(b'"content"') == 1 + len(pieces)
    (receipt,) = serving.wait_for_receipts()
    assert "outcome" not in receipt
    assert receipt["output_hash"] == blake3_of("".join(pieces).encode())


def test_a_client_that_takes_nothing_is_cut_off_with_a_receipt_for_what_it_took(
    serving: ServingNode, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "SLOW_CLIENT_SECONDS", 0.3)
    runtime.script = Script(pieces=["x" * 100_000] * 200)
    with RawClient(serving.port, receive_buffer_bytes=4096) as client:
        client.post(CHAT, {"model": "llama3.1", "messages": MESSAGES, "stream": True})
        (receipt,) = serving.wait_for_receipts()
        assert receipt["outcome"] == "cancelled"
        assert 0 < receipt["tokens_output"] < 200
        runtime.wait_for(lambda: runtime.gone == 1)


def test_a_client_that_leaves_while_the_receipt_is_written_has_one_receipt(
    serving: ServingNode, runtime: FakeRuntime
) -> None:
    left = threading.Event()
    with RawClient(serving.port) as client:

        def leave() -> None:
            client.socket.close()
            left.set()
            time.sleep(0.1)  # until the gateway has noticed

        serving.before_record = leave
        client.post(CHAT, {"model": "llama3.1", "messages": MESSAGES, "stream": True})
        assert left.wait(10)
    (receipt,) = serving.wait_for_receipts()
    assert receipt["tokens_output"] == 4
    serving.wait_until_idle()
    assert len(serving.receipts()) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_without_a_receipt_on_disk_the_client_gets_no_end(serving: ServingNode, stream: bool) -> None:
    serving.broken_disk = True
    with RawClient(serving.port) as client:
        client.post(CHAT, {"model": "llama3.1", "messages": MESSAGES, "stream": stream})
        try:
            whole = client.read_to_end()
        except ConnectionResetError:
            whole = client.available_or_nothing()
    assert b"[DONE]" not in whole
    assert b'"finish_reason": "stop"' not in whole or not stream
    if not stream:
        with pytest.raises(ValueError, match=r"."):
            json.loads(whole.partition(b"\r\n\r\n")[2])
    assert serving.receipts() == []
    serving.broken_disk = False
    assert serving.ask().status_code == 200


def left_without_a_receipt(serving: ServingNode, runtime: FakeRuntime, pieces: int) -> None:
    """Let a client leave a stream after so many pieces while the disk is broken."""
    serving.broken_disk = True
    runtime.script = Script(pause_before=pieces)
    runtime.paused.clear()
    with serving.stream() as lines:
        lines.text_until(pieces)
        assert runtime.paused.wait(10)
    serving.wait_until_idle()
    serving.broken_disk = False
    runtime.script = Script()


def test_a_receipt_that_cannot_be_put_on_disk_is_written_at_the_next_start(
    serving: ServingNode, runtime: FakeRuntime, log: StringIO
) -> None:
    left_without_a_receipt(serving, runtime, 2)
    assert "a receipt cannot be put on disk" in log.getvalue()
    assert "lost" not in log.getvalue()
    assert "bug" not in log.getvalue()
    assert serving.ask(stream=True).status_code == 200  # with the same slot
    assert [receipt["tokens_output"] for receipt in serving.receipts()] == [4]
    serving.gateway.close()
    serving.recover()
    recovered = serving.receipts()[1]
    assert (recovered["outcome"], recovered["tokens_output"]) == ("error", 2)
    assert recovered["output_hash"] == blake3_of(b"Hello")
    serving.recover()
    assert len(serving.receipts()) == 2


def test_a_receipt_is_lost_if_as_many_wait_for_the_next_start_as_the_node_serves_at_once(
    runtime: FakeRuntime, tmp_path: Path, log: StringIO
) -> None:
    node = ServingNode(tmp_path, runtime.url, concurrency=1)
    node.start()
    try:
        for pieces in (1, 2):
            left_without_a_receipt(node, runtime, pieces)
        assert log.getvalue().count("a receipt is lost") == 1
        node.gateway.close()
        node.recover()
        assert node.receipt()["tokens_output"] == 1
    finally:
        node.close()


def test_a_prompt_of_the_console_whose_receipt_cannot_be_put_on_disk_is_not_completed(
    serving: ServingNode,
) -> None:
    serving.broken_disk = True
    with pytest.raises(CannotComplete, match="cannot write to its disk"):
        serving.gateway.complete("Say hello", 16, request_id="r_1")
    assert serving.receipts() == []


def test_the_figures_count_only_receipts_that_are_on_disk(serving: ServingNode) -> None:
    serving.broken_disk = True
    serving.ask(stream=True)
    serving.gateway.complete("Say hello", 16)
    serving.broken_disk = False
    serving.ask(stream=True)
    serving.wait_until_idle()
    figures = serving.client.get("/metrics").text
    assert 'jatevo_agent_requests_total{outcome="ok"} 1\n' in figures
    assert 'jatevo_agent_requests_total{outcome="unrecorded"} 2\n' in figures
    assert "jatevo_agent_tokens_input_total 9\n" in figures
    assert "jatevo_agent_tokens_output_total 4\n" in figures


def test_a_stopping_agent_ends_its_streams_with_receipts(serving: ServingNode, runtime: FakeRuntime) -> None:
    runtime.script = Script(pause_before=2)
    with serving.stream() as lines:
        lines.text_until(2)
        serving.gateway.stop()
        lines.rest()
    assert (lines.errors, lines.done) == (["node_stopped"], False)
    receipt = serving.receipt()
    assert (receipt["outcome"], receipt["tokens_output"]) == ("error", 2)
    assert serving.ask().status_code == 503
    assert len(serving.receipts()) == 1


async def fail_to_look(watch: RuntimeWatch, api: object) -> None:
    raise ZeroDivisionError


def test_a_gateway_that_fails_ends_its_streams_with_receipts(
    runtime: FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "SECONDS_BETWEEN_LOOKS", 0.05)
    node = ServingNode(tmp_path, runtime.url)
    node.start()
    runtime.script = Script(pause_before=2)
    try:
        with node.stream() as lines:
            lines.text_until(2)
            monkeypatch.setattr(RuntimeWatch, "look", fail_to_look)
            lines.rest()
        assert lines.errors == ["node_stopped"]
        assert (node.receipt()["outcome"], node.receipt()["tokens_output"]) == ("error", 2)
    finally:
        node.close()


def test_an_agent_whose_gateway_fails_ends_so_that_it_is_started_again(
    agent: AgentProcess,
    console: ConsoleForAgents,
    runtime: FakeRuntime,
    monkeypatch: pytest.MonkeyPatch,
    log: StringIO,
) -> None:
    monkeypatch.setattr(watch_module, "SECONDS_BETWEEN_LOOKS", 0.05)
    agent.configure(runtime="vllm", runtime_url=runtime.url, models=[])
    running = Agent(load_config(agent.config_path, {}))
    codes: list[ExitCode] = []
    thread = threading.Thread(target=lambda: codes.append(running.run()))
    thread.start()
    console.wait_for(lambda: console.heartbeats)
    monkeypatch.setattr(RuntimeWatch, "look", fail_to_look)
    thread.join(15)
    running.stop()
    thread.join()
    assert codes == [ExitCode.CRASHED]
    assert "the gateway failed" in log.getvalue()


def test_a_full_disk_under_the_journal_ends_no_stream(
    serving: ServingNode, monkeypatch: pytest.MonkeyPatch, log: StringIO
) -> None:
    def fail(journal: Journal, *args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Journal, "write", fail)
    monkeypatch.setattr(Journal, "clear", fail)
    assert serving.ask(stream=True).text.endswith("data: [DONE]\n\n")
    assert serving.receipt()["tokens_output"] == 4
    assert log.getvalue().count("cannot be noted on disk") == 1


def test_the_text_of_several_choices_is_hashed_once(
    serving: ServingNode, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their hash cannot grow with them, and to hash all text after each piece takes ever longer."""
    hashed: list[str] = []

    def text_blake3(delivered: Delivered) -> str:
        hashed.append(delivered.text)
        return "00" * 32

    monkeypatch.setattr(Delivered, "text_blake3", property(text_blake3))
    second = b'data: {"choices": [{"index": 1, "delta": {"content": "Bye"}}]}\n\n'
    runtime.script = Script(raw_before={0: second, 2: second, 3: second})
    assert serving.ask(stream=True, n=2).status_code == 200
    assert hashed == ["Hello worldByeByeBye"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_long_piece_of_json_is_read_in_another_thread(
    serving: ServingNode, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """Other streams go on meanwhile."""
    threads: dict[int, str] = {}

    def noting_document_in(data: bytes) -> dict[str, Any]:
        threads[len(data) // LONG_BYTES] = threading.current_thread().name
        return document_in(data)

    for module in (exchange_module, stream_module):
        monkeypatch.setattr(module, "document_in", noting_document_in)
    text = "x" * LONG_BYTES
    runtime.script = Script(pieces=["short", text] if stream else [text])
    assert serving.ask(stream=stream).status_code == 200
    assert serving.receipt()["output_hash"] == blake3_of(("short" + text if stream else text).encode())
    assert threads[1] != "gateway"
    assert threads.get(0, "gateway") == "gateway"


def test_a_bug_in_the_middle_of_a_stream_leaves_a_receipt_for_what_was_delivered(
    serving: ServingNode, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:

    def fail_at_the_third(document: dict[str, Any]) -> Said:
        said = said_by(document)
        if " wor" in said.texts.values():
            raise ZeroDivisionError
        return said

    monkeypatch.setattr(stream_module, "said_by", fail_at_the_third)
    runtime.script = Script(pause_before=2)
    with serving.stream() as lines:
        assert lines.text_until(2) == "Hello"
        runtime.go_on()
        with pytest.raises(httpx.RemoteProtocolError):
            lines.rest()
    receipt = serving.receipt()
    assert (receipt["outcome"], receipt["tokens_output"]) == ("error", 2)


def test_a_prompt_of_the_console_goes_to_a_model_that_takes_it(
    serving: ServingNode, runtime: FakeRuntime
) -> None:
    """The first one may be for embeddings only, and refuses a chat."""
    runtime.models = ["nomic-embed-text", "llama3.1"]
    serving.look_at_the_runtime()
    runtime.script = Script(refuse_model="nomic-embed-text")
    completed = serving.gateway.complete("Say hello", 16, request_id="r_1")
    assert (completed.text, completed.model_id) == ("Hello world", "llama3.1")
    assert serving.receipt()["model_id"] == "llama3.1"


def test_a_prompt_of_the_console_fails_in_words(serving: ServingNode, runtime: FakeRuntime) -> None:
    runtime.script = Script(status=500)
    with pytest.raises(CannotComplete, match="did not complete"):
        serving.gateway.complete("Say hello", 16)
    runtime.script = Script(pause_before=0)
    with pytest.raises(CannotComplete, match=r"took more than 0\.3 s"):
        serving.gateway.complete("Say hello", 16, timeout_seconds=0.3)
    runtime.wait_for(lambda: runtime.gone == 1)
    assert serving.receipts() == []
    runtime.script = Script()
    serving.gateway.complete("Say hello", 16, request_id="r_1")
    with pytest.raises(CannotComplete, match="has served"):
        serving.gateway.complete("Say hello", 16, request_id="r_1")


def test_a_prompt_of_the_console_ends_with_the_agent(serving: ServingNode, runtime: FakeRuntime) -> None:
    runtime.script = Script(pause_before=0)
    failures: list[CannotComplete] = []

    def complete() -> None:
        try:
            serving.gateway.complete("Say hello", 16, request_id="r_1")
        except CannotComplete as error:
            failures.append(error)

    asking = threading.Thread(target=complete)
    asking.start()
    assert runtime.paused.wait(10)
    serving.gateway.stop()
    asking.join(10)
    assert len(failures) == 1
    assert serving.receipt()["outcome"] == "error"
