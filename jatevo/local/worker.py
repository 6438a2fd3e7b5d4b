"""The background worker: procrastinate's loop in a thread of the console, or as `manage.py worker`."""

import asyncio
import signal
import threading
from contextlib import suppress

import psycopg
import structlog
from asgiref.sync import sync_to_async
from django.db import Error as DjangoDatabaseError
from django.db import connection, connections
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ConnectorException
from procrastinate.psycopg_connector import PsycopgConnector

from jatevo.web.postgresql.budgets import WORKER, working
from jatevo.web.postgresql.connections import BoundedAsyncConnection
from nodes.sweeper import start_counting

log = structlog.get_logger(__name__)

CONCURRENCY = 4
GRACE_SECONDS = 5.0
POLL_SECONDS = 5.0  # a new job is announced by LISTEN; this is the net below it
PAUSE_SECONDS = 2.0
# procrastinate's own questions are small. One that is not answered ends the worker, which then starts again.
ANSWER_SECONDS = 10.0
DATABASE_ERRORS = (DjangoDatabaseError, psycopg.Error, ConnectorException)


async def keep_working() -> None:
    """Run jobs until cancelled. Whatever else ends the worker, a lost database above all, is a pause.

    Deadlines of nodes count from the first start alone: while no worker ran, nobody could have been heard.
    Between two runs of this loop the web server goes on hearing nodes. If it could not for long, the
    sweeper finds the gap between its own runs.
    """
    counting = False
    while True:
        try:
            await sync_to_async(_connect_anew)()
            if not counting:
                await sync_to_async(start_counting)(at=timezone.now())
                counting = True
            await work()
            log.error("worker ended by itself; it starts again", pause_seconds=PAUSE_SECONDS)
        except DATABASE_ERRORS as error:
            log.error(
                "worker lost the database; it starts again", error=str(error), pause_seconds=PAUSE_SECONDS
            )
        except Exception:
            log.exception("worker failed; it starts again", pause_seconds=PAUSE_SECONDS)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # what failed was the stopping
        await asyncio.sleep(PAUSE_SECONDS)


async def work_until_signalled() -> None:
    """`keep_working` until SIGINT or SIGTERM. To be run in the main thread."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
    with working(WORKER), suppress(asyncio.CancelledError):
        await keep_working()


async def work() -> None:
    """Run jobs until cancelled or until the worker fails. Finished jobs are deleted."""
    # A copy of the app with a connection pool: the shared one defers jobs inside the web requests'
    # transactions, and has to keep doing so.
    with_pool = app.with_connector(_connector())
    async with with_pool.open_async():
        await with_pool.run_worker_async(
            concurrency=CONCURRENCY,
            fetch_job_polling_interval=POLL_SECONDS,
            shutdown_graceful_timeout=GRACE_SECONDS,
            delete_jobs="successful",
            install_signal_handlers=False,
        )


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
    """Raises Django's OperationalError while PostgreSQL is away.

    The thread behind `sync_to_async`, through which periodic jobs are deferred, would keep a broken
    connection for ever: no request ends there, after which Django would look.
    """
    connections.close_all()
    connection.ensure_connection()


class WorkerThread:
    """The worker on an event loop and a thread of its own."""

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
        """Whether it has ended in time. A job that blocks for longer ends with the process."""
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
