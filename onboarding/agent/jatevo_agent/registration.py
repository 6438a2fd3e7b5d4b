"""Registers the node once and stores the result.

The key is stored on disk before it is sent to the console.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import logs
from .backoff import Backoff
from .clock import ConsoleClock
from .config import Config
from .console import Answer, ConsoleClient, Unreachable
from .exits import CannotRun
from .state import NodeState, StateFolder
from .wire.keys import public_key_text
from .wire.webhook import MalformedTokenError, secret_of


def identity(config: Config, folder: StateFolder) -> NodeState:
    """The stored identity, or a new one, which is on disk when this returns.

    A `node_token` in the configuration replaces the stored one. Operators use it to renew a token, or after
    the answer to a registration was lost. Raises CannotRun if the folder belongs to another node.
    """
    state = folder.load()
    if state is None:
        state = NodeState(node_id=config.node_id, console=config.console, seed=secrets.token_bytes(32))
        folder.save(state)
    if state.node_id != config.node_id:
        raise CannotRun(
            f"state_dir {folder.path} belongs to the node {state.node_id}, but node_id is {config.node_id}:"
            " give each node its own state_dir."
        )
    if state.console != config.console:
        raise CannotRun(
            f"The node {state.node_id} is registered at {state.console}, but console is {config.console}:"
            " use another state_dir for another console."
        )
    if config.node_token and config.node_token != state.node_token:
        state = replace(state, node_token=config.node_token, registered_at=state.registered_at or time.time())
        folder.save(state)
        logs.info("the node token from the configuration is used from now on")
    return state


class Registrar:
    """Registers the node, repeating the request until the console answers."""

    def __init__(
        self,
        config: Config,
        folder: StateFolder,
        console: ConsoleClient,
        clock: ConsoleClock,
        stopping: threading.Event,
    ) -> None:
        self._config = config
        self._folder = folder
        self._console = console
        self._clock = clock
        self._stopping = stopping
        self.heartbeat_interval_seconds = 10.0

    def ensure(
        self,
        state: NodeState,
        statement: Callable[[], Mapping[str, Any]],
        models: Callable[[], Sequence[str]],
    ) -> NodeState | None:
        """Return the registered state, or None if the agent was asked to stop meanwhile.

        Raises CannotRun if the console refuses for good.
        """
        if state.node_token is not None:
            return state
        token = self._config.enrollment_token
        if token is None:
            raise CannotRun(
                "enrollment_token is missing: ask the console for one (Run a Node) and put it into agent.yaml"
                " or JATEVO_ENROLLMENT_TOKEN."
            )
        body = self._body(state, statement(), models())
        backoff = Backoff(first_seconds=0.5, longest_seconds=10.0)
        may_be_registered = state.attempted_at is not None
        while not self._stopping.is_set():
            state = replace(state, attempted_at=time.time())
            self._folder.save(state)
            retry_after_seconds = None
            try:
                answer = self._console.register(token, body)
            except Unreachable as error:
                reason, may_be_registered = str(error), True
            else:
                if answer.status in {200, 201}:
                    return self._accepted(state, answer)
                if not answer.may_pass:
                    self._folder.save(replace(state, attempted_at=None) if not may_be_registered else state)
                    raise CannotRun(_refusal(self._config.node_id, answer, may_be_registered))
                reason, retry_after_seconds = answer.reason, answer.retry_after_seconds
                # Despite a gateway's error, the console behind it may have registered the node.
                may_be_registered = may_be_registered or answer.status >= 500
            delay = backoff.failed(retry_after_seconds)
            if backoff.failures == 1:
                logs.warning("not registered yet; trying again", reason=reason)
            self._stopping.wait(delay)
        return None

    def _body(self, state: NodeState, statement: Mapping[str, Any], models: Sequence[str]) -> bytes:
        document: dict[str, Any] = {
            "node_id": state.node_id,
            "region": self._config.region,
            "runtime": self._config.runtime.value,
            "public_key": public_key_text(bytes(state.signing_key.verify_key)),
            "models": list(models),
            "endpoint": self._config.endpoint,
            **statement,
        }
        if self._config.wallet:
            document["wallet"] = {
                "chain": self._config.wallet.chain,
                "address": self._config.wallet.address,
            }
        return json.dumps(document).encode()

    def _accepted(self, state: NodeState, answer: Answer) -> NodeState:
        node_token = answer.body.get("node_token")
        try:
            secret_of(str(node_token))
        except MalformedTokenError as error:
            raise CannotRun(
                f"The console registered {state.node_id} and sent no usable node token: ask it for a new one"
                " on the node's page and put it into agent.yaml as node_token."
            ) from error
        state = replace(state, node_token=str(node_token), attempted_at=None, registered_at=time.time())
        self._folder.save(state)
        self._clock.observe(answer.server_time)
        interval = answer.body.get("heartbeat_interval_s")
        if isinstance(interval, (int, float)) and interval > 0:
            self.heartbeat_interval_seconds = float(interval)
        logs.info("registered", node=state.node_id, status=answer.body.get("status"))
        return state


def _refusal(node_id: str, answer: Answer, may_be_registered: bool) -> str:
    """The message with which the agent ends: the reason and what the operator can do."""
    reason = f"The console refused to register {node_id}: {answer.reason.rstrip('.')}."
    if answer.status in {401, 409} and answer.error_type != "key_exists" and may_be_registered:
        return (
            f"{reason} An earlier attempt from here had no answer, so {node_id} may be registered with this"
            " agent's key already. If the console lists it, ask there for a new node token, put it into"
            " agent.yaml as node_token (or JATEVO_NODE_TOKEN) and start again. If it does not, enrol again."
        )
    if answer.error_type == "key_exists":
        return (
            f"{reason} The key in state_dir is another node's: start with that node's node_id, or give"
            " this node its own state_dir."
        )
    if answer.status == 409:
        return f"{reason} Choose another node_id, or start with the state_dir that this node registered with."
    if answer.status == 401:
        return f"{reason} An enrolment token registers one node and expires after 24 hours: create a new one."
    return reason
