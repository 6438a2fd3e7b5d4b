"""What a validator sends to the console, and how it reads the answers."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from jatevo.wire.keys import public_key_text
from jatevo.wire.webhook import MalformedTokenError, secret_of
from nodes.rules.probes import ProbeKind
from nodes.validator.console import (
    Assignments,
    ConsoleError,
    NotAcceptedError,
    ProbeReport,
    TokenRefusedError,
    ValidatorClient,
    parse_assignments,
    report,
    signed_headers,
)
from nodes.validator.faults import FailureDetail
from nodes.validator.probe import Latency, Result
from tests.nodes.validator.fake_console import TOKEN, VALIDATOR_ID, assignment, console
from tests.nodes.validator.loopback_node import NODE_ID, PUBLIC_KEY, closed_port

T = TypeVar("T")
AT = 1_760_000_000.25
REPORT = ProbeReport("msg_1", b'{"node_id": "macbook-001"}')


def using(url: str, act: Callable[[ValidatorClient], Awaitable[T]], token: str = TOKEN) -> T:
    async def run() -> T:
        client = ValidatorClient(url=url, validator_id=VALIDATOR_ID, token=token)
        try:
            return await act(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def sent(result: Result, kind: ProbeKind = ProbeKind.HEALTH) -> dict[str, object]:
    body = json.loads(report(NODE_ID, kind, result, at=AT).body)
    assert isinstance(body, dict)
    return body


@pytest.mark.parametrize("body", [b"", b'{"ok": true}', "ü".encode()])
def test_published_library_verifies_the_headers(body: bytes) -> None:
    headers = signed_headers(
        secret=secret_of(TOKEN), validator_id=VALIDATOR_ID, message_id="msg_1", at=time.time(), body=body
    )
    Webhook(TOKEN).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(TOKEN).verify(body + b" ", headers, json_parse=False)


@pytest.mark.parametrize("token", ["", "whsec_", "whsec_!!", "MTIzNA==", "whsec_ü"])
def test_token_of_another_shape_is_refused(token: str) -> None:
    with pytest.raises(MalformedTokenError):
        secret_of(token)


def test_passed_health_probe_is_reported() -> None:
    assert sent(Result()) == {"node_id": NODE_ID, "kind": "health", "ok": True, "ts": AT}


def test_failed_probe_is_reported_with_its_reason() -> None:
    told = sent(Result(cause=FailureDetail.STATUS, detail="status is not 200 (503)"))
    assert (told["ok"], told["fault"], told["detail"]) == (False, "bad_status", "status is not 200 (503)")


def test_latency_is_reported_in_milliseconds() -> None:
    told = sent(Result(latency=Latency(p50_ms=1.23456, p95_ms=4.0, p99_ms=5.5)), ProbeKind.LATENCY)
    assert (told["p50"], told["p95"], told["p99"]) == (1.235, 4.0, 5.5)
    assert "tps" not in told


def test_assignments_are_fetched_and_probes_posted() -> None:
    async def act(client: ValidatorClient) -> Assignments:
        await client.post(report(NODE_ID, ProbeKind.HEALTH, Result(), at=AT))
        return await client.assignments()

    with console() as server:
        server.assignments = [assignment("http://1.1.1.1", status="active", due=("latency", "audit"))]
        answer = using(server.url, act)
    (node,) = answer.nodes
    assert (node.target.node_id, node.target.endpoint, node.target.public_key) == (
        NODE_ID,
        "http://1.1.1.1",
        PUBLIC_KEY,
    )
    assert (node.status, node.due) == ("active", {ProbeKind.LATENCY, ProbeKind.AUDIT})
    assert server.probes == [{"node_id": NODE_ID, "kind": "health", "ok": True, "ts": AT}]
    assert not set(server.message_ids["GET"]) & set(server.message_ids["POST"])


def test_wrong_token_is_refused() -> None:
    with console() as server, pytest.raises(TokenRefusedError, match="401 invalid_token"):
        using(server.url, lambda client: client.assignments(), token="whsec_AAAA")


@pytest.mark.parametrize(
    ("status", "error_type", "headers", "error", "retry_after_seconds"),
    [
        (429, "rate_limited", {"Retry-After": "7"}, ConsoleError, 7.0),
        (429, "rate_limited", {"Retry-After": "soon"}, ConsoleError, None),
        (503, "unavailable", {}, ConsoleError, None),
        (500, "internal", {}, ConsoleError, None),
        (403, "forbidden", {}, TokenRefusedError, None),
        (404, "not_found", {}, NotAcceptedError, None),
        (422, "invalid_request", {}, NotAcceptedError, None),
        (302, "", {"Location": "/login/"}, NotAcceptedError, None),
    ],
)
def test_error_says_whether_to_try_again(
    status: int,
    error_type: str,
    headers: dict[str, str],
    error: type[Exception],
    retry_after_seconds: float | None,
) -> None:
    with console() as server:
        server.troubles["POST"] = [(status, error_type, headers)]
        with pytest.raises(error) as caught:
            using(server.url, lambda client: client.post(REPORT))
    assert getattr(caught.value, "retry_after_seconds", None) == retry_after_seconds


def test_replay_means_that_the_probe_had_arrived() -> None:
    with console() as server:
        server.troubles["POST"] = [(409, "replayed_request", {})]
        using(server.url, lambda client: client.post(REPORT))
    assert server.message_ids["POST"] == [REPORT.message_id]  # it was asked once, and that was enough


def test_console_that_is_down_may_be_tried_again() -> None:
    with pytest.raises(ConsoleError, match="cannot be reached"):
        using(f"http://127.0.0.1:{closed_port()}", lambda client: client.assignments())


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"{}", b'{"assignments": 1}', b"[" * 100_000, b"\xff"]
)
def test_answer_that_is_no_list_of_assignments_is_not_understood(content: bytes) -> None:
    with pytest.raises(ConsoleError):
        parse_assignments(content)


@pytest.mark.parametrize(
    "change",
    [
        {"node_id": 1},
        {"endpoint": None},
        {"status": []},
        {"public_key": "ed25519:AAAA"},
        {"public_key": "AAAA"},
        {"due": "health"},
    ],
)
def test_malformed_assignment_is_left_out_and_the_rest_kept(change: dict[str, object]) -> None:
    good = assignment("http://1.1.1.1")
    answer = parse_assignments(json.dumps({"assignments": [None, {**good, **change}, good]}).encode())
    assert [node.target.endpoint for node in answer.nodes] == ["http://1.1.1.1"]


KEY_TEXT = public_key_text(PUBLIC_KEY)


@pytest.mark.parametrize(
    ("named", "understood"),
    [
        ([KEY_TEXT], (PUBLIC_KEY,)),
        (["ed25519:AAAA", 7, None, KEY_TEXT], (PUBLIC_KEY,)),
        ([], ()),
        ("ed25519:AAAA", ()),
        (None, ()),
    ],
)
def test_former_keys_are_read_where_they_are_keys(named: object, understood: tuple[bytes, ...]) -> None:
    rows = [assignment("http://1.1.1.1") | {"former_keys": named}]
    (node,) = parse_assignments(json.dumps({"assignments": rows}).encode()).nodes
    assert node.target.former_keys == understood


def test_unknown_kind_of_probe_is_left_out() -> None:
    rows = [assignment("http://1.1.1.1", due=("health", "inference"))]
    (node,) = parse_assignments(json.dumps({"assignments": rows}).encode()).nodes
    assert node.due == {ProbeKind.HEALTH}


@pytest.mark.parametrize(
    ("wish", "seconds"), [("2", 2.0), ("0.5", 0.5), ("0", None), ("-1", None), ("true", None), ("NaN", None)]
)
def test_wish_to_be_polled_less_often_is_read(wish: str, seconds: float | None) -> None:
    content = '{"assignments": [], "poll_after_s": ' + wish + "}"
    assert parse_assignments(content.encode()).poll_after_seconds == seconds
