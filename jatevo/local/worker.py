"""The background worker: procrastinate's loop in a thread of the console, or as `manage.py worker`."""

import asyncio
import threading

import structlog
from asgiref.sync import sync_to_async
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector

from nodes.sweeper import start_counting

log = structlog.get_logger(__name__)

CONCURRENCY = 4
GRACE_SECONDS = 5.0
POLL_SECONDS = 5.0  # a new job is announced by LISTEN; this is the net below it


async def work(*, install_signal_handlers: bool) -> None:
    """Run jobs until cancelled (or, with handlers, until SIGINT or SIGTERM). Finished jobs are deleted.

    Deadlines of nodes count from here: while no worker ran, nobody could have been heard.
    """
    await sync_to_async(start_counting)(at=timezone.now())
    # A copy of the app with a connection pool: the shared one defers jobs inside the web requests'
    # transactions, and has to keep doing so.
    with_pool = app.with_connector(DjangoConnector().get_worker_connector())
    async with with_pool.open_async():
        await with_pool.run_worker_async(
            concurrency=CONCURRENCY,
            fetch_job_polling_interval=POLL_SECONDS,
            shutdown_graceful_timeout=GRACE_SECONDS,
            delete_jobs="successful",
            install_signal_handlers=install_signal_handlers,
        )


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
        """Whether it has ended in time; a job that blocks for longer is left to die with the process."""
        self._thread.join(timeout_seconds)
        return not self.running()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(work(install_signal_handlers=False))
        self._begun.set()
        try:
            self._loop.run_until_complete(self._task)
            log.error("worker ended by itself")
        except asyncio.CancelledError:
            log.info("worker stopped")
        except Exception:
            log.exception("worker failed")
        finally:
            self._loop.close()
