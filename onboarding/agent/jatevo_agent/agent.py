"""A running agent: its parts, and how they start and stop."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from nacl.signing import SigningKey

from . import __version__, logs
from .awake import KeptAwake
from .challenge import Challenges
from .clock import ConsoleClock
from .completion import Completion, receipt_bytes, unsigned_receipt
from .config import Config
from .console import ConsoleClient
from .delivery import Delivery
from .exits import CannotRun, ExitCode
from .faults import Fault
from .gateway.gateway import Gateway
from .gateway.recovery import recover
from .gateway.serving import Books
from .heartbeat import Heartbeat
from .key_change import CurrentKey, KeyChange
from .machine import MachineFigures
from .published import PublishedNetworks
from .registration import Registrar, identity
from .routed import RoutedRequests, RouterClient
from .simulate import SyntheticRequests
from .spool import Spool, SpoolClosed
from .state import NodeState, StateFolder
from .wire.gateway_key import gateway_key
from .wire.signing import sign
from .wire.webhook import secret_of

STOP_WITHIN_SECONDS = 1.2
LOOK_FOR_TOKEN_EVERY_SECONDS = 3.0
RUNTIME_PATIENCE_SECONDS = 2.0  # before registering, so that the registration names the models


class Agent:
    """The agent of one node. `run` blocks until a signal or another thread calls `stop`."""

    def __init__(
        self,
        config: Config,
        fault: Fault | None = None,
        stands_for: str = "",
        attest: Mapping[str, Any] | None = None,
        router: str = "",
        configured_token: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`configured_token` reads the node token in `agent.yaml` as it is now."""
        self._config = config
        self._configured_token = configured_token
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
        self._watches_for_token = False
        self.starts_again = False
        """Whether `run` returned because there is a new node token to start again with."""

    def stop(self) -> None:
        """Ask the agent to stop. Returns at once."""
        self._stopping.set()

    def run(self) -> ExitCode:
        """Work until told to stop. Raises CannotRun if the agent cannot start or continue."""
        self._folder.prepare()
        self._folder.lock()
        awake = KeptAwake()
        try:
            awake.start()
            return self._run_locked()
        finally:
            awake.stop()
            self._folder.unlock()

    def _run_locked(self) -> ExitCode:
        state = identity(self._config, self._folder)
        self._start_status()
        spool = _open_spool(self._folder, self._config.spool_limit_mb)
        console = ConsoleClient(self._config.console, state.node_id, self._clock)
        machine = MachineFigures(self._stands_for, self._attest)
        try:
            key = CurrentKey(state.signing_key)
            gateway = self._gateway(state, key)
            gateway.start()
            logs.info("answering validators", listen=f"{self._config.listen_host}:{self._config.listen_port}")
            try:
                self._start("work", lambda: self._work(state, spool, console, machine, key, gateway))
                self._stopping.wait()
                gateway.stop()
                self._join_threads()
                waiting = spool.counts().spooled
            finally:
                gateway.close()
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
        self,
        state: NodeState,
        spool: Spool,
        console: ConsoleClient,
        machine: MachineFigures,
        key: CurrentKey,
        gateway: Gateway,
    ) -> None:
        """Register if needed, then start the work of a registered node."""
        registration = Registrar(self._config, self._folder, console, self._clock, self._stopping)

        def statement() -> dict[str, Any]:
            return {
                "agent_version": __version__,
                "attest": machine.attestation(self._config.green_energy_proof_url),
                "concurrency": self._config.concurrency,
            }

        gateway.wait_for_models(RUNTIME_PATIENCE_SECONDS)
        registered = registration.ensure(state, statement, gateway.models)
        if registered is None or registered.node_token is None or self._fault is Fault.SILENT:
            return
        delivery = Delivery(spool, console, self._clock, registered.node_token, self._stopping)
        self._delivery = delivery
        recorder = Recorder(self._config, self._receipt_key(key), spool, delivery.wake)
        journal_path = self._folder.path / "in_flight"
        recover(journal_path, recorder.store, spool.has_answered)
        gateway.open(
            keys=[gateway_key(secret_of(registered.node_token)), *self._config.gateway_keys],
            books=Books(recorder.store, spool.has_answered, spool.lack_of_room),
            journal_path=journal_path,
        )
        challenges = Challenges(
            node_id=registered.node_id,
            node_token=registered.node_token,
            key=key,
            console=console,
            clock=self._clock,
            complete=gateway.complete,
            stopping=self._stopping,
        )
        heartbeat = Heartbeat(
            node_id=registered.node_id,
            node_token=registered.node_token,
            models=gateway.models,
            endpoint=self._config.endpoint,
            metrics=lambda: {**machine.metrics(), **gateway.figures()},
            statement=statement,
            console=console,
            clock=self._clock,
            stopping=self._stopping,
            note=self._note_heartbeat,
            interval_seconds=registration.heartbeat_interval_seconds,
            last_ts=_last_ts(self._status),
            token_refused=lambda: self._watch_for_token(registered),
            on_challenge=challenges.take,
        )
        self._start("heartbeat", heartbeat.run)
        self._start("challenges", challenges.run)
        self._start("delivery", delivery.run)
        change = KeyChange(self._folder, console, self._clock, self._stopping, key)
        self._start("key change", change.run)
        if self._config.allow_from.console:
            path = self._folder.path / "networks.json"
            published = PublishedNetworks(path, console, gateway.use_published, self._stopping)
            self._start("networks", published.run)
        if self._config.simulate_per_second > 0:
            self._start("requests", self._simulation(registered.node_id, recorder).run)

    def _watch_for_token(self, state: NodeState) -> None:
        """Stop, to start again, as soon as the operator has put another token into `agent.yaml`."""
        if self._watches_for_token:
            return
        self._watches_for_token = True

        def watch() -> None:
            while not self._stopping.is_set():
                token = self._configured_token()
                if token and token != state.node_token:
                    logs.info("there is a new node token in agent.yaml; starting again with it")
                    self.starts_again = True
                    self.stop()
                self._stopping.wait(LOOK_FOR_TOKEN_EVERY_SECONDS)

        self._start("token", watch)

    def _simulation(self, node_id: str, recorder: Recorder) -> SyntheticRequests | RoutedRequests:
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

    def _gateway(self, state: NodeState, key: CurrentKey) -> Gateway:
        if self._fault is Fault.BAD_HEALTH:
            key = CurrentKey(SigningKey.generate())
        return Gateway(self._config, state.node_id, key, self._clock, on_failure=self._failed)

    def _receipt_key(self, key: CurrentKey) -> CurrentKey:
        return CurrentKey(SigningKey.generate()) if self._fault is Fault.FORGED_SIGNATURE else key

    def _start_status(self) -> None:
        """Begin this run's status. `last_heartbeat` is kept, because `ts` must rise over restarts."""
        self._status = {
            "agent_version": __version__,
            "started_at": time.time(),
            "heartbeats_accepted": 0,
            "last_heartbeat": self._folder.read_status().get("last_heartbeat"),
        }
        self._write_status()

    def _note_heartbeat(self, answer: Mapping[str, Any]) -> None:
        self._status["last_heartbeat"] = dict(answer)
        self._status["heartbeats_accepted"] += answer["outcome"] == "accepted"
        self._write_status()

    def _write_status(self) -> None:
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
                self._failed(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _failed(self, error: BaseException) -> None:
        """End the agent because of a bug, unless it is ending already."""
        if not self._stopping.is_set():
            self._failure = error
            self.stop()

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
        """Store the receipt of a simulated request. Without room there was none, as at the gateway.

        If the spool cannot be written, the receipt is lost and logged.
        """
        try:
            if self._spool.lack_of_room() is None:
                self.store(completion)
        except sqlite3.OperationalError as error:
            logs.error("a receipt is lost: the spool cannot be written", reason=str(error))

    def store(self, completion: Completion) -> None:
        """Sign the receipt of `completion` and store it on disk. It is sent soon afterwards.

        Raises sqlite3.Error if the spool cannot be written.
        """
        receipt = unsigned_receipt(completion, node_id=self._config.node_id, region=self._config.region)
        body = receipt_bytes(sign(receipt, self._key.signing_key))
        self._spool.add(completion.request_id, body)
        self._wake()


def _open_spool(folder: StateFolder, limit_mb: int) -> Spool:
    try:
        return Spool(folder.spool_path, limit_mb * 2**20)
    except (sqlite3.Error, OSError) as error:
        raise CannotRun(f"{folder.spool_path} cannot be used: {error}.") from error


def _last_ts(status: Mapping[str, Any]) -> float:
    last_heartbeat = status.get("last_heartbeat")
    ts = last_heartbeat.get("ts") if isinstance(last_heartbeat, dict) else None
    return float(ts) if isinstance(ts, (int, float)) else 0.0
