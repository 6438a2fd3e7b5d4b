"""Changing the node's key. The new key is stored on disk first, then sent to the console, then used.

If an answer is lost, the same key is sent again until the result is known. Until then the old key signs,
which the console accepts as genuine in either case.

A running agent is asked for a change by a file in its state folder, because only it may write its state.
"""

import json
import secrets
import threading
from dataclasses import replace

from nacl.signing import SigningKey

from . import logs
from .backoff import Backoff
from .clock import ConsoleClock
from .console import Answer, ConsoleClient, Unreachable
from .exits import CannotRun
from .state import NodeState, StateFolder
from .wire.keys import public_key_text
from .wire.signing import sign_key

TOKEN_REFUSED_PAUSE_SECONDS = 60.0
LOOK_FOR_REQUEST_EVERY_SECONDS = 1.0


class CurrentKey:
    """The key to sign with. Another thread may change it between two signatures."""

    def __init__(self, signing_key: SigningKey) -> None:
        self.signing_key = signing_key


def prepare_key_change(folder: StateFolder) -> str:
    """Create the next key and store it on disk. Returns its public key as text.

    If a change is already under way, its key is kept. Raises CannotRun if the node is not registered yet.
    """
    state = folder.load()
    if state is None or state.node_token is None:
        raise CannotRun("This node is not registered yet, so it has no key to change.")
    seed = state.next_seed or secrets.token_bytes(32)
    if state.next_seed is None:
        folder.save(replace(state, next_seed=seed))
    return public_text(seed)


class KeyChange:
    """Sends the next key to the console until it answers. Call `run` in a thread."""

    def __init__(
        self,
        folder: StateFolder,
        console: ConsoleClient,
        clock: ConsoleClock,
        stopping: threading.Event,
        key: CurrentKey,
    ) -> None:
        self._folder = folder
        self._console = console
        self._clock = clock
        self._stopping = stopping
        self._key = key

    def run(self) -> None:
        """Complete the change that is under way, and then each that is asked for, until `stopping` is set."""
        may_be_under_way = True
        while not self._stopping.is_set():
            if self._folder.is_key_requested():
                self._begin()
                may_be_under_way = True
            if may_be_under_way:
                state = self._folder.load()
                if state is not None:
                    self.complete(state)
                may_be_under_way = False
            self._stopping.wait(LOOK_FOR_REQUEST_EVERY_SECONDS)

    def _begin(self) -> None:
        """Store the next key, and only then remove the request: who asked takes no next key for a refusal."""
        try:
            prepare_key_change(self._folder)
        finally:
            self._folder.forget_key_request()

    def complete(self, state: NodeState) -> None:
        """Complete the key change in `state`, if any. A key that the console refuses is dropped."""
        if state.next_seed is None or state.node_token is None:
            return
        offered = public_text(state.next_seed)
        body = json.dumps(
            {"public_key": offered, "signature": sign_key(state.node_id, offered, state.signing_key)}
        ).encode()
        backoff = Backoff(first_seconds=0.5, longest_seconds=15.0)
        while not self._stopping.is_set():
            try:
                answer = self._console.add_key(state.node_token, body)
            except Unreachable as error:
                delay, reason = backoff.failed(), str(error)
            else:
                if answer.status in {200, 201} or answer.error.get("current_key") == offered:
                    former_keys = (*state.former_keys, public_text(state.seed))
                    self._use(replace(state, seed=state.next_seed, next_seed=None, former_keys=former_keys))
                    return
                if not (answer.may_pass or answer.status == 401 or answer.error_type == "replayed_request"):
                    self._drop(state, answer)
                    return
                self._clock.observe(answer.server_time)
                delay, reason = backoff.failed(answer.retry_after_seconds), answer.reason
                if answer.status == 401 and answer.error_type != "clock_skew":
                    delay = TOKEN_REFUSED_PAUSE_SECONDS
            if backoff.failures == 1:
                logs.warning("the key is not changed yet; trying again", reason=reason)
            self._stopping.wait(delay)

    def _use(self, state: NodeState) -> None:
        self._folder.save(state)
        self._key.signing_key = state.signing_key
        logs.info("the node's new key is in use", public_key=public_text(state.seed))

    def _drop(self, state: NodeState, answer: Answer) -> None:
        self._folder.save(replace(state, next_seed=None))
        logs.error(
            "the console refused the node's new key; the old one stays in use",
            reason=answer.reason,
            current_key=answer.error.get("current_key"),
        )


def public_text(seed: bytes) -> str:
    """The public key of a private one, `ed25519:…`."""
    return public_key_text(bytes(SigningKey(seed).verify_key))
