"""The health endpoint: the answer that the contract specifies, and JSON errors."""

import base64
import errno
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from fake_console import free_port
from jatevo_agent.clock import ConsoleClock
from jatevo_agent.config import Config, Runtime
from jatevo_agent.exits import CannotRun, ExitCode
from jatevo_agent.gateway import listener
from jatevo_agent.gateway.gateway import Gateway
from jatevo_agent.key_change import CurrentKey
from nacl.signing import SigningKey, VerifyKey

KEY = SigningKey.generate()
NONCE = "00112233445566778899AAbbccddeeff"


CONFIG = Config(
    console="https://console.example",
    node_id="gpu-7",
    region="eu-west",
    runtime=Runtime.VLLM,
    listen_host="127.0.0.1",
    listen_port=11435,
    endpoint="http://127.0.0.1:11435",
    state_dir=Path("/nowhere"),
    enrollment_token=None,
    node_token=None,
    wallet=None,
    models=(),
    concurrency=1,
    green_energy_proof_url=None,
    simulate_per_second=1.0,
)
MOST_CONNECTIONS = listener.SPARE_CONNECTIONS + 2 * CONFIG.concurrency


def gateway_at(host: str, port: int) -> Gateway:
    config = replace(CONFIG, listen_host=host, listen_port=port)
    return Gateway(config, "gpu-7", CurrentKey(KEY), ConsoleClock())


@dataclass(frozen=True)
class ServedHealth:
    port: int
    client: httpx.Client


@pytest.fixture
def endpoint() -> Iterator[ServedHealth]:
    port = free_port()
    server = gateway_at("127.0.0.1", port)
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield ServedHealth(port, client)
    server.close()


def test_answers_the_nonce_with_the_nodes_signature(endpoint: ServedHealth) -> None:
    answer = endpoint.client.get("/healthz", params={"nonce": NONCE})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert (document["node_id"], document["nonce"]) == ("gpu-7", NONCE)
    signature = base64.b64decode(document["signature"].removeprefix("ed25519:"), validate=True)
    VerifyKey(bytes(KEY.verify_key)).verify(f"jatevo-health:gpu-7:{NONCE}".encode(), signature)


@pytest.mark.parametrize(
    ("listen", "asked"),
    [("::1", ["[::1]"]), ("::", ["[::1]", "127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"])],  # noqa: S104
)
def test_answers_at_every_address_that_it_listens_on(listen: str, asked: list[str]) -> None:
    port = free_port()
    server = gateway_at(listen, port)
    server.start()
    try:
        for host in asked:
            answer = httpx.get(f"http://{host}:{port}/healthz?nonce={NONCE}", trust_env=False)
            assert answer.json()["node_id"] == "gpu-7"
    finally:
        server.close()


def test_every_address_means_ipv4_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    bound_in = listener._bound_in

    def no_ipv6(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return bound_in(family, host, port)

    monkeypatch.setattr(listener, "_bound_in", no_ipv6)
    port = free_port()
    server = gateway_at("::", port)
    server.start()
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/healthz?nonce={NONCE}", trust_env=False)
        assert answer.status_code == 200
    finally:
        server.close()
    with pytest.raises(CannotRun):
        gateway_at("::1", port)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?nonce=",
        "?nonce=abc",
        f"?nonce={NONCE}0",
        f"?nonce={NONCE[:-1]}g",
        f"?nonce={NONCE}&nonce={NONCE}",
        f"?nonce={NONCE}%0a",
        "?nonce=" + "%D9%A1" * 32,  # digits to Unicode, not to us
        f"?other={NONCE}",
    ],
)
def test_a_bad_nonce_is_400(endpoint: ServedHealth, query: str) -> None:
    answer = endpoint.client.get(f"/healthz{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request"


@pytest.mark.parametrize(
    "path", ["/", "/healthz/", "/state.json", "/../state.json", "/v1/", f"/x?nonce={NONCE}"]
)
def test_anything_else_is_404(endpoint: ServedHealth, path: str) -> None:
    answer = endpoint.client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_are_405(endpoint: ServedHealth, method: str) -> None:
    assert endpoint.client.request(method, f"/healthz?nonce={NONCE}").status_code == 405


def test_a_request_that_is_no_http_gets_json_too(endpoint: ServedHealth) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/banana\r\n\r\n")
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    assert re.match(rb"HTTP/1\.[01] 400 ", answer)
    assert b'"error"' in answer


def test_idle_connections_do_not_lock_validators_out(endpoint: ServedHealth) -> None:
    """Connections over the limit are closed, until another one has closed."""
    address = ("127.0.0.1", endpoint.port)
    with ExitStack() as held:
        for _ in range(MOST_CONNECTIONS):
            held.enter_context(socket.create_connection(address, timeout=5))
        with socket.create_connection(address, timeout=5) as one_too_many:
            assert one_too_many.recv(1) == b""
    for _ in range(200):
        try:
            assert endpoint.client.get("/healthz", params={"nonce": NONCE}).status_code == 200
            return
        except httpx.TransportError:
            threading.Event().wait(0.01)  # a place is freed as soon as its thread sees the end
    raise AssertionError("no place became free")


@pytest.mark.parametrize("sent", [b"", b"GET /healthz?nonce="])
def test_a_connection_that_asks_nothing_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(listener, "IDLE_SECONDS", 0.1)
    port = free_port()
    server = gateway_at("127.0.0.1", port)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(sent)
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    finally:
        server.close()


def test_a_taken_address_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CannotRun, match="cannot be used") as caught:
            gateway_at("127.0.0.1", taken.getsockname()[1])
    assert caught.value.exit_code is ExitCode.TRY_LATER
