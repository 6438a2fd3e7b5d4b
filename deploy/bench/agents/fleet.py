"""Agents that share a process: the parts of the reference agent that talk to the console, without its threads.

Registration, heartbeats, spool and delivery are the agent's own code. A few threads do what is due for all of them.
"""

import hashlib
import heapq
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from jatevo_agent.agent import Recorder
from jatevo_agent.clock import ConsoleClock
from jatevo_agent.config import Config, Runtime
from jatevo_agent.console import Answer, ConsoleClient
from jatevo_agent.delivery import Delivery
from jatevo_agent.heartbeat import Heartbeat
from jatevo_agent.key_change import CurrentKey
from jatevo_agent.machine import MachineFigures
from jatevo_agent.registration import Registrar, identity
from jatevo_agent.simulate import SyntheticRequests
from jatevo_agent.spool import Spool
from jatevo_agent.state import StateFolder
from nacl.signing import SigningKey

MODELS = ("llama3.1-8b", "qwen2.5-7b")
THREADS = 32


@dataclass(frozen=True)
class Beat:
    """One attempt of a heartbeat, in monotonic seconds. `status` is 0 if no answer came."""

    due: float
    began: float
    ended: float
    status: int


@dataclass
class Record:
    """What happened to one agent."""

    beats: list[Beat] = field(default_factory=list)
    completed: int = 0


class SharedConnections(ConsoleClient):
    """A node's client of the console over the connections of all. Keeps the status of its last heartbeat."""

    def __init__(self, http: httpx.Client, node_id: str, clock: ConsoleClock) -> None:
        self._http = http
        self._node_id = node_id
        self._clock = clock
        self.heartbeat_status = 0

    def heartbeat(self, node_token: str, body: bytes) -> Answer:
        self.heartbeat_status = 0
        answer = super().heartbeat(node_token, body)
        self.heartbeat_status = answer.status
        return answer


class SimulatedAgent:
    """One node, which registers when it is made. `beat` and `deliver` return the seconds until their next turn.

    Raises CannotRun if the console refuses to register it.
    """

    def __init__(
        self, number: int, home: Path, http: httpx.Client, *, console: str, endpoints: str, enrolment: str
    ) -> None:
        self.node_id = f"simulated-{number:04d}"
        self.record = Record()
        self._stopping = threading.Event()
        self._clock = ConsoleClock()
        self._console = SharedConnections(http, self.node_id, self._clock)
        self._config = Config(
            console=console,
            node_id=self.node_id,
            region=("ap-southeast", "us-east", "eu-central")[number % 3],
            runtime=Runtime.VLLM,
            listen_host="127.0.0.1",
            listen_port=1,
            endpoint=f"{endpoints}/{self.node_id}",
            state_dir=home / self.node_id,
            enrollment_token=enrolment,
            node_token=None,
            wallet=None,
            models=MODELS,
            concurrency=64,
            green_energy_proof_url=None,
            simulate_per_second=0.0,
        )
        hardware = "blake3:" + hashlib.sha256(self.node_id.encode()).hexdigest()
        self._machine = MachineFigures(
            attest={"gpu_model": "NVIDIA L40S", "vram_gb": 48, "hardware_hash": hardware}
        )
        self._folder = StateFolder(self._config.state_dir)
        self._folder.prepare()
        self._state = identity(self._config, self._folder)
        self._spool = Spool(self._folder.spool_path)
        registrar = Registrar(self._config, self._folder, self._console, self._clock, self._stopping)
        registered = registrar.ensure(self._state, self._statement, lambda: MODELS)
        if registered is None or registered.node_token is None:
            raise RuntimeError(f"{self.node_id} is not registered")
        self._heartbeat = Heartbeat(
            node_id=self.node_id,
            node_token=registered.node_token,
            models=lambda: MODELS,
            endpoint=self._config.endpoint,
            metrics=self._machine.metrics,
            statement=self._statement,
            console=self._console,
            clock=self._clock,
            stopping=self._stopping,
            note=lambda _: None,
            interval_seconds=registrar.heartbeat_interval_seconds,
        )
        self._delivery = Delivery(
            self._spool, self._console, self._clock, registered.node_token, self._stopping
        )

    @property
    def signing_key(self) -> SigningKey:
        return self._state.signing_key

    def beat(self, due: float) -> float:
        began = time.monotonic()
        delay = self._heartbeat.beat()
        self.record.beats.append(Beat(due, began, time.monotonic(), self._console.heartbeat_status))
        return delay

    def complete(self, draw: random.Random) -> None:
        """A synthetic request ends: its receipt is signed and spooled."""
        requests = SyntheticRequests(
            rate_per_second=1.0, models=MODELS, clock=self._clock, record=lambda _: None,
            stopping=self._stopping, rng=draw,
        )  # fmt: skip
        recorder = Recorder(self._config, CurrentKey(self.signing_key), self._spool, lambda: None)
        recorder.record(requests.completion(self._clock.now()))
        self.record.completed += 1

    def deliver(self) -> float | None:
        """Posts what is spooled. Returns the seconds until the next post, or None if nothing waits."""
        batch = self._delivery.next_batch()
        if not batch:
            return None
        return self._delivery.deliver(batch)

    def waiting(self) -> int:
        return self._spool.counts().spooled

    def refused(self) -> int:
        return self._spool.counts().refused

    def close(self) -> None:
        self._stopping.set()
        self._spool.close()

    def _statement(self) -> dict[str, object]:
        return {
            "agent_version": "2.0.0",
            "attest": self._machine.attestation(None),
            "concurrency": self._config.concurrency,
        }


class Schedule:
    """Does what is due, in THREADS threads. An entry is a time and what to do then, which returns the next entry."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0
        self._changed = threading.Condition()
        self._ended = False
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def at(self, due: float, do: Callable[[float], None]) -> None:
        """Call `do(due)` at that monotonic time, or as soon as a thread is free."""
        with self._changed:
            self._number += 1
            heapq.heappush(self._entries, (due, self._number, do))
            self._changed.notify()

    def stop(self) -> None:
        """Do nothing more, and wait for what is being done."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._ended and not (self._entries and self._entries[0][0] <= time.monotonic()):
                    next_due = self._entries[0][0] - time.monotonic() if self._entries else None
                    self._changed.wait(next_due if next_due is None else max(0.0, next_due))
                if self._ended:
                    return
                due, _, do = heapq.heappop(self._entries)
            try:
                do(due)
            except BaseException as error:
                self.errors.append(error)
