"""A running agent: its parts, and how they start and stop."""

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from nacl.signing import SigningKey

from . import __version__, logs
from .clock import ConsoleClock
from .completion import Completion, receipt_bytes, unsigned_receipt
from .config import Config
from .console import ConsoleClient
from .delivery import Delivery
from .exits import CannotRun, ExitCode
from .faults import Fault
from .health import HealthServer
from .heartbeat import Heartbeat
from .key_change import CurrentKey, KeyChange
from .machine import MachineFigures
from .registration import Registrar, identity
from .routed import RoutedRequests, RouterClient
from .simulate import SyntheticRequests
from .spool import Spool, SpoolClosed
from .state import NodeState, StateFolder
from .wire.signing import sign

STOP_WITHIN_SECONDS = 1.5


class Agent:
    """The agent of one node. `run` blocks until a signal or another thread calls `stop`."""

    def __init__(
        self,
        config: Config,
        fault: Fault | None = None,
        stands_for: str = "",
        attest: Mapping[str, Any] | None = None,
        router: str = "",
    ) -> None:
        self._config = config
        self._fault = fault
        self._stands_for = stands_for
        self._attest = attest
        self._router = router
        self._folder = StateFolder(config.state_dir)
        self._stopping = threading.Event()
        self._clock = ConsoleClock()
        self._threads: list[threading.Thread] = []
        self._delivery: Delivery | None = None
        self._failure: BaseException | None = None
        self._status: dict[str, Any] = {}

    def stop(self) -> None:
        """Ask the agent to stop. Returns at once."""
        self._stopping.set()

    def stop_on_signals(self) -> None:
        """Stop on SIGTERM and SIGINT. Must be called in the main thread."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            self.stop()

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)

    def run(self) -> ExitCode:
        """Work until told to stop. Raises CannotRun if the agent cannot start or continue."""
        self._folder.prepare()
        self._folder.lock()
        try:
            return self._run_locked()
        finally:
            self._folder.unlock()

    def _run_locked(self) -> ExitCode:
        state = identity(self._config, self._folder)
        self._status = {**self._folder.read_status(), "agent_version": __version__, "started_at": time.time()}
        spool = _open_spool(self._folder)
        console = ConsoleClient(self._config.console, state.node_id, self._clock)
        machine = MachineFigures(self._stands_for, self._attest)
        try:
            key = CurrentKey(state.signing_key)
            health = self._health_server(state, key)
            health.start()
            logs.info("answering validators", listen=f"{self._config.listen_host}:{self._config.listen_port}")
            try:
                self._start("work", lambda: self._work(state, spool, console, machine, key))
                # Signal handlers run in this thread, the main one, which must not block in a system call.
                self._stopping.wait()
                self._join_threads()
                waiting = spool.counts().spooled
            finally:
                health.close()
        finally:
            spool.close()
            console.close()
            machine.close()
        if isinstance(self._failure, CannotRun):
            raise self._failure
        if self._failure is not None:
            return ExitCode.CRASHED
        logs.info("stopped", receipts_waiting=waiting)
        return ExitCode.STOPPED

    def _work(
        self, state: NodeState, spool: Spool, console: ConsoleClient, machine: MachineFigures, key: CurrentKey
    ) -> None:
        """Register if needed, then start the work of a registered node."""
        registration = Registrar(self._config, self._folder, console, self._clock, self._stopping)

        def statement() -> dict[str, Any]:
            return {
                "agent_version": __version__,
                "attest": machine.attestation(self._config.green_energy_proof_url),
                "concurrency": self._config.concurrency,
            }

        registered = registration.ensure(state, statement)
        if registered is None or registered.node_token is None or self._fault is Fault.SILENT:
            return
        delivery = Delivery(spool, console, self._clock, registered.node_token, self._stopping)
        self._delivery = delivery
        heartbeat = Heartbeat(
            node_id=registered.node_id,
            node_token=registered.node_token,
            models=self._config.models,
            endpoint=self._config.endpoint,
            metrics=machine.metrics,
            statement=statement,
            console=console,
            clock=self._clock,
            stopping=self._stopping,
            note=self._note_heartbeat,
            interval_seconds=registration.heartbeat_interval_seconds,
            last_ts=_last_ts(self._status),
        )
        self._start("heartbeat", heartbeat.run)
        self._start("delivery", delivery.run)
        change = KeyChange(self._folder, console, self._clock, self._stopping, key)
        self._start("key change", lambda: change.run(registered))
        if self._config.simulate_per_second > 0:
            recorder = Recorder(self._config, self._receipt_key(key), spool, delivery.wake)
            self._start("requests", self._simulation(registered.node_id, recorder).run)

    def _simulation(self, node_id: str, recorder: "Recorder") -> SyntheticRequests | RoutedRequests:
        if not self._router:
            return SyntheticRequests(
                rate_per_second=self._config.simulate_per_second,
                models=self._config.models,
                clock=self._clock,
                record=recorder.record,
                stopping=self._stopping,
            )
        return RoutedRequests(
            rate_per_second=self._config.simulate_per_second,
            models=self._config.models,
            concurrency=self._config.concurrency,
            clock=self._clock,
            router=RouterClient(self._router, node_id, self._config.models),
            record=recorder.record,
            stopping=self._stopping,
        )

    def _health_server(self, state: NodeState, key: CurrentKey) -> HealthServer:
        if self._fault is Fault.BAD_HEALTH:
            key = CurrentKey(SigningKey.generate())
        return HealthServer(self._config.listen_host, self._config.listen_port, state.node_id, key)

    def _receipt_key(self, key: CurrentKey) -> CurrentKey:
        return CurrentKey(SigningKey.generate()) if self._fault is Fault.FORGED_SIGNATURE else key

    def _note_heartbeat(self, answer: Mapping[str, Any]) -> None:
        self._status["last_heartbeat"] = dict(answer)
        try:
            self._folder.write_status(self._status)
        except OSError as error:
            logs.warning("the status file cannot be written", reason=error.strerror)

    def _start(self, name: str, work: Callable[[], None]) -> None:
        """Run `work` in a thread. If it fails, the whole agent ends, and a service manager can restart it."""

        def guarded() -> None:
            try:
                work()
            except SpoolClosed:
                return
            except CannotRun as error:
                self._failure = error
                self.stop()
            except BaseException as error:
                if self._stopping.is_set():
                    return  # its connections were closed, see _join_threads
                logs.crash(f"the {name} thread failed")
                self._failure = error
                self.stop()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _join_threads(self) -> None:
        """Wait a short time for each thread. A thread that still waits for the console's answer is abandoned.

        That is safe, because receipts leave the spool only after their answer and may be sent twice.
        """
        deadline = time.monotonic() + STOP_WITHIN_SECONDS
        if self._delivery:
            self._delivery.wake()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


class Recorder:
    """Turns completions into signed receipts in the spool."""

    def __init__(self, config: Config, key: CurrentKey, spool: Spool, wake: Callable[[], None]) -> None:
        self._config = config
        self._key = key
        self._spool = spool
        self._wake = wake

    def record(self, completion: Completion) -> None:
        """Sign the receipt of `completion` and store it on disk. It is sent soon afterwards.

        If the spool cannot be written, the receipt is lost and an error is logged.
        """
        receipt = unsigned_receipt(completion, node_id=self._config.node_id, region=self._config.region)
        body = receipt_bytes(sign(receipt, self._key.signing_key))
        try:
            self._spool.add(completion.request_id, body)
        except sqlite3.OperationalError as error:
            logs.error("a receipt is lost: the spool cannot be written", reason=str(error))
            return
        self._wake()


def _open_spool(folder: StateFolder) -> Spool:
    try:
        return Spool(folder.spool_path)
    except (sqlite3.Error, OSError) as error:
        raise CannotRun(f"{folder.spool_path} cannot be used: {error}.") from error


def _last_ts(status: Mapping[str, Any]) -> float:
    last_heartbeat = status.get("last_heartbeat")
    ts = last_heartbeat.get("ts") if isinstance(last_heartbeat, dict) else None
    return float(ts) if isinstance(ts, int | float) else 0.0
