"""Answers the console's challenges, which come with the answers to heartbeats.

The console asks a node this way where validators cannot reach it, such as behind NAT. Where a challenge has a
prompt, the runtime completes it, and the answer says what came out. The console's prompt is no secret, but it is
neither stored nor logged, like any other.
"""

from __future__ import annotations

import json
import queue
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import logs
from .backoff import Backoff
from .clock import ConsoleClock, parse_server_time
from .console import ConsoleClient, Unreachable
from .gateway.serving import CannotComplete, Completed
from .key_change import CurrentKey
from .wire.signing import sign_health

MAX_TOKENS = 16  # for the console's own prompts
MAX_TOKENS_OF_PROOF = 64  # for a prompt whose receipt the owner has asked for
LONGEST_PROMPT = 2000
MOST_WAITING = 4
# The runtime must be done this long before a challenge expires, so that the answer arrives in time.
SPARE_SECONDS = 3.0
ASSUMED_SECONDS = 20.0  # for a challenge that does not say when it expires
_NONCE = re.compile(r"[0-9a-f]{32}")
_TEXT = re.compile(r"[\x21-\x7e]{1,128}")

# complete(prompt, max_tokens, request_id=…, timeout_seconds=…), as `Gateway.complete`
Complete = Callable[..., Completed]


@dataclass(frozen=True)
class Challenge:
    """A challenge as it came. `expires_at` is in unix seconds of the console's clock."""

    challenge_id: str
    nonce: str
    prompt: str
    request_id: str | None
    expires_at: float


class Challenges:
    """Answers challenges one after another. Call `run` in a thread, and `take` from any other."""

    def __init__(
        self,
        *,
        node_id: str,
        node_token: str,
        key: CurrentKey,
        console: ConsoleClient,
        clock: ConsoleClock,
        complete: Complete,
        stopping: threading.Event,
    ) -> None:
        self._node_id = node_id
        self._node_token = node_token
        self._key = key
        self._console = console
        self._clock = clock
        self._complete = complete
        self._stopping = stopping
        self._waiting: queue.Queue[Challenge] = queue.Queue(MOST_WAITING)

    def take(self, said: object) -> None:
        """Queue the `challenge` member of a heartbeat's answer. Never blocks, ignores what is malformed."""
        challenge = parse_challenge(said, now=self._clock.now())
        if challenge is None:
            logs.warning("the console's challenge is not understood")
            return
        try:
            self._waiting.put_nowait(challenge)
        except queue.Full:
            logs.warning("a challenge is left out: the ones before it take too long")

    def run(self) -> None:
        """Answer challenges until `stopping` is set."""
        while not self._stopping.is_set():
            try:
                challenge = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            self.answer(challenge)

    def answer(self, challenge: Challenge) -> bool:
        """Answer one challenge, and return whether the console has the answer."""
        if challenge.expires_at <= self._clock.now():
            logs.warning("a challenge has expired before it could be answered")
            return False
        output = self._output(challenge) if challenge.prompt else {}
        document = {
            "node_id": self._node_id,
            "id": challenge.challenge_id,
            "signature": sign_health(self._node_id, challenge.nonce, self._key.signing_key),
            **output,
        }
        return self._send(json.dumps(document).encode(), challenge)

    def _output(self, challenge: Challenge) -> dict[str, Any]:
        """What the answer says about the runtime's output. Empty if there is none."""
        seconds = challenge.expires_at - self._clock.now() - SPARE_SECONDS
        if seconds <= 0:
            return {}
        most = MAX_TOKENS if challenge.request_id is None else MAX_TOKENS_OF_PROOF
        try:
            completed = self._complete(
                challenge.prompt, most, request_id=challenge.request_id, timeout_seconds=seconds
            )
        except CannotComplete as error:
            logs.warning("the runtime did not answer the console's prompt", reason=str(error))
            return {}
        output: dict[str, Any] = {
            "output_hash": _as_blake3(completed.output_blake3),
            "tokens_output": completed.tokens_output,
        }
        if completed.first_token_ms is not None:
            output["first_token_ms"] = round(completed.first_token_ms, 1)
        return output

    def _send(self, body: bytes, challenge: Challenge) -> bool:
        """Send the answer, again until the challenge expires if the console does not take it."""
        backoff = Backoff(first_seconds=0.5, longest_seconds=4.0)
        while True:
            reason, retry_after_seconds = "", None
            try:
                answer = self._console.challenge(self._node_token, body)
            except Unreachable as error:
                reason = str(error)
            else:
                if answer.status == 200 and answer.body.get("passed") is True:
                    return True
                if answer.error_type == "replayed_request":  # it arrived before, and only the answer was lost
                    return True
                reason, retry_after_seconds = answer.reason, answer.retry_after_seconds
                if answer.status == 200:
                    logs.warning("the console has the answer to its challenge, but it did not pass")
                    return True
                if not answer.may_pass:
                    logs.warning("the console refused the answer to its challenge", reason=reason)
                    return False
            delay = backoff.failed(retry_after_seconds)
            if self._clock.now() + delay >= challenge.expires_at or self._stopping.wait(delay):
                logs.warning("a challenge could not be answered in time", reason=reason)
                return False


def parse_challenge(said: object, *, now: float) -> Challenge | None:
    """The challenge that the console sent, or None if it is malformed. `now` is in unix seconds."""
    if not isinstance(said, Mapping):
        return None
    challenge_id, nonce = said.get("id"), said.get("nonce")
    prompt, request_id = said.get("prompt") or "", said.get("request_id")
    if not (isinstance(challenge_id, str) and _TEXT.fullmatch(challenge_id)):
        return None
    if not (isinstance(nonce, str) and _NONCE.fullmatch(nonce)):
        return None
    if not isinstance(prompt, str) or len(prompt) > LONGEST_PROMPT:
        return None
    if request_id is not None and not (isinstance(request_id, str) and _TEXT.fullmatch(request_id)):
        return None
    expires_at = parse_server_time(said.get("expires_at"))
    if expires_at is None:
        expires_at = now + ASSUMED_SECONDS
    return Challenge(challenge_id, nonce, prompt, request_id, expires_at)


def _as_blake3(digest: str) -> str:
    return digest if digest.startswith("blake3:") else f"blake3:{digest}"
