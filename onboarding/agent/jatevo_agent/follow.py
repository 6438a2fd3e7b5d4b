"""Prints the steps from an installed agent to an active node, as they happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from .config import Config
from .runtime_hints import runtime_hint
from .server_view import NoServerView, ServerView
from .service import Service
from .snapshot import Snapshot
from .state import NodeState

LOOK_EVERY_SECONDS = 0.5
ASK_EVERY_SECONDS = 2.0


class AskConsole(Protocol):
    """`server_view.ask_console`."""

    def __call__(self, console_url: str, state: NodeState) -> ServerView: ...


class Follower:
    """Follows one node until it is active, or until it is clear that a person must act.

    `look` returns the current snapshot. `say` prints one line.
    """

    def __init__(
        self,
        look: Callable[[], Snapshot],
        ask: AskConsole,
        config: Config,
        service: Service,
        say: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._look = look
        self._ask = ask
        self._config = config
        self._service = service
        self._say = say
        self._clock = clock
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._said: set[str] = set()
        self._view: ServerView | None = None
        self._view_problem: str | None = None

    def follow(self, seconds: float) -> bool:
        """Print the steps for at most `seconds`. Returns whether the node became active."""
        self._began, since = self._clock(), self._wall_clock()
        ask_at = self._began
        while True:
            snapshot = self._look()
            if snapshot.state is not None and snapshot.is_registered and self._clock() >= ask_at:
                self._ask_console(snapshot.console, snapshot.state)
                ask_at = self._clock() + ASK_EVERY_SECONDS
            if self._tell(snapshot):
                return True
            if snapshot.needs_a_person and (snapshot.needs_a_person_since or 0) >= since - 30:
                self._say(f"The agent cannot work. {snapshot.needs_a_person}")
                return False
            if self._clock() - self._began >= seconds:
                self._say(f"Not active after {seconds:g} s. {self._next_step(snapshot)}")
                return False
            self._sleep(LOOK_EVERY_SECONDS)

    def _tell(self, snapshot: Snapshot) -> bool:
        """Print what is new. Returns whether the node is active."""
        view = self._view
        if snapshot.is_running:
            self._step("running", f"the agent is running, version {snapshot.agent_version}")
        if snapshot.is_registered:
            self._step("registered", f"registered as {snapshot.node_id} at {snapshot.console}")
        if not (snapshot.is_running and snapshot.heartbeats_accepted):
            return False
        self._step("heartbeat", "the console accepted the first heartbeat")
        if self._config.simulate_per_second:
            self._step("runtime", "requests are simulated, no runtime is used")
        elif snapshot.runtime_is_up:
            self._step("runtime", f"{self._config.runtime} answers")
        if snapshot.models:
            self._step("models", f"models: {', '.join(snapshot.models)}")
        if view and view.reachable:
            self._step("reachable", "reachable: a validator reached the endpoint")
        elif view and view.is_behind_nat:
            self._step(
                "nat",
                "behind NAT: proven through heartbeats; gateways cannot send requests until it is reachable",
            )
        status = view.status if view else str((snapshot.last_heartbeat or {}).get("node_status"))
        if status != "active":
            return False
        self._step("active", "active")
        return True

    def _step(self, name: str, text: str) -> None:
        if name not in self._said:
            self._said.add(name)
            self._say(f"{self._clock() - self._began:6.1f} s  {text}")

    def _ask_console(self, console_url: str, state: NodeState) -> None:
        try:
            self._view = self._ask(console_url, state)
            self._view_problem = None
        except NoServerView as error:
            self._view_problem = str(error)

    def _next_step(self, snapshot: Snapshot) -> str:
        """What is missing, and what to do about it."""
        if not snapshot.is_running:
            return (
                f"The agent is not running. Start it: {self._service.restart}  Its log: {self._service.log}"
            )
        if not snapshot.is_registered:
            return (
                f"The agent is not registered yet: is {snapshot.console} reachable from here?"
                f" Its log: {self._service.log}"
            )
        if not snapshot.heartbeats_accepted:
            return f"No heartbeat was accepted yet. Its log: {self._service.log}"
        if not self._config.simulate_per_second and snapshot.runtime_is_up is False:
            return f"The runtime does not answer. {runtime_hint(self._config.runtime)}"
        if not self._config.simulate_per_second and not snapshot.models:
            return f"The runtime offers no model. {runtime_hint(self._config.runtime)}"
        if self._view and self._view.advice:
            return self._view.advice
        if self._view_problem:
            return f"The console does not say how it sees the node: {self._view_problem}."
        status = self._view.status if self._view else "not active"
        return f"The console says {status}. `jatevo-agent doctor` checks everything."
