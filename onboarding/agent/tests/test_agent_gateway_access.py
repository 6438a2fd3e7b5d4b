"""Who may ask the gateway, how many at once, and with what."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import httpx
import pytest
from fake_runtime import FakeRuntime, Script
from jatevo_agent.gateway import routes
from jatevo_agent.gateway.access import Access
from jatevo_agent.gateway.settings import AllowFrom, network_in
from serving_node import CHAT, KEY, MESSAGES, RawClient, ServingNode

NONCE = "00112233445566778899AAbbccddeeff"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer .",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY.upper()}",
        "Bearer \udcff",
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/models"])
def test_without_the_key_nothing_is_served(
    serving: ServingNode, runtime: FakeRuntime, path: str, authorization: str | None
) -> None:
    headers: dict[bytes, bytes] = {}
    if authorization is not None:
        headers[b"Authorization"] = authorization.encode("utf-8", "surrogateescape")
    method = "GET" if path == "/v1/models" else "POST"
    answer = httpx.request(method, serving.url + path, headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_token")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert runtime.requests == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_every_key_of_the_node_is_accepted(serving: ServingNode, scheme: str) -> None:
    serving.gateway.open(keys=["other" * 5, KEY], books=serving.books(), journal_path=None)
    for key in (KEY, "other" * 5):
        answer = httpx.get(
            f"{serving.url}/v1/models", headers={"Authorization": f"{scheme} {key}"}, trust_env=False
        )
        assert answer.status_code == 200


def test_before_registration_only_validators_are_answered(runtime: FakeRuntime, tmp_path: Path) -> None:
    node = ServingNode(tmp_path, runtime.url)
    node.gateway.start()
    try:
        assert node.client.get("/healthz", params={"nonce": NONCE}).status_code == 200
        refused = node.ask()
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "node_starting")
        assert int(refused.headers["retry-after"]) > 0
    finally:
        node.close()


def test_a_node_that_simulates_serves_no_requests(runtime: FakeRuntime, tmp_path: Path) -> None:
    node = ServingNode(tmp_path, runtime.url, simulate=1, models=["llama3.1"])
    node.start()
    try:
        assert node.ask().status_code == 503
        assert node.gateway.figures() == {}
        assert node.gateway.models() == ["llama3.1"]
        assert runtime.requests == []
    finally:
        node.close()


@pytest.mark.parametrize(
    ("allow", "host", "expected"),
    [
        ([], "198.51.100.9", True),
        (["203.0.113.0/24"], "203.0.113.77", True),
        (["203.0.113.0/24"], "::ffff:203.0.113.77", True),
        (["203.0.113.0/24"], "198.51.100.9", False),
        (["203.0.113.0/24"], "127.0.0.1", True),
        (["203.0.113.0/24"], "::1", True),
        (["203.0.113.0/24"], "", False),
        (["203.0.113.0/24"], "2001:db8::1", False),
        (["2001:db8::/32"], "2001:db8::1%eth0", True),
        (["console"], "198.51.100.9", False),
        (["console"], "192.0.2.5", True),
        (["203.0.113.0/24", "console"], "192.0.2.5", True),
        (["203.0.113.0/24"], "192.0.2.5", False),
    ],
)
def test_only_the_named_networks_may_connect(allow: list[str], host: str, expected: bool) -> None:
    networks = tuple(network_in(item) for item in allow if item != "console")
    access = Access(AllowFrom(networks, "console" in allow))
    access.use_published([ipaddress.ip_network("192.0.2.0/24")])
    assert access.may_connect(host) is expected


def test_an_address_that_may_not_connect_is_told_so(
    serving: ServingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Access, "may_connect", lambda self, host: host != "127.0.0.1")
    for path in (f"/healthz?nonce={NONCE}", "/metrics", "/v1/models"):
        answer = serving.client.get(path)
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "forbidden")


def test_the_bound_of_requests_at_once(runtime: FakeRuntime, tmp_path: Path) -> None:
    node = ServingNode(tmp_path, runtime.url, concurrency=1)
    node.start()
    try:
        runtime.script = Script(pause_before=2)
        with node.stream() as lines:
            lines.text_until(2)
            assert node.gateway.figures()["requests_running"] == 1
            answer = node.ask()
            assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limited")
            assert int(answer.headers["retry-after"]) >= 1
            runtime.go_on()
            lines.rest()
        node.wait_until_idle()
        runtime.script = Script()
        assert node.ask().status_code == 200
        assert len(node.receipts()) == 2
    finally:
        node.close()


def test_a_dispatched_request_is_served_once(serving: ServingNode, runtime: FakeRuntime) -> None:
    headers = {"X-Jatevo-Request-Id": "r_1"}
    assert serving.ask(headers=headers).status_code == 200
    serving.spool.settle([1], [])  # delivered
    answer = serving.ask(headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "request_id_used")
    assert len(runtime.requests) == 1


def test_a_dispatched_request_is_not_served_twice_at_once(serving: ServingNode, runtime: FakeRuntime) -> None:
    runtime.script = Script(pause_before=0)
    with RawClient(serving.port) as client:
        client.post(CHAT, {"model": "llama3.1", "messages": MESSAGES}, {"X-Jatevo-Request-Id": "r_1"})
        assert runtime.paused.wait(10)
        assert serving.ask(headers={"X-Jatevo-Request-Id": "r_1"}).status_code == 409
        runtime.go_on()
        client.read_to_end()
    assert [receipt["request_id"] for receipt in serving.receipts()] == ["r_1"]


@pytest.mark.parametrize("request_id", ["a b", "x" * 129, "..", "é"])
def test_a_malformed_dispatched_id_is_refused(serving: ServingNode, request_id: str) -> None:
    answer = serving.ask(headers={"X-Jatevo-Request-Id": request_id.encode()})
    assert answer.status_code == 400
    assert serving.receipts() == []


def test_a_suggested_id_is_taken_if_it_is_sane_and_new(serving: ServingNode) -> None:
    answers = [serving.ask(headers={"X-Request-Id": given}) for given in ("req-1", "req-1", "a b", "")]
    ids = [answer.headers["x-jatevo-request-id"] for answer in answers]
    assert ids[0] == "req-1"
    assert len(set(ids)) == 4
    assert [receipt["request_id"] for receipt in serving.receipts()] == ids


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"model": "llama3.1"}',
        b'{"messages": []}',
        b'{"model": 7, "messages": []}',
        b'{"model": "llama3.1", "messages": "x"}',
        b'{"model": "llama3.1", "messages": [], "stream": "yes"}',
        b'{"model": "llama3.1", "messages": [], "stream": true, "stream_options": 1}',
        b'{"model": "llama3.1", "messages": [NaN]}',
        b'{"model": "llama3.1", "messages": [9007199254740993]}',
        b'{"model": "llama3.1", "messages": ["\\ud800"]}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_cannot_be_understood_is_400(serving: ServingNode, body: bytes) -> None:
    answer = serving.client.post(CHAT, content=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request")
    assert serving.receipts() == []


def test_a_body_that_is_too_long_is_413(serving: ServingNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MOST_BODY_BYTES", 100)
    assert serving.ask(user="x" * 200).status_code == 413
    chunked = serving.client.post(CHAT, content=iter([b"x" * 60, b"x" * 60]))
    assert chunked.status_code == 413


def test_a_compressed_body_is_refused(serving: ServingNode) -> None:
    assert serving.ask(headers={"Content-Encoding": "gzip"}).status_code == 415


def test_a_body_that_does_not_come_is_given_up(serving: ServingNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "BODY_SECONDS", 0.2)
    with RawClient(serving.port) as client:
        client.socket.sendall(
            f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 9\r\n\r\n".encode()
        )
        assert b" 408 " in client.read_to_end()


def test_without_room_for_receipts_nothing_is_served(serving: ServingNode, runtime: FakeRuntime) -> None:
    serving.full = "The spool is full."
    answer = serving.ask()
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "The spool is full.")
    assert runtime.requests == []


def test_metrics_are_for_this_machine_and_for_gateways(
    serving: ServingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.ask(stream=True)
    serving.ask(model="gpt-9")
    text = httpx.get(f"{serving.url}/metrics", trust_env=False).text
    for line in (
        'jatevo_agent_requests_total{outcome="ok"} 1',
        'jatevo_agent_refusals_total{reason="model_not_found"} 1',
        "jatevo_agent_tokens_output_total 4",
        "jatevo_agent_runtime_up 1",
        "jatevo_agent_requests_running 0",
        'jatevo_agent_first_token_seconds_bucket{le="+Inf"} 1',
    ):
        assert line in text.splitlines()
    monkeypatch.setattr(routes, "is_loopback", lambda host: False)
    assert httpx.get(f"{serving.url}/metrics", trust_env=False).status_code == 401
    assert serving.client.get("/metrics").status_code == 200
