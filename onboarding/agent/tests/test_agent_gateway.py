"""The gateway in front of a runtime: what the client gets, and the one receipt of each request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_runtime import FakeRuntime, Script
from jatevo_agent.wire.canonical import canonicalize
from jatevo_agent.wire.schema import check_fields
from jatevo_agent.wire.signing import verify
from serving_node import MESSAGES, ServingNode, blake3_of, events, text_of


def test_a_streamed_completion_has_one_right_receipt(serving: ServingNode) -> None:
    answer = serving.ask(stream=True, headers={"X-Jatevo-Request-Id": "r_1", "X-Jatevo-Hedged": "true"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-jatevo-request-id"] == "r_1"
    assert answer.headers["x-jatevo-node-id"] == "gpu-7"
    assert text_of(answer.text) == "Hello world"
    assert answer.text.endswith("data: [DONE]\n\n")
    receipt = serving.receipt()
    assert verify(receipt, bytes(serving.signing_key.verify_key))
    assert check_fields(receipt, now=receipt["ts_end"]) == []
    stated: dict[str, Any] = {
        "request_id": "r_1",
        "node_id": "gpu-7",
        "model_id": "llama3.1",
        "tokens_input": 9,
        "tokens_output": 4,
        "hedged": True,
        "cache_hit": False,
        "finish": "stop",
        "usage_source": "runtime",
        "output_hash": blake3_of(b"Hello world"),
        "prompt_hash": blake3_of(canonicalize(MESSAGES)),
        "s3_checkpoints": [],
    }
    assert {name: receipt[name] for name in stated} == stated
    assert "outcome" not in receipt


def test_a_plain_completion_has_one_right_receipt(serving: ServingNode) -> None:
    answer = serving.ask()
    assert answer.json()["choices"][0]["message"]["content"] == "Hello world"
    receipt = serving.receipt()
    assert receipt["request_id"] == answer.headers["x-jatevo-request-id"]
    assert (receipt["tokens_input"], receipt["tokens_output"], receipt["finish"]) == (9, 4, "stop")
    assert receipt["output_hash"] == blake3_of(b"Hello world")
    assert receipt["p95_ms"] > 0
    assert check_fields(receipt, now=receipt["ts_end"]) == []


@pytest.mark.parametrize("stream", [True, False])
def test_the_older_completions_are_served_too(serving: ServingNode, stream: bool) -> None:
    answer = serving.client.post(
        "/v1/completions", json={"model": "llama3.1", "prompt": "Hé", "stream": stream, "echo": False}
    )
    assert "Hel" in answer.text
    receipt = serving.receipt()
    assert receipt["prompt_hash"] == blake3_of("Hé".encode())
    assert receipt["output_hash"] == blake3_of(b"Hello world")
    assert receipt["tokens_output"] == 4


def test_embeddings_have_input_tokens_only(serving: ServingNode, runtime: FakeRuntime) -> None:
    runtime.script = Script(usage={"prompt_tokens": 7, "total_tokens": 7})
    answer = serving.client.post("/v1/embeddings", json={"model": "llama3.1", "input": ["a", "b"]})
    assert answer.json()["data"][0]["embedding"] == [0.5]
    receipt = serving.receipt()
    assert (receipt["tokens_input"], receipt["tokens_output"]) == (7, 0)
    assert receipt["usage_source"] == "runtime"
    assert "output_hash" not in receipt


def test_models_are_listed_under_their_normal_names(serving: ServingNode) -> None:
    assert [model["id"] for model in serving.client.get("/v1/models").json()["data"]] == ["llama3.1"]


def test_a_piece_reaches_the_client_before_the_runtime_sends_the_next(
    serving: ServingNode, runtime: FakeRuntime
) -> None:
    runtime.script = Script(pause_before=2)
    with serving.stream() as lines:
        assert lines.text_until(2) == "Hello"  # the runtime waits for the test
        runtime.go_on()
        assert lines.rest() == " world"


def test_the_request_reaches_the_runtime_as_it_was_meant(serving: ServingNode, runtime: FakeRuntime) -> None:
    serving.ask(
        model="LLAMA3.1:latest",
        stream=True,
        stream_options={"x": 1},
        temperature=0.5,
        messages=[{"role": "user", "content": "hé 😀"}],
    )
    assert runtime.requests[0] == {
        "model": "llama3.1",
        "stream": True,
        "stream_options": {"x": 1, "include_usage": True},
        "temperature": 0.5,
        "messages": [{"role": "user", "content": "hé 😀"}],
    }
    assert "authorization" not in runtime.headers[0]
    assert not any(name.startswith("x-jatevo") for name in runtime.headers[0])


@pytest.mark.parametrize("asked", [True, False])
def test_the_usage_chunk_is_only_for_clients_that_ask(serving: ServingNode, asked: bool) -> None:
    answer = serving.ask(stream=True, stream_options={"include_usage": True} if asked else None)
    stated = [event for event in events(answer.text) if event != "[DONE]" and event.get("usage")]
    assert len(stated) == int(asked)
    assert serving.receipt()["usage_source"] == "runtime"


def test_no_end_is_seen_before_the_receipt_is_on_disk(serving: ServingNode, runtime: FakeRuntime) -> None:
    """While the receipt is being written, the client has all the text and nothing that tells the end."""
    seen, whole = serving.seen_before_the_receipt(stream=True)
    assert b'"ld"' in seen
    assert b'"stop"' not in seen
    assert b"[DONE]" not in seen
    assert b"[DONE]" in whole


def test_no_end_of_a_plain_answer_is_seen_before_the_receipt_is_on_disk(serving: ServingNode) -> None:
    seen, whole = serving.seen_before_the_receipt()
    assert b"Hello world" in seen
    assert seen == whole[:-1]
    assert json.loads(whole.partition(b"\r\n\r\n")[2])["choices"]


def test_text_and_finish_in_one_chunk_are_told_apart(serving: ServingNode, runtime: FakeRuntime) -> None:
    """TGI ends so. The text must be delivered before the receipt, and the finish after it."""
    runtime.script = Script(finish_with_text=True)
    seen, whole = serving.seen_before_the_receipt(stream=True)
    assert b'"ld"' in seen
    assert b'"stop"' not in seen
    assert whole.count(b'"ld"') == 1
    assert whole.count(b'"finish_reason":"stop"') == 1
    assert serving.receipt()["output_hash"] == blake3_of(b"Hello world")


@pytest.mark.parametrize(
    "script",
    [
        Script(line_end="\r\n"),
        Script(line_end="\r"),
        Script(one_write=True),
        Script(done=False),
        Script(raw_before={1: b": keep-alive\n\n", 2: b"event: message\nid: 7\nretry: 10\n\n"}),
        Script(raw_before={0: b'data: {"choices": []}\n\n'}),
    ],
)
def test_every_dialect_of_events_is_understood(
    serving: ServingNode, runtime: FakeRuntime, script: Script
) -> None:
    runtime.script = script
    serving.ask(stream=True)
    receipt = serving.receipt()
    assert receipt["output_hash"] == blake3_of(b"Hello world")
    assert (receipt["tokens_output"], receipt["finish"]) == (4, "stop")


def test_several_choices_are_hashed_in_the_order_of_their_index(
    serving: ServingNode, runtime: FakeRuntime
) -> None:
    def chunk(index: int, text: str, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
        return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"

    raw = chunk(1, "B") + chunk(0, "A") + chunk(1, "", "length") + chunk(0, "a") + chunk(0, "", "stop")
    runtime.script = Script(pieces=[], raw_before={}, finish=None, prefix=raw)
    answer = serving.ask(stream=True, n=2)
    assert [event["choices"][0]["index"] for event in events(answer.text)[1:-1]] == [1, 0, 1, 0, 0]
    receipt = serving.receipt()
    assert receipt["output_hash"] == blake3_of(b"AaB")
    assert receipt["finish"] == "stop"


def test_a_cached_prompt_is_a_cache_hit(serving: ServingNode, runtime: FakeRuntime) -> None:
    for number, cached in enumerate((4, 5)):
        details = {"cached_tokens": cached}
        runtime.script = Script(
            usage={"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": details}
        )
        serving.ask(stream=bool(number))
    assert [receipt["cache_hit"] for receipt in serving.receipts()] == [False, True]


@pytest.mark.parametrize(
    ("usage", "tokens", "source"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 0}, (9, 0), "runtime"),
        ({"prompt_tokens": 0, "completion_tokens": 4}, (0, 4), "runtime"),
        (None, (5, 4), "counted"),
        ({}, (5, 4), "counted"),
        ({"completion_tokens": 6}, (5, 6), "counted"),
        ({"prompt_tokens": 9}, (9, 4), "counted"),
        ({"prompt_tokens": 9, "completion_tokens": None}, (9, 4), "counted"),
        ({"prompt_tokens": -1, "completion_tokens": True}, (5, 4), "counted"),
        ({"prompt_tokens": "9", "completion_tokens": 1e9}, (5, 4), "counted"),
    ],
)
def test_an_explicit_zero_counts_and_what_is_missing_is_counted(
    serving: ServingNode, runtime: FakeRuntime, usage: Any, tokens: tuple[int, int], source: str
) -> None:
    runtime.script = Script(usage=usage)
    serving.ask(stream=True)
    receipt = serving.receipt()
    assert (receipt["tokens_input"], receipt["tokens_output"]) == tokens
    assert receipt["usage_source"] == source


def test_a_plain_answer_without_usage_is_counted_by_the_runtimes_tokeniser(
    serving: ServingNode, runtime: FakeRuntime
) -> None:
    runtime.script = Script(usage=None, pieces=["one two three"])
    serving.ask()
    receipt = serving.receipt()
    assert (receipt["tokens_input"], receipt["tokens_output"]) == (5, 3)
    assert receipt["usage_source"] == "counted"


def test_without_a_tokeniser_tokens_are_estimated_from_the_length(
    serving: ServingNode, runtime: FakeRuntime
) -> None:
    runtime.shape = "unknown"
    runtime.script = Script(usage=None, pieces=["x" * 41])
    serving.ask()
    receipt = serving.receipt()
    assert (receipt["tokens_input"], receipt["tokens_output"]) == (22 // 4, 10)


def test_a_prompt_of_token_ids_is_counted_exactly(serving: ServingNode, runtime: FakeRuntime) -> None:
    runtime.script = Script(usage=None)
    serving.client.post("/v1/completions", json={"model": "llama3.1", "prompt": [1, 2, 3], "stream": True})
    assert serving.receipt()["tokens_input"] == 3


def test_a_long_prompt_is_served(serving: ServingNode, runtime: FakeRuntime) -> None:
    messages = [{"role": "user", "content": "x" * 1_000_000}]
    assert serving.ask(messages=messages).status_code == 200
    assert runtime.requests[0]["messages"] == messages


def test_an_unknown_model_is_404_and_has_no_receipt(serving: ServingNode, runtime: FakeRuntime) -> None:
    answer = serving.ask(model="gpt-9")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "model_not_found")
    assert serving.receipts() == []
    assert runtime.requests == []


def test_completed_for_the_console_with_and_without_a_receipt(serving: ServingNode) -> None:
    challenged = serving.gateway.complete("Say hello", 16)
    assert (challenged.text, challenged.tokens_output, challenged.model_id) == ("Hello world", 4, "llama3.1")
    assert challenged.first_token_ms is not None
    assert "blake3:" + challenged.output_blake3 == blake3_of(b"Hello world")
    assert serving.receipts() == []
    serving.gateway.complete("Say hello", 16, request_id="r_proof")
    assert serving.receipt()["request_id"] == "r_proof"
