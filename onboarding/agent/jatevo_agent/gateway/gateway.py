"""The gateway of one node as the other threads see it: its start and end, and what heartbeats tell of it.

It runs in a thread of its own with an event loop. Other threads use the methods of `Gateway`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as TookTooLong
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from .. import __version__, logs
from ..clock import ConsoleClock
from ..config import Config
from ..key_change import CurrentKey
from ..runtimes.watch import HttpRuntime, RuntimeWatch
from .access import Access
from .asked import Asked
from .certificates import follow_renewals, tls_context
from .healthz import health_document
from .journal import Journal
from .listener import IDLE_SECONDS, SPARE_CONNECTIONS, HttpServer, listening_socket
from .refusals import Refused
from .routes import Routes
from .serving import Books, CannotComplete, Completed, Serving
from .settings import Network
from .sinks import ClientSocket

STOP_SECONDS = 1.0
START_SECONDS = 10.0
# uvicorn closes an idle connection after 5 s, and a request that crosses that would fail
KEPT_ALIVE_SECONDS = 2.0

_Result = TypeVar("_Result")


class Gateway:
    """Answers validators from `start` on, and gateways from `open` on, until `close`.

    `on_failure` is called in the gateway's thread if it ends by itself, which is a bug. Raises CannotRun if the
    address is taken or does not belong to this machine.
    """

    def __init__(
        self,
        config: Config,
        node_id: str,
        key: CurrentKey,
        clock: ConsoleClock,
        on_failure: Callable[[BaseException], object] = lambda error: None,
    ) -> None:
        self._config = config
        self._on_failure = on_failure
        self._watch = RuntimeWatch(config.runtime.value, config.models)
        self._access = Access(config.allow_from)
        self._serving = Serving(config.runtime_url, config.concurrency, self._watch, clock)
        self._tls = tls_context(config.tls) if config.tls else None
        self._socket = listening_socket(config.listen_host, config.listen_port)
        self._routes = Routes(
            self._access,
            node_id=node_id,
            need_client_certificate=bool(config.tls and config.tls.client_ca),
            health=lambda nonces: health_document(nonces, node_id, key),
            model_names=self.models,
            metrics=self._metrics,
            serve=self._serve_client,
            count_refusal=self._serving.figures.refused,
        )
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_log_without_content)
        self._ready = threading.Event()
        self._stop_loop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    def start(self) -> None:
        """Start answering."""
        self._thread.start()
        self._ready.wait(START_SECONDS)

    def open(self, *, keys: Sequence[str], books: Books, journal_path: Path | None = None) -> None:
        """Serve completions to those who hold one of `keys`, from now on."""
        if journal_path is not None:
            self._serving.journal = Journal(journal_path, self._config.concurrency)
        self._serving.books = books
        self._access.use_keys(keys)

    def use_published(self, networks: Sequence[Network]) -> None:
        """Allow the networks that the console publishes, if `agent.yaml` says so."""
        self._access.use_published(networks)

    @property
    def has_runtime(self) -> bool:
        """Whether there is a runtime. A node whose requests are simulated has none."""
        return self._config.simulate_per_second == 0

    def wait_for_models(self, timeout_seconds: float) -> None:
        """Wait until the runtime has been asked for its models once, at most this long."""
        if self.has_runtime:
            self._watch.has_looked.wait(timeout_seconds)

    def models(self) -> list[str]:
        """The names of the models offered now, or when the runtime last answered."""
        if not self.has_runtime:
            return list(self._config.models)
        return [model.name for model in self._watch.models]

    def figures(self) -> dict[str, Any]:
        """What heartbeats tell of the gateway. Empty without a runtime."""
        if not self.has_runtime:
            return {}
        return {"runtime_up": self._watch.is_up, "requests_running": self._serving.running}

    def complete(
        self,
        prompt: str,
        max_tokens: int,
        *,
        request_id: str | None = None,
        timeout_seconds: float = 20.0,
    ) -> Completed:
        """Complete a prompt with the first offered model, as one of the node's requests.

        With `request_id`, its receipt is on disk when this returns. Raises CannotComplete.
        """
        answer = self._submit(self._serving.complete(prompt, max_tokens, request_id))
        try:
            return answer.result(timeout_seconds)
        except TookTooLong:
            answer.cancel()
            raise CannotComplete(f"the runtime took more than {timeout_seconds:g} s") from None
        except Refused as refused:
            raise CannotComplete(refused.message) from None
        except CancelledError:
            raise CannotComplete("the agent is stopping") from None

    def stop(self) -> None:
        """End the requests under way, with their receipts, and refuse others. Takes at most STOP_SECONDS."""
        if self._thread.is_alive() and not self._serving.is_stopping:
            try:
                self._submit(self._serving.end()).result(STOP_SECONDS)
            except TookTooLong:
                logs.warning("requests under way did not end in time")

    def close(self) -> None:
        """Stop answering and release the address."""
        self.stop()
        if self._thread.is_alive() and self._stop_loop is not None:
            with suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._stop_loop.set)
            self._thread.join(STOP_SECONDS)
        self._socket.close()
        if self._serving.journal is not None:
            self._serving.journal.close()

    def _submit(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            logs.crash("the gateway failed")
            self._serving.is_stopping = True
            self._on_failure(error)
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._stop_loop = asyncio.Event()
        server = HttpServer(self._routes.answer, SPARE_CONNECTIONS + 2 * self._config.concurrency)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"jatevo-agent/{__version__}", "Accept-Encoding": "identity"},
            trust_env=False,
        ) as session:
            api = HttpRuntime(session, self._config.runtime_url)
            self._serving.session, self._serving.api = session, api
            handshake_seconds = IDLE_SECONDS if self._tls else None
            listener = await self._loop.create_server(
                server, sock=self._socket, ssl=self._tls, ssl_handshake_timeout=handshake_seconds
            )
            tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._stop_loop.wait())]
            if self.has_runtime:
                tasks.append(asyncio.ensure_future(self._watch.run(api)))
            if self._tls is not None and self._config.tls is not None:
                tasks.append(asyncio.ensure_future(follow_renewals(self._tls, self._config.tls)))
            self._ready.set()
            try:
                await _until_one_ends(tasks)
            except BaseException:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._serving.end(), STOP_SECONDS)
                raise
            finally:
                listener.close()
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=STOP_SECONDS)
                await server.shutdown(0.1)

    async def _serve_client(
        self, asked: Asked, client: ClientSocket, dispatched: str, suggested: str, hedged: bool
    ) -> None:
        if not self.has_runtime:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                "This node simulates its requests and serves none.",
            )
        await self._serving.serve(asked, client, dispatched, suggested, hedged)

    def _metrics(self) -> str:
        return self._serving.figures.text(
            running=self._serving.running,
            most=self._config.concurrency,
            runtime_up=self._watch.is_up if self.has_runtime else None,
        )


async def _until_one_ends(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Wait until one of the tasks ends. Raises its exception, if it has one."""
    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()


def _log_without_content(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody caught, without its message, which may repeat what a client sent."""
    error = context.get("exception")
    if not isinstance(error, (ConnectionError, TimeoutError)):
        logs.error("the gateway met an error", reason=type(error).__name__ if error else "unknown")
