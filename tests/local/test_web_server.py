import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jatevo.local import checks
from jatevo.local.web_server import MAX_BODY_BYTES, QUICK_PATHS, THREADS, WebServer

StartResponse = Callable[..., Any]


class SlowApplication:
    """Answers when asked to. `entered` is set while a request waits."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.may_answer = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith(QUICK_PATHS):
            self.entered.set()
            self.waiting.release()
            self.may_answer.wait(10)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]


@pytest.fixture
def application() -> SlowApplication:
    return SlowApplication()


@pytest.fixture
def claimed() -> Iterator[socket.socket]:
    with checks.claim_port(0) as bound:
        yield bound


@pytest.fixture
def server(application: SlowApplication, claimed: socket.socket) -> Iterator[WebServer]:
    made = WebServer(application, claimed)
    made.start()
    yield made
    application.may_answer.set()
    made.stop(grace_seconds=5)
    assert not made.running()


def get(port: int, path: str = "/") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def raw(port: int, request: bytes) -> tuple[int, http.client.HTTPMessage, Any]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.headers, json.loads(answer.read())


def test_port_is_refused_until_the_server_starts(
    application: SlowApplication, claimed: socket.socket
) -> None:
    made = WebServer(application, claimed)
    with pytest.raises(ConnectionRefusedError):
        get(claimed.getsockname()[1])
    application.may_answer.set()
    made.start()
    assert get(claimed.getsockname()[1]) == (200, b"done")
    made.stop(grace_seconds=5)


def test_running_request_is_finished_before_the_server_stops(
    application: SlowApplication, claimed: socket.socket, server: WebServer
) -> None:
    port = claimed.getsockname()[1]
    answers: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: answers.append(get(port)))
    client.start()
    assert application.entered.wait(10)
    stopper = threading.Thread(target=server.stop, kwargs={"grace_seconds": 10})
    stopper.start()
    application.may_answer.set()
    client.join(10)
    stopper.join(10)
    assert answers == [(200, b"done")]
    assert not server.running()
    with pytest.raises(ConnectionRefusedError):
        get(port)


def test_request_that_never_ends_does_not_hold_up_the_stop(
    application: SlowApplication, claimed: socket.socket, server: WebServer
) -> None:
    client = socket.create_connection(claimed.getsockname(), timeout=10)
    with client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert application.entered.wait(10)
        server.stop(grace_seconds=0.2)
        assert not server.running()


@pytest.mark.parametrize(
    ("request_bytes", "status", "error_type"),
    [
        (
            f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode(),
            413,
            "too_large",
        ),
        (b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"a" * 300_000 + b"\r\n\r\n", 431, "too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: nonsense\r\n\r\n", 400, "invalid_json"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "invalid_json"),
        (b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", 400, "invalid_request"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "invalid_json"),
    ],
)
def test_what_the_server_refuses_by_itself_has_the_error_shape(
    claimed: socket.socket, server: WebServer, request_bytes: bytes, status: int, error_type: str
) -> None:
    got, headers, body = raw(claimed.getsockname()[1], request_bytes)
    assert got == status
    assert headers["Content-Type"] == "application/json"
    assert "Server" not in headers
    assert body["error"]["type"] == error_type
    assert body["error"]["request_id"] == headers["x-request-id"]


def test_what_asks_no_store_is_answered_while_all_threads_wait(
    application: SlowApplication,
    claimed: socket.socket,
    server: WebServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = claimed.getsockname()[1]
    with ThreadPoolExecutor(THREADS + 4) as crowd:
        waiting = [crowd.submit(get, port) for _ in range(THREADS + 4)]
        for _ in range(THREADS):
            assert application.waiting.acquire(timeout=10)
        for path in ("/healthz", "/static/dist/app.css", "/favicon.ico"):
            assert get(port, path) == (200, b"done")
        assert not any(answer.done() for answer in waiting)
        application.may_answer.set()
        assert all(answer.result() == (200, b"done") for answer in waiting)
    assert caplog.records == [], "waitress would log each of those that wait"
