"""The loop of the one-machine server, through its sockets."""

import http.client
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from waitress.channel import HTTPChannel

from jatevo.local import checks, event_loop, web_server
from jatevo.local.web_server import Channel, TwoQueues, WebServer

LARGE = b"0123456789" * 500_000
MAY_ANSWER = threading.Event()
IDLE = 100
REQUESTS = 30


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/wait":
        MAY_ANSWER.wait(10)
    body = LARGE if environ["PATH_INFO"] == "/large" else environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with checks.claim_port(0) as claimed:
        server = WebServer(application, claimed)
        server.start()
        yield claimed.getsockname()
        server.stop(grace_seconds=5)
        assert not server.running()


def answers(connection: socket.socket, count: int) -> list[bytes]:
    found = []
    with connection.makefile("rb") as lines:
        for _ in range(count):
            length = 0
            while (line := lines.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            found.append(lines.read(length))
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Channel]:
    """The connections that the loop asks whether they want to read."""
    asked: list[Channel] = []
    readable = Channel.readable

    def counted(channel: Channel) -> bool:
        asked.append(channel)
        return bool(readable(channel))

    monkeypatch.setattr(Channel, "readable", counted)
    return asked


def test_idle_connections_are_not_asked_for_each_request(
    address: tuple[str, int], asked: list[Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as opened:
        connections = [opened.enter_context(socket.create_connection(address, 10)) for _ in range(IDLE)]
        for connection in connections:
            connection.sendall(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answers(connection, 1) == [b"/first"]
        monkeypatch.setattr(event_loop, "SWEEP_SECONDS", 60.0)
        while asked:  # a sweep has begun before, or a thread is not done with its answer
            asked.clear()
            time.sleep(0.1)
        for _ in range(REQUESTS):
            connections[0].sendall(b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answers(connections[0], 1) == [b"/again"]
        own = connections[0].getsockname()
        assert {channel.addr for channel in asked} == {own}
        monkeypatch.undo()
        connections[0].sendall(b"GET /last HTTP/1.1\r\nHost: x\r\n\r\n")  # ends the long wait
        assert answers(connections[0], 1) == [b"/last"]


def test_connections_that_wait_for_their_answer_are_not_asked_either(
    address: tuple[str, int], asked: list[Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    MAY_ANSWER.clear()
    queued: list[HTTPChannel] = []
    add_task = TwoQueues.add_task

    def noted(queues: TwoQueues, task: HTTPChannel) -> None:
        add_task(queues, task)
        queued.append(task)

    monkeypatch.setattr(TwoQueues, "add_task", noted)
    with ExitStack() as opened:
        waiting = [opened.enter_context(socket.create_connection(address, 10)) for _ in range(IDLE)]
        for connection in waiting:
            connection.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        own = opened.enter_context(socket.create_connection(address, 10))
        monkeypatch.setattr(event_loop, "SWEEP_SECONDS", 60.0)
        while len(queued) < IDLE or asked:  # all wait, and the loop has seen that
            asked.clear()
            time.sleep(0.5)
        for _ in range(REQUESTS):
            own.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")  # which has threads of its own
            assert answers(own, 1) == [b"/healthz"]
        assert {channel.addr for channel in asked} == {own.getsockname()}
        MAY_ANSWER.set()
        for connection in waiting:
            assert answers(connection, 1) == [b"/wait"]


def test_slow_reader_gets_all_of_a_large_answer(address: tuple[str, int]) -> None:
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(3):  # meanwhile, others are answered
            other = http.client.HTTPConnection(*address, timeout=10)
            other.request("GET", "/other")
            assert other.getresponse().read() == b"/other"
            other.close()
        assert answers(connection, 1) == [LARGE]
        connection.sendall(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answers(connection, 1) == [b"/next"]


def test_requests_that_come_together_are_answered_in_order(address: tuple[str, int]) -> None:
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)))
        assert answers(connection, 5) == [b"/0", b"/1", b"/2", b"/3", b"/4"]


def test_small_answer_is_one_packet(address: tuple[str, int]) -> None:
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).endswith(b"\r\n\r\n/small")


def test_client_that_leaves_or_resets_does_no_harm(address: tuple[str, int]) -> None:
    for request in (b"", b"GET / HT", b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"):
        with socket.create_connection(address, 10) as connection:
            connection.sendall(request)
            if request:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET /well HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answers(connection, 1) == [b"/well"]


def test_only_the_loop_closes_connections(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread met the reset while it told the client to continue, closed, and so ended the loop that looked at it."""
    closed_by: set[str] = set()
    close = Channel.handle_close

    def noted(channel: Channel) -> None:
        closed_by.add(threading.current_thread().name)
        close(channel)

    monkeypatch.setattr(Channel, "handle_close", noted)
    requests = (
        b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n"
        b"POST /second HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    )

    def hurry(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            with socket.create_connection(address, 10) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.sendall(requests)
                time.sleep(chance.random() * 0.003)

    with ThreadPoolExecutor(10) as clients:
        list(clients.map(hurry, range(10)))
    assert closed_by == {"web"}
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET /well HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answers(connection, 1) == [b"/well"]


def test_one_connection_that_cannot_be_watched_does_not_end_the_loop(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []
    watch = event_loop.WatchedSockets._watch

    def once(sockets: event_loop.WatchedSockets, number: int, flags: int) -> None:
        if flags and isinstance(sockets[number], Channel) and not refused:
            refused.append(number)
            raise OSError(9, "Bad file descriptor")
        watch(sockets, number, flags)

    monkeypatch.setattr(event_loop.WatchedSockets, "_watch", once)
    with socket.create_connection(address, 10) as lost:
        assert lost.recv(1) == b""
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET /well HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answers(connection, 1) == [b"/well"]
    assert len(refused) == 1


def test_idle_connection_is_closed_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "IDLE_CONNECTION_SECONDS", 0)
    with checks.claim_port(0) as claimed:
        server = WebServer(application, claimed)
        server._server.adj.cleanup_interval = 0
        server.start()
        with socket.create_connection(claimed.getsockname(), 10) as connection:
            assert connection.recv(1) == b""
        server.stop(grace_seconds=5)
