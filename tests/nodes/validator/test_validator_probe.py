"""Probes of real servers on loopback, one for each kind of fault."""

import asyncio
import ipaddress
import json
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jatevo_agent.clock import ConsoleClock
from jatevo_agent.config import load_config
from jatevo_agent.gateway.gateway import Gateway
from jatevo_agent.key_change import CurrentKey
from nacl.signing import SigningKey

from jatevo.wire.endpoints import IPAddress, parse_endpoint
from nodes.rules.probes import ProbeFault
from nodes.validator.address import AddressPolicy
from nodes.validator.faults import FailureDetail
from nodes.validator.probe import (
    AUDIT_CHALLENGES,
    LATENCY_SAMPLES,
    MAX_ANSWER_BYTES,
    ProbeError,
    Prober,
    Result,
    Target,
    fresh_nonce,
    percentile,
    verified_signature,
)
from tests.nodes.validator.loopback_node import (
    NODE_ID,
    PUBLIC_KEY,
    SIGNING_KEY,
    NodeRequestHandler,
    Respond,
    closed_port,
    honest,
    honest_answer,
    prober,
    serving,
    signature,
    target,
)

OTHER_KEY = SigningKey(bytes(range(1, 33)))
NONCE = "0" * 32


def health(respond: Respond, timeout_seconds: float = 5.0) -> Result:
    with serving(respond) as server:
        return asyncio.run(prober(timeout_seconds).health(target(server.url)))


def latency_round(respond: Respond) -> Result:
    with serving(respond) as server:
        return asyncio.run(prober().latency(target(server.url)))


def saying(**changes: object) -> Respond:
    def respond(handler: NodeRequestHandler, nonce: str) -> None:
        handler.reply(json.dumps({**honest_answer(nonce), **changes}).encode())

    return respond


def body(content: bytes, status: int = 200, **headers: str) -> Respond:
    return lambda handler, nonce: handler.reply(content, status, **headers)


