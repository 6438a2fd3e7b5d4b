"""The background worker: procrastinate's loop in a thread of the console, or as `manage.py worker`."""

import asyncio
import signal
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import psycopg
import structlog
from asgiref.sync import sync_to_async
from django.db import Error as DjangoDatabaseError
from django.db import connection, connections
from django.utils import timezone
from procrastinate import App
from procrastinate.contrib.django import app
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ConnectorException
from procrastinate.psycopg_connector import PsycopgConnector

from jatevo.local.observing import observed
from jatevo.web.postgresql.budgets import WORKER, working
from jatevo.web.postgresql.connections import BoundedAsyncConnection
from jatevo.web.postgresql.pooling import SharedSession, refuse_shared_session
from nodes.sweeper import start_counting

log = structlog.get_logger(__name__)

CONCURRENCY = 4
GRACE_SECONDS = 5.0
POLL_SECONDS = 5.0  # in case the NOTIFY that announces a new job is missed
PAUSE_SECONDS = 2.0
# procrastinate's own queries are small. If one takes longer, the worker ends and is restarted.
ANSWER_SECONDS = 10.0
DATABASE_ERRORS = (DjangoDatabaseError, psycopg.Error, ConnectorException)
CLOCK_CHECK_SECONDS = 5.0
JUMP_SECONDS = 15.0  # so much is not the drift that is corrected now and then


class ClockJumped(Exception):
    """The clock was set forward by so many seconds (negative: back), or the machine slept for so long."""


async def keep_working() -> None:
    """Run jobs until cancelled. If anything else ends the worker, such as a lost database, it is restarted.
    Raises SharedSession if it would go through a pooler in transaction mode.

    Nodes' deadlines count from the first start, because nobody could be heard before. Between two runs of
    the worker, the web server still hears nodes. If it could not for long, the sweeper notices the gap
    between its own runs.
    """
    counting = False
    while True:
        try:
            await sync_to_async(_connect_anew)()
            if not counting:
                await sync_to_async(start_counting)(at=timezone.now())
                counting = True
            await _until_clock_jumps(work())
            log.error("worker ended by itself; it starts again", pause_seconds=PAUSE_SECONDS)
        except ClockJumped as error:
            log.warning("the clock jumped; the worker starts again", seconds=error.args[0])
        except SharedSession:
            raise  # no later start will be better
        except DATABASE_ERRORS as error:
            log.error(
                "worker lost the database; it starts again", error=str(error), pause_seconds=PAUSE_SECONDS
            )
        except Exception:
            log.exception("worker failed; it starts again", pause_seconds=PAUSE_SECONDS)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # it failed while being stopped
        await asyncio.sleep(PAUSE_SECONDS)


async def _until_clock_jumps(work: Coroutine[Any, Any, None]) -> None:
    """Awaits the work. Cancels it and raises ClockJumped if the clock jumps.

    procrastinate defers every periodic job of the time since the last one, one after the other. After a clock
    was set back it would wait until the old time, and after it was set forward or the machine slept it would be
    busy with what nobody needs any more. A worker that starts defers only the last of each.
    """
    working = asyncio.ensure_future(work)
    before = _clock_ahead_seconds()
    try:
        while not (await asyncio.wait({working}, timeout=CLOCK_CHECK_SECONDS))[0]:
            now = _clock_ahead_seconds()
            if abs(now - before) > JUMP_SECONDS:
                raise ClockJumped(round(now - before))
            before = now
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


def _clock_ahead_seconds() -> float:
    """The clock's difference to one that nobody sets and that stands still while the machine sleeps."""
    return time.time() - time.monotonic()


async def work_until_signalled() -> None:
    """Run `keep_working` until SIGINT or SIGTERM. Must run in the main thread."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
    with working(WORKER), suppress(asyncio.CancelledError):
        await keep_working()


async def work() -> None:
    """Run jobs until cancelled or until the worker fails. Finished jobs are deleted."""
    with_pool = app_with_pool()
    async with with_pool.open_async():
        await with_pool.run_worker_async(
            concurrency=CONCURRENCY,
            fetch_job_polling_interval=POLL_SECONDS,
            shutdown_graceful_timeout=GRACE_SECONDS,
            delete_jobs="successful",
            install_signal_handlers=False,
            worker_middleware=[observed],
        )


def app_with_pool() -> App:
    """A copy of procrastinate's app with a pool of connections.

    The shared app must keep its connector, which defers jobs in the transactions of web requests.
    """
    copy = app.with_connector(_connector())
    copy.periodic_defaults = app.periodic_defaults  # with_connector forgets them
    return copy


def _connector() -> PsycopgConnector:
    """procrastinate's own connections, for claiming and finishing jobs, notifications and its heartbeat."""

    async def configure(connection: BoundedAsyncConnection) -> None:
        connection.answer_seconds = ANSWER_SECONDS

    return PsycopgConnector(
        kwargs=connector_params(),
        connection_class=BoundedAsyncConnection,
        configure=configure,
        timeout=ANSWER_SECONDS,
        reconnect_timeout=0.0,
    )


def _connect_anew() -> None:
    """Replace the thread's connections. Raises an OperationalError if PostgreSQL is unreachable, or SharedSession.

    Periodic jobs are deferred in the thread behind `sync_to_async`. Django checks connections at the end
    of a request, and no request ends in that thread, so it would keep a broken connection for ever.
    """
    connections.close_all()
    refuse_shared_session(connector_params())
    connection.ensure_connection()


class WorkerThread:
    """The worker in its own thread with its own event loop."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._begun = threading.Event()

    def start(self) -> None:
        self._thread.start()
        self._begun.wait()

    def running(self) -> bool:
        return self._thread.is_alive()

    def ask_to_stop(self) -> None:
        if self._task is not None and self.running():
            self._loop.call_soon_threadsafe(self._task.cancel)

    def wait(self, *, timeout_seconds: float) -> bool:
        """Wait for the worker and return whether it has ended. A longer job ends with the process."""
        self._thread.join(timeout_seconds)
        return not self.running()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with working(WORKER):
            self._task = self._loop.create_task(keep_working())
        self._begun.set()
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            log.info("worker stopped")
        finally:
            self._loop.close()
