"""Simulated requests from a router: the router decides, and the agent makes up only the answer."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from jatevo_agent.clock import ConsoleClock
from jatevo_agent.completion import Completion
from jatevo_agent.routed import Asked, RoutedRequests, RouterClient

NOW = 1_790_000_000.5
ASKED = Asked("r_1", "qwen3", 77, 3, True)


class FakeRouter(RouterClient):
    """Gives the same request each time, or none."""

    def __init__(self, asked: Asked | None) -> None:
        self.asked = asked
        self.answers: list[str] = []

    def next_request(self) -> Asked | None:
        return self.asked

    def answered(self, request_id: str) -> None:
        self.answers.append(request_id)


def served_by(router: RouterClient, **changes: Any) -> tuple[RoutedRequests, list[Completion]]:
    completions: list[Completion] = []
    stopping = threading.Event()

    def record(completion: Completion) -> None:
        completions.append(completion)
        stopping.set()

    requests = RoutedRequests(
        **{
            "rate_per_second": 1000.0,
            "models": ["llama3.1-8b"],
            "concurrency": 4,
            "clock": ConsoleClock(lambda: NOW),
            "router": router,
            "record": record,
            "stopping": stopping,
            "rng": random.Random(1),
            **changes,
        }
    )
    return requests, completions


def test_what_the_router_asked_for_is_what_is_served() -> None:
    requests, _ = served_by(FakeRouter(ASKED))
    routed = [each for each in (requests.begin() for _ in range(200)) if each and each.request_id == "r_1"]
    assert len(routed) > 150
    for completion in routed:
        assert (completion.model_id, completion.tokens_input, completion.hedged) == ("qwen3", 77, True)
        assert 0 <= completion.tokens_output <= 3
        assert completion.checkpoints == ()
        assert completion.started_at == NOW < completion.ended_at


def test_a_few_requests_come_past_the_router_and_are_not_hedged() -> None:
    requests, _ = served_by(FakeRouter(ASKED))
    begun = [each for each in (requests.begin() for _ in range(400)) if each]
    direct = [each for each in begun if each.request_id != "r_1"]
    assert 0.05 < len(direct) / len(begun) < 0.2
    assert not any(each.hedged for each in direct)


def test_without_a_request_from_the_router_nothing_is_made_up() -> None:
    requests, _ = served_by(FakeRouter(None))
    begun = [requests.begin() for _ in range(400)]
    assert 0 < sum(each is not None for each in begun) < 80


def test_the_router_hears_of_a_completed_request_after_its_receipt_is_kept() -> None:
    router = FakeRouter(Asked("r_1", "qwen3", 8, 1, False))
    requests, completions = served_by(router)
    requests.run()
    assert len(completions) == 1
    assert router.answers == [completions[0].request_id]


class _Answering(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.answer)  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (
            b'{"request_id":"r_1","model_id":"qwen3","tokens_input":77,"max_tokens":3,"hedged":true}',
            ASKED,
        ),
        (b'{"request_id":"r_1"}', None),
        (b"[1]", None),
        (b"<html>", None),
    ],
)
def test_an_answer_that_is_not_understood_is_no_request(
    server: ThreadingHTTPServer, answer: bytes, asked: Asked | None
) -> None:
    server.answer = answer  # type: ignore[attr-defined]
    router = RouterClient(f"http://127.0.0.1:{server.server_port}", "n-1", ["qwen3"])
    assert router.next_request() == asked
    router.answered("r_1")
    router.close()


def test_a_router_that_is_away_has_no_requests() -> None:
    router = RouterClient("http://127.0.0.1:1", "n-1", ["qwen3"])
    assert router.next_request() is None
    router.answered("r_1")
    router.close()