def drip(handler: NodeRequestHandler, nonce: str) -> None:
    """Sends a byte from time to time: each read succeeds, but the answer never ends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    ended = threading.Event()
    try:
        while not ended.wait(0.05):
            handler.wfile.write(b" ")
    except OSError:
        ended.set()


def endless(handler: NodeRequestHandler, nonce: str) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 65536)
    except OSError:
        handler.close_connection = True


def hang_up(handler: NodeRequestHandler, nonce: str) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def not_http(handler: NodeRequestHandler, nonce: str) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    handler.close_connection = True


def test_honest_node_passes() -> None:
    assert health(honest) == Result()


@pytest.mark.parametrize(
    ("respond", "cause"),
    [
        (saying(node_id="macbook-002"), FailureDetail.WRONG_NODE),
        (saying(node_id=None), FailureDetail.WRONG_NODE),
        (saying(nonce=NONCE), FailureDetail.WRONG_NONCE),
        (saying(nonce=7), FailureDetail.WRONG_NONCE),
        (saying(signature=signature(NODE_ID, NONCE)), FailureDetail.WRONG_SIGNATURE),
        (saying(signature=None), FailureDetail.WRONG_SIGNATURE),
        (saying(signature=["ed25519:"]), FailureDetail.WRONG_SIGNATURE),
        (saying(signature="ed25519:"), FailureDetail.WRONG_SIGNATURE),
        (saying(signature="ed25519:!!!!"), FailureDetail.WRONG_SIGNATURE),
        (saying(signature="ed25519:ü"), FailureDetail.WRONG_SIGNATURE),
        (saying(signature="rsa:" + signature(NODE_ID, NONCE)[8:]), FailureDetail.WRONG_SIGNATURE),
        (body(b""), FailureDetail.NOT_JSON),
        (body(b"<html>It works!</html>"), FailureDetail.NOT_JSON),
        (body(b"[]"), FailureDetail.NOT_JSON),
        (body(b"\xff\xfe"), FailureDetail.NOT_JSON),
        (body(b"[" * MAX_ANSWER_BYTES), FailureDetail.NOT_JSON),
        (body(b"\x1f\x8b\x08\x00", Content_Encoding="gzip"), FailureDetail.NOT_JSON),
        (body(b"{}", 500), FailureDetail.STATUS),
        (body(b"{}", 404), FailureDetail.STATUS),
        (body(b"", 204), FailureDetail.STATUS),
        (body(b"{}" + b" " * MAX_ANSWER_BYTES), FailureDetail.OVERSIZE),
        (endless, FailureDetail.OVERSIZE),
        (hang_up, FailureDetail.BROKEN),
        (not_http, FailureDetail.BROKEN),
    ],
)
def test_cause_is_named(respond: Respond, cause: FailureDetail) -> None:
    result = health(respond)
    assert not result.ok
    assert result.cause is cause
    assert result.detail.startswith(cause.value)


def test_signature_of_another_key_fails() -> None:
    def respond(handler: NodeRequestHandler, nonce: str) -> None:
        forged = {**honest_answer(nonce), "signature": signature(NODE_ID, nonce, OTHER_KEY)}
        handler.reply(json.dumps(forged).encode())

    assert health(respond).cause is FailureDetail.WRONG_SIGNATURE


def test_old_answer_sent_again_fails() -> None:
    assert health(saying(**honest_answer(NONCE))).cause is FailureDetail.WRONG_NONCE


def test_the_detail_states_the_status() -> None:
    assert health(body(b"", 503)).detail == "status is not 200 (503)"


def test_largest_answer_is_read() -> None:
    def respond(handler: NodeRequestHandler, nonce: str) -> None:
        handler.reply(json.dumps(honest_answer(nonce)).encode().ljust(MAX_ANSWER_BYTES))

    assert health(respond).ok


@pytest.mark.parametrize("location", ["http://169.254.169.254/", "/elsewhere", "http://[", "\x01"])
def test_redirect_is_not_followed(location: str) -> None:
    with serving(body(b"", 302, Location=location)) as server:
        result = asyncio.run(prober().health(target(server.url)))
    assert result.cause in (FailureDetail.STATUS, FailureDetail.BROKEN)
    assert len(server.seen.paths) == 1


def test_closed_port_is_refused() -> None:
    result = asyncio.run(prober().health(target(f"http://127.0.0.1:{closed_port()}")))
    assert result.cause is FailureDetail.REFUSED


def test_silent_server_times_out() -> None:
    release = threading.Event()

    def hang(handler: NodeRequestHandler, nonce: str) -> None:
        release.wait(5)

    result = health(hang, timeout_seconds=0.3)
    release.set()
    assert result.cause is FailureDetail.TIMEOUT


def test_drip_cannot_outlast_the_deadline() -> None:
    assert health(drip, timeout_seconds=0.4).cause is FailureDetail.TIMEOUT


def test_slow_name_counts_against_the_deadline() -> None:
    async def never(host: str, port: int) -> Sequence[IPAddress]:
        await asyncio.Event().wait()
        return []

    slow = Prober(AddressPolicy(), resolve=never, timeout_seconds=0.1)
    assert asyncio.run(slow.health(target("http://node.example"))).cause is FailureDetail.TIMEOUT


def test_plain_server_asked_for_tls_fails() -> None:
    with serving() as server:
        result = asyncio.run(prober().health(target(server.url.replace("http:", "https:"))))
    assert result.cause is FailureDetail.TLS


def test_refused_address_is_never_connected_to() -> None:
    with serving() as server:
        result = asyncio.run(Prober(AddressPolicy()).health(target(server.url)))
    assert result == Result(cause=FailureDetail.ADDRESS, detail="endpoint address is not allowed")
    assert server.seen.paths == []


@pytest.mark.parametrize(
    ("endpoint", "detail"),
    [
        ("", "endpoint is not a valid URL (none is registered)"),
        ("ftp://1.1.1.1", "endpoint is not a valid URL"),
    ],
)
def test_unusable_endpoint_fails(endpoint: str, detail: str) -> None:
    result = asyncio.run(prober().health(target(endpoint)))
    assert (result.cause, result.detail) == (FailureDetail.BAD_ENDPOINT, detail)


def test_name_is_resolved_once_and_the_checked_address_is_used() -> None:
    """A name that resolves differently after the check (DNS rebinding) has no effect."""
    asked = []

    async def rebinding(host: str, port: int) -> Sequence[IPAddress]:
        asked.append(host)
        return [ipaddress.ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

    with serving() as server:
        checked = Prober(AddressPolicy(allow_private=True), resolve=rebinding)
        result = asyncio.run(checked.latency(target(f"http://Node.Example:{server.port}/")))
    assert result.ok
    assert asked == ["node.example"]
    assert set(server.seen.hosts) == {f"node.example:{server.port}"}


def test_second_address_is_tried_when_the_first_is_dead() -> None:
    async def both(host: str, port: int) -> Sequence[IPAddress]:
        return [ipaddress.ip_address("127.0.0.9"), ipaddress.ip_address("127.0.0.1")]

    with serving() as server:  # listens only on 127.0.0.1
        checked = Prober(AddressPolicy(allow_private=True), resolve=both)
        assert asyncio.run(checked.health(target(f"http://node.example:{server.port}"))).ok


def test_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    assert health(honest).ok


def test_latency_times_signed_answers_on_one_connection() -> None:
    with serving() as server:
        result = asyncio.run(prober().latency(target(server.url)))
    assert result.latency is not None
    assert 0 < result.latency.p50_ms <= result.latency.p95_ms <= result.latency.p99_ms < 5000
    assert len(set(server.seen.clients)) == 1
    assert len(set(server.seen.paths)) == LATENCY_SAMPLES + 1


def test_latency_round_with_one_wrong_answer_has_no_figures() -> None:
    answered = []

    def respond(handler: NodeRequestHandler, nonce: str) -> None:
        answered.append(nonce)
        handler.reply(json.dumps(honest_answer(nonce if len(answered) < 4 else NONCE)).encode())

    result = latency_round(respond)
    assert (result.cause, result.latency) == (FailureDetail.WRONG_NONCE, None)


def audit(respond: Respond) -> tuple[Result, int]:
    with serving(respond) as server:
        result = asyncio.run(prober().audit(target(server.url)))
    return result, len(set(server.seen.paths))


def test_audit_asks_distinct_challenges_at_once() -> None:
    together = threading.Barrier(AUDIT_CHALLENGES, timeout=60)

    def respond(handler: NodeRequestHandler, nonce: str) -> None:
        together.wait()  # no answer before all requests have arrived
        honest(handler, nonce)

    assert audit(respond) == (Result(), AUDIT_CHALLENGES)


def test_audit_fails_on_one_wrong_answer_whatever_the_others_say() -> None:
    lock = threading.Lock()
    answered: list[str] = []

    def respond(handler: NodeRequestHandler, nonce: str) -> None:
        with lock:
            answered.append(nonce)
            place = len(answered)
        if place == 1:
            hang_up(handler, nonce)
        elif place == 2:
            handler.reply(
                json.dumps(honest_answer(nonce) | {"signature": signature(NODE_ID, NONCE)}).encode()
            )
        else:
            honest(handler, nonce)

    result, _ = audit(respond)
    assert result.cause is FailureDetail.WRONG_SIGNATURE


@pytest.mark.parametrize("kind", ["health", "audit", "latency"])
def test_answer_by_a_former_key_fails_and_is_no_false_answer(kind: str) -> None:
    """The console accepted the node's new key, but the node did not receive the answer."""
    now = SigningKey.generate()
    with serving() as server:
        whom = Target(NODE_ID, server.url, bytes(now.verify_key), former_keys=(bytes(32), PUBLIC_KEY))
        result = asyncio.run(getattr(prober(), kind)(whom))
    assert (result.ok, result.cause, result.is_false_answer) == (False, FailureDetail.FORMER_KEY, False)


