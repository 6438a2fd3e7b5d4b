"""How the console sees this node: `GET /v1/nodes/self`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .clock import ConsoleClock
from .console import Answer, ConsoleClient, Unreachable
from .state import NodeState


class NoServerView(Exception):
    """The console did not say how it sees the node. The message says why."""

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer

    @property
    def is_token_refused(self) -> bool:
        """Whether the console answered, and does not accept the node's token."""
        return self.answer is not None and self.answer.status in {401, 403}

    @property
    def is_unknown_there(self) -> bool:
        """Whether this console is too old to say."""
        return self.answer is not None and self.answer.status in {404, 405}


@dataclass(frozen=True)
class ServerView:
    """The console's answer. Unknown members are None or ''. Times are the console's RFC 3339 text."""

    status: str
    status_reason: str
    reachable: bool | None
    reachable_since: str | None
    last_heartbeat_at: str | None
    last_probe: Mapping[str, Any] | None
    challenge_passed_at: str | None
    advice: str
    clock_offset_seconds: float
    """The console's time minus this machine's. 0 if they agree within the tolerance."""

    @property
    def is_behind_nat(self) -> bool:
        """Whether the node proves itself through its heartbeats because no validator reaches it."""
        return not self.reachable and self.challenge_passed_at is not None


def ask_console(console_url: str, state: NodeState) -> ServerView:
    """The console's view of a registered node. Raises NoServerView.

    If this machine's clock is off, the console's time is used for a second attempt.
    """
    if state.node_token is None:
        raise NoServerView("the node is not registered")
    clock = ConsoleClock()
    client = ConsoleClient(console_url, state.node_id, clock)
    try:
        answer = client.node_self(state.node_token)
        if answer.error_type == "clock_skew":
            clock.observe(answer.server_time)
            answer = client.node_self(state.node_token)
    except Unreachable as error:
        raise NoServerView(str(error)) from error
    finally:
        client.close()
    if answer.status != 200:
        raise NoServerView(answer.reason, answer)
    return _view(answer.body, clock.offset_seconds)


def _view(body: Mapping[str, Any], clock_offset_seconds: float) -> ServerView:
    reachable, last_probe = body.get("reachable"), body.get("last_probe")
    return ServerView(
        status=_text(body, "status") or "",
        status_reason=_text(body, "status_reason") or "",
        reachable=reachable if isinstance(reachable, bool) else None,
        reachable_since=_text(body, "reachable_since"),
        last_heartbeat_at=_text(body, "last_heartbeat_at"),
        last_probe=last_probe if isinstance(last_probe, dict) else None,
        challenge_passed_at=_text(body, "challenge_passed_at"),
        advice=_text(body, "advice") or "",
        clock_offset_seconds=clock_offset_seconds,
    )


def _text(body: Mapping[str, Any], member: str) -> str | None:
    """The member if it is printable text, so that a console cannot write control characters to a terminal."""
    value = body.get(member)
    return value if isinstance(value, str) and value.isprintable() else None
