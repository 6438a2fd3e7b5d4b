"""Challenges of the console, answered through heartbeats and the runtime."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from agent_process import AgentProcess
from blake3 import blake3
from fake_console import ConsoleForAgents, LoseAnswer, error
from fake_runtime import FakeRuntime
from jatevo_agent.challenge import Challenges, parse_challenge
from jatevo_agent.key_change import CurrentKey
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from registered_node import RegisteredNode
from serving_node import NODE_ID, ServingNode

PROMPT = "Reply with the word: canary-4711"


class Answering:
    """A node that answers the fake console's challenges with its gateway's runtime."""

    def __init__(self, node: RegisteredNode, serving: ServingNode, console: ConsoleForAgents) -> None:
        self.console = console
        self.key = CurrentKey(node.signing_key)
        self.clock = node.clock
        self.stopping = threading.Event()
        self.challenges = Challenges(
            node_id=NODE_ID,
            node_token=node.token,
            key=self.key,
            console=node.http,
            clock=node.clock,
            complete=serving.gateway.complete,
            stopping=self.stopping,
        )

    def to(self, said: dict[str, Any]) -> bool:
        challenge = parse_challenge(said, now=self.clock.now())
        assert challenge is not None
        return self.challenges.answer(challenge)


@pytest.fixture
def answering(node: RegisteredNode, serving: ServingNode, console: ConsoleForAgents) -> Iterator[Answering]:
    yield Answering(node, serving, console)


def is_signed(answer: dict[str, Any], nonce: str, key: bytes) -> bool:
    signature = base64.b64decode(answer["signature"].removeprefix("ed25519:"), validate=True)
    try:
        VerifyKey(key).verify(f"jatevo-health:{NODE_ID}:{nonce}".encode(), signature)
    except BadSignatureError:
        return False
    return True


def test_a_nonce_is_signed_with_the_nodes_key(answering: Answering) -> None:
    said = answering.console.asks()
    assert answering.to(said)
    (answer,) = answering.console.challenge_answers
    assert set(answer) == {"node_id", "id", "signature"}
    assert is_signed(answer, said["nonce"], bytes(answering.key.signing_key.verify_key))


def test_a_key_that_has_changed_meanwhile_is_used(answering: Answering) -> None:
    said = answering.console.asks()
    answering.key.signing_key = SigningKey.generate()
    answering.to(said)
    assert is_signed(
        answering.console.challenge_answers[0], said["nonce"], bytes(answering.key.signing_key.verify_key)
    )


def test_a_prompt_goes_through_the_runtime_and_makes_no_receipt(
    answering: Answering, runtime: FakeRuntime, serving: ServingNode
) -> None:
    assert answering.to(answering.console.asks(prompt=PROMPT))
    (answer,) = answering.console.challenge_answers
    assert answer["output_hash"] == "blake3:" + blake3(b"Hello world").hexdigest()
    assert answer["tokens_output"] == 4
    assert answer["first_token_ms"] > 0
    (request,) = runtime.requests
    assert (request["messages"][0]["content"], request["max_tokens"]) == (PROMPT, 16)
    assert serving.receipts() == []


def test_a_proof_makes_the_receipt_that_was_asked_for(answering: Answering, serving: ServingNode) -> None:
    assert answering.to(answering.console.asks(prompt=PROMPT, request_id="prove-1"))
    receipt = serving.receipt()
    assert receipt["request_id"] == "prove-1"
    assert receipt["output_hash"] == answering.console.challenge_answers[0]["output_hash"]


def test_prompt_and_output_are_not_logged(answering: Answering, log: StringIO, runtime: FakeRuntime) -> None:
    answering.to(answering.console.asks(prompt=PROMPT))
    runtime.script.status = 500
    answering.to(answering.console.asks(prompt=PROMPT))
    assert "canary" not in log.getvalue()
    assert "Hello world" not in log.getvalue()


def test_a_runtime_that_fails_leaves_an_answer_without_an_output(
    answering: Answering, runtime: FakeRuntime, log: StringIO
) -> None:
    runtime.script.status = 500
    assert answering.to(answering.console.asks(prompt=PROMPT))
    assert set(answering.console.challenge_answers[0]) == {"node_id", "id", "signature"}
    assert "the runtime did not answer the console's prompt" in log.getvalue()


def test_a_runtime_that_hangs_does_not_keep_the_answer(answering: Answering, runtime: FakeRuntime) -> None:
    runtime.script.pause_before = 0
    assert answering.to(answering.console.asks(seconds=3.5, prompt=PROMPT))
    assert "output_hash" not in answering.console.challenge_answers[0]


def test_an_answer_that_got_lost_is_sent_again_and_counts_once(answering: Answering) -> None:
    answering.console.next("challenge", LoseAnswer())
    assert answering.to(answering.console.asks())
    assert len(answering.console.challenge_answers) == 1
    assert len(answering.console.bodies("challenge")) == 2


def test_a_busy_console_is_asked_again(answering: Answering) -> None:
    answering.console.next("challenge", error(503, "unavailable"), error(429, "rate_limited", retry_after=0))
    assert answering.to(answering.console.asks())
    assert len(answering.console.challenge_answers) == 1


def test_a_refusal_is_not_repeated(answering: Answering, log: StringIO) -> None:
    answering.console.next("challenge", error(422, "invalid_request", "This challenge has expired."))
    assert not answering.to(answering.console.asks())
    assert len(answering.console.bodies("challenge")) == 1
    assert "This challenge has expired." in log.getvalue()


def test_an_expired_challenge_is_left_alone(answering: Answering) -> None:
    assert not answering.to(answering.console.asks(seconds=-1))
    assert answering.console.bodies("challenge") == []


def test_a_console_that_stays_away_is_given_up_when_the_challenge_expires(answering: Answering) -> None:
    said = answering.console.asks(seconds=1.2)
    answering.console.stop()
    assert not answering.to(said)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": 7},
        {"id": "x" * 200},
        {"nonce": "0" * 31},
        {"nonce": "0" * 33},
        {"nonce": "zz" * 16},
        {"nonce": "0" * 31 + "\n"},
        {"nonce": None},
        {"prompt": 5},
        {"prompt": "x" * 2001},
        {"request_id": 5},
        {"request_id": "two words"},
        {"request_id": ""},
    ],
)
def test_a_malformed_challenge_is_ignored(changes: dict[str, Any], answering: Answering) -> None:
    said = {**answering.console.asks(), **changes}
    assert parse_challenge(said, now=0) is None
    answering.challenges.take(said)
    answering.challenges.take("challenge")
    answering.challenges.take([])


def test_challenges_beyond_the_queue_are_left_out(answering: Answering, log: StringIO) -> None:
    for _ in range(6):
        answering.challenges.take(answering.console.asks())
    assert log.getvalue().count("a challenge is left out") == 2


def test_a_challenge_comes_with_a_heartbeat(node: RegisteredNode, console: ConsoleForAgents) -> None:
    taken: list[object] = []
    heartbeat = node.heartbeat(on_challenge=taken.append)
    said = console.asks()
    heartbeat.beat()
    heartbeat.beat()
    assert taken == [said]


def test_the_agent_answers_while_it_runs(
    agent: AgentProcess, console: ConsoleForAgents, runtime: FakeRuntime
) -> None:
    agent.configure(runtime="vllm", runtime_url=runtime.url, models=[])
    agent.start()
    console.wait_for(lambda: console.heartbeats)
    said = console.asks(prompt=PROMPT, request_id="prove-2")
    console.wait_for(lambda: console.challenge_answers)
    assert console.challenge_answers[0]["id"] == said["id"]
    assert console.challenge_answers[0]["tokens_output"] == 4
    console.wait_for_receipt("prove-2", 15)