def test_answer_by_a_strangers_key_is_false_whatever_keys_the_node_had() -> None:
    former = bytes(SigningKey.generate().verify_key)
    with serving() as server:
        whom = Target(NODE_ID, server.url, bytes(SigningKey.generate().verify_key), former_keys=(former,))
        result = asyncio.run(prober().audit(whom))
    assert (result.cause, result.is_false_answer) == (FailureDetail.WRONG_SIGNATURE, True)


def test_audit_fails_when_one_answer_serves_all() -> None:
    lock = threading.Lock()
    first: list[str] = []

    def respond(handler: NodeRequestHandler, nonce: str) -> None:
        with lock:
            first.append(nonce)
        honest(handler, first[0])

    result, _ = audit(respond)
    assert result.cause is FailureDetail.WRONG_NONCE


def test_nonces_are_32_hex_and_fresh() -> None:
    nonces = {fresh_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(len(nonce) == 32 and int(nonce, 16) >= 0 for nonce in nonces)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode)
)
def test_arbitrary_bodies_fail_as_a_fault_and_nothing_else(content: bytes) -> None:
    with pytest.raises(ProbeError):
        verified_signature(content, target=target("http://1.1.1.1"), nonce=NONCE)


@given(
    st.dictionaries(st.sampled_from(["node_id", "nonce", "signature"]), st.text() | st.none() | st.integers())
)
def test_arbitrary_members_fail_as_a_fault_and_nothing_else(changes: dict[str, object]) -> None:
    answer = {**honest_answer(NONCE), **changes}
    if answer == honest_answer(NONCE):
        assert verified_signature(json.dumps(answer).encode(), target=target(""), nonce=NONCE)
    else:
        with pytest.raises(ProbeError):
            verified_signature(json.dumps(answer).encode(), target=target(""), nonce=NONCE)


