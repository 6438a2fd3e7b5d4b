"""The web server of the one-machine run: waitress, with threads for requests and more for quick requests.

It is one process, because chDB's files can be open in only one process.
"""

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from jatevo.local.event_loop import WatchedSockets

THREADS = 16
# Requests that need no store never queue behind requests that wait for one.
QUICK_THREADS = 2
QUICK_PATHS = ("/healthz", "/static/", "/favicon.ico")
MAX_CONNECTIONS = 2000
IDLE_CONNECTION_SECONDS = 60
# Well above the application's limits, so that the application answers almost every oversized body itself.
MAX_BODY_BYTES = 8 * 1024 * 1024
FLUSH_SECONDS = 1.0

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
ERROR_TYPES = {413: "too_large", 431: "too_large", 500: "internal_error"}


class JsonErrorTask(ErrorTask):
    """Errors that waitress answers itself (invalid HTTP, too large a body), in the console's error format."""

    def execute(self) -> None:
        problem = self.request.error
        code, reason = problem.code, problem.reason
        error_type = ERROR_TYPES.get(code, "invalid_request")
        if code == 501 or (code == 400 and (self.request.chunked or "Content-Length" in problem.body)):
            # an unknown transfer coding, or invalid chunks or length: the end of the body is unknown
            code, reason, error_type = 400, "Bad Request", "invalid_json"
        request_id = secrets.token_hex(16)
        error = {"type": error_type, "message": f"{reason}.", "request_id": request_id}
        body = json.dumps({"error": error}).encode()
        self.status = f"{code} {reason}"
        self.response_headers += [("Content-Type", "application/json"), ("x-request-id", request_id)]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Task(WSGITask):
    """Corrects two differences between waitress and granian, and sends small answers at once.

    waitress hides the transfer coding, so that an empty chunked body would have another meaning than with
    granian. It also sends the end mark of a chunked body in answers to HEAD. Its header and body would be two packets,
    which cost the server and the client another system call each.
    """

    def write(self, data: bytes) -> None:
        if self.wrote_header:
            super().write(data)
        else:
            with self.channel.together():
                super().write(data)

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        if self.request.chunked:
            environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        return environ

    def finish(self) -> None:
        if not self.wrote_header:
            self.write(b"")
        if self.request.command == "HEAD":
            self.chunked_response = False
        super().finish()


class ServerOfChannel:
    """The server as a connection's thread sees it. Waking the loop tells it which connection has changed."""

    def __init__(self, server: Any, number: int) -> None:
        self._server, self._number = server, number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def pull_trigger(self) -> None:
        self._server._map.changed(self._number)
        self._server.pull_trigger()


class Channel(HTTPChannel):
    task_class = Task
    error_task_class = JsonErrorTask
    _held: list[bytes] | None = None

    def __init__(self, server: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(server, *args, **kwargs)
        self.server = ServerOfChannel(server, self._fileno)

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Leaves it to the loop to close a connection that is lost, which it finds when it sends the rest.

        A thread that closes it would take it from the loop's sockets while the loop looks at them.
        """
        return int(super().send(data, do_close and self._map.are_ours))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written within is sent at once."""
        held: list[bytes] = []
        self._held = held
        try:
            yield
        finally:
            self._held = None
        super().write_soon(b"".join(held))

    def write_soon(self, data: Any) -> int:
        if self._held is None:
            return int(super().write_soon(data))
        self._held.append(data)
        return len(data)


class TwoQueues(ThreadedTaskDispatcher):
    """waitress' threads, and separate threads for QUICK_PATHS."""

    def __init__(self) -> None:
        super().__init__()
        self._quick = ThreadedTaskDispatcher()

    def set_thread_count(self, count: int) -> None:
        super().set_thread_count(count)
        self._quick.set_thread_count(min(count, QUICK_THREADS))

    def add_task(self, task: HTTPChannel) -> None:
        if getattr(task.requests[0], "path", "").startswith(QUICK_PATHS):
            self._quick.add_task(task)
        else:
            super().add_task(task)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        ended = super().shutdown(cancel_pending, timeout)
        return bool(self._quick.shutdown(cancel_pending, timeout) and ended)


class WebServer:
    """Serves `application` on a bound socket until `stop`."""

    def __init__(self, application: WsgiApplication, claimed: socket.socket) -> None:
        queues = TwoQueues()
        queues.set_thread_count(THREADS)
        self._sockets = WatchedSockets()
        self._server = create_server(
            application,
            map=self._sockets,
            _dispatcher=queues,
            _start=False,
            sockets=[claimed],
            connection_limit=MAX_CONNECTIONS,
            channel_timeout=IDLE_CONNECTION_SECONDS,
            max_request_body_size=MAX_BODY_BYTES,
            ident=None,
            expose_tracebacks=False,
        )
        self._server.channel_class = Channel
        self._thread = threading.Thread(target=self._sockets.run, name="web", daemon=True)

    def start(self) -> None:
        self._server.accept_connections()
        self._thread.start()

    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self, *, grace_seconds: float) -> None:
        """Accept no more connections, wait for running requests to finish and be sent, then close."""
        if not self.running():
            return
        # Closes only the listener. Request threads still need the trigger to wake the loop.
        self._in_loop(lambda: wasyncore.dispatcher.close(self._server))
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=grace_seconds)
        deadline = time.monotonic() + FLUSH_SECONDS
        while self._unsent_bytes() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._in_loop(self._close_channels)
        self._thread.join(timeout=FLUSH_SECONDS)
        if not self.running():
            self._server.trigger.close()

    def _close_channels(self) -> None:
        """Close every connection. The loop then ends, because it has nothing left to watch.

        The trigger stays open, because the loop may run this before `_in_loop` has written to its pipe.
        """
        sockets = self._sockets
        connections = {number: each for number, each in sockets.items() if each is not self._server.trigger}
        wasyncore.close_all(connections, ignore_all=True)
        sockets.clear()

    def _in_loop(self, action: Callable[[], Any]) -> None:
        """Run an action in the loop's thread, because other threads must not use waitress' sockets."""
        self._server.trigger.pull_trigger(action)

    def _unsent_bytes(self) -> int:
        return sum(channel.total_outbufs_len for channel in list(self._server.active_channels.values()))
