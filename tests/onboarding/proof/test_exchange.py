"""One completion from a node's gateway, and everything that a node can do instead of answering."""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from jatevo.wire.endpoints import IPAddress
from nodes.validator.address import AddressPolicy
from onboarding.proof.exchange import MAX_BYTES, MOST_TOKENS, Answer, ExchangeError, Question, ask
from tests.onboarding.proof.fake_node import DONE, STREAM, FakeNode, chunk, running

PRIVATE = AddressPolicy(allow_private=True)


def asked(node: FakeNode, *, policy: AddressPolicy = PRIVATE, whole_seconds: float = 10.0) -> Answer:
    question = Question(node.url, "jvg_key", "llama3.1", "proof_1")
    return asyncio.run(ask(question, policy, whole_seconds=whole_seconds))


def problem(node: FakeNode, **how: float) -> str:
    with running(node), pytest.raises(ExchangeError) as caught:
        asked(node, **how)  # type: ignore[arg-type]
    return str(caught.value)


def test_it_asks_like_a_gateway_and_counts_the_answer() -> None:
    with running(FakeNode()) as node:
        answer = asked(node)
    assert answer.tokens_output == 5
    assert 0 < answer.first_token_ms <= answer.total_ms
    [(path, headers, body)] = node.asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer jvg_key"
    assert headers["X-Jatevo-Request-Id"] == "proof_1"
    assert (body["model"], body["stream"]) == ("llama3.1", True)


def test_an_answer_cut_anywhere_is_put_together_again() -> None:
    whole = b"".join(STREAM)
    with running(FakeNode(parts=tuple(whole[i : i + 1] for i in range(len(whole))))) as node:
        assert asked(node).tokens_output == 5


def test_tokens_that_nobody_states_are_unknown() -> None:
    with running(FakeNode(parts=(chunk("Blue."), DONE))) as node:
        assert asked(node).tokens_output is None


@pytest.mark.parametrize(
    ("stated", "counted"),
    [
        (0, 0),
        (MOST_TOKENS, MOST_TOKENS),
        (MOST_TOKENS + 1, None),
        (10**400, None),
        (-1, None),
        (True, None),
        (5.0, None),
        ("5", None),
        (None, None),
    ],
)
def test_a_number_of_tokens_that_cannot_be_is_unknown(stated: object, counted: int | None) -> None:
    """The node states it, and the database stores it."""
    usage = chunk(usage={"completion_tokens": stated})
    with running(FakeNode(parts=(chunk("Blue."), usage, DONE))) as node:
        answer = asked(node)
    assert (answer.tokens_output, type(answer.tokens_output)) == (counted, type(counted))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ((chunk("Blue"),), "ended before it was complete"),
        ((chunk(), DONE), "had no text"),
        ((b"<html>\n",), "ended before it was complete"),
        ((b"data: <html>\n\n",), "not a stream of completions"),
        ((chunk("Blue"), b'data: {"error": {"message": "out of memory"}}\n\n'), "runtime failed"),
        ((chunk("x" * MAX_BYTES),), "too long"),
        ((b"data: " + b"[" * 100_000 + b"\n",), "not a stream of completions"),
    ],
)
def test_what_is_no_answer_is_said(parts: tuple[bytes, ...], sentence: str) -> None:
    assert sentence in problem(FakeNode(parts=parts))


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, b"", "does not know this console's key"),
        (403, b"", "allow_from"),
        (404, b"<html>", "not with the agent's gateway"),
        (429, b"", "busy"),
        (503, b'{"error": {"message": "The spool is full."}}', "status 503: The spool is full."),
        (500, b'{"error": {"message": "a\\u202eb"}}', "status 500."),
        (302, b"", "status 302."),
        (500, b"[" * 4096, "status 500."),
    ],
)
def test_a_refusal_says_what_to_do(status: int, body: bytes, sentence: str) -> None:
    assert sentence in problem(FakeNode(status=status, parts=(body,)))


def test_a_node_that_never_ends_is_given_up() -> None:
    node = FakeNode(parts=(chunk("Blue"),), hangs=True)
    assert "did not finish its answer within 0.2 s" in problem(node, whole_seconds=0.2)


def test_nobody_at_the_endpoint() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ExchangeError, match="Nothing answers at"):
        asked(FakeNode(url=url))


def test_without_leave_no_private_address_is_asked() -> None:
    with running(FakeNode()) as node:
        with pytest.raises(ExchangeError, match="not an address on the internet"):
            asked(node, policy=AddressPolicy())
        assert node.asked == []


def test_a_name_with_a_private_address_is_not_asked_either() -> None:
    async def resolve(host: str, port: int) -> Sequence[IPAddress]:
        return [ip_address("93.184.216.34"), ip_address("169.254.169.254")]

    question = Question("http://node.example:80", "jvg_key", "llama3.1", "proof_1")
    with pytest.raises(ExchangeError, match="not an address on the internet"):
        asyncio.run(ask(question, AddressPolicy(), resolve=resolve))


def test_a_node_without_an_endpoint_is_said() -> None:
    with pytest.raises(ExchangeError, match="no endpoint"):
        asked(FakeNode(url=""))