@pytest.mark.parametrize(
    ("samples", "share", "expected"),
    [
        ([10.0], 0.99, 10.0),
        ([10.0, 20.0], 0.50, 15.0),
        ([5.0, 1.0, 4.0, 2.0, 3.0], 0.50, 3.0),
        ([5.0, 1.0, 4.0, 2.0, 3.0], 0.95, 4.8),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 1.0, 5.0),
    ],
)
def test_percentile_interpolates(samples: list[float], share: float, expected: float) -> None:
    assert percentile(samples, share) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cause", "fault"),
    [
        (FailureDetail.WRONG_NODE, ProbeFault.BAD_ANSWER),
        (FailureDetail.WRONG_NONCE, ProbeFault.BAD_ANSWER),
        (FailureDetail.WRONG_SIGNATURE, ProbeFault.BAD_SIGNATURE),
        (FailureDetail.FORMER_KEY, ProbeFault.BAD_STATUS),
        (FailureDetail.TIMEOUT, ProbeFault.TIMEOUT),
        (FailureDetail.REFUSED, ProbeFault.REFUSED),
        (FailureDetail.STATUS, ProbeFault.BAD_STATUS),
        (FailureDetail.NOT_JSON, ProbeFault.BAD_STATUS),
        (FailureDetail.OURS, ProbeFault.VALIDATOR),
    ],
)
def test_every_cause_has_its_fault_in_the_contract(cause: FailureDetail, fault: ProbeFault) -> None:
    assert Result(cause=cause).fault is fault
    assert all(isinstance(each.fault, ProbeFault) for each in FailureDetail)


@pytest.mark.parametrize("listen", ["::1", "::"])
def test_the_reference_agent_on_ipv6_passes_every_probe(listen: str, tmp_path: Path) -> None:
    port = closed_port()
    config = tmp_path / "agent.yaml"
    config.write_text(
        f"console: https://console.example\nregion: eu-west\nruntime: vllm\nnode_id: {NODE_ID}\n"
        f'listen: "[{listen}]:{port}"\nendpoint: "http://[::1]:{port}"\nsimulate: 1\nmodels: [a]\n'
    )
    server = Gateway(load_config(config, {}), NODE_ID, CurrentKey(SIGNING_KEY), ConsoleClock())
    server.start()
    try:
        whom = target(str(parse_endpoint(f"http://[::1]:{port}")))
        probe = prober()
        results = [
            asyncio.run(probe.health(whom)), asyncio.run(probe.latency(whom)), asyncio.run(probe.audit(whom))
        ]  # fmt: skip
    finally:
        server.close()
    assert [result.detail for result in results] == ["", "", ""]
