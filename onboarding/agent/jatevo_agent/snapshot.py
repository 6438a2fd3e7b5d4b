"""What the agent's files say about it, whether it runs or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .config import Config
from .spool import SpoolCounts, read_counts
from .state import NodeState, StateFolder


@dataclass(frozen=True)
class Snapshot:
    """One look at the state folder. Times are in unix seconds."""

    node_id: str
    console: str
    state: NodeState | None
    is_running: bool
    counts: SpoolCounts
    agent_version: str | None
    started_at: float | None
    heartbeats_accepted: int
    """In this run."""
    last_heartbeat: Mapping[str, Any] | None
    """The console's last answer, and the `models` and `runtime_up` of the heartbeat."""
    needs_a_person: str | None
    """Why the agent ended or waits until a person acts."""
    needs_a_person_since: float | None

    @property
    def is_registered(self) -> bool:
        """Whether the node has a node token."""
        return self.state is not None and self.state.node_token is not None

    @property
    def models(self) -> list[str]:
        """The models of the last heartbeat."""
        models = (self.last_heartbeat or {}).get("models")
        return [str(model) for model in models] if isinstance(models, list) else []

    @property
    def runtime_is_up(self) -> bool | None:
        """Whether the runtime answered before the last heartbeat. None if that is not known."""
        up = (self.last_heartbeat or {}).get("runtime_up")
        return up if isinstance(up, bool) else None

    def document(self) -> dict[str, Any]:
        """The output of `status --json`, except for the console's view."""
        state, counts = self.state, self.counts
        return {
            "node_id": self.node_id,
            "console": self.console,
            "registered": self.is_registered,
            "registered_at": rfc3339(state.registered_at if state else None),
            "running": self.is_running,
            "needs_a_person": self.needs_a_person,
            "spooled": counts.spooled,
            "refused": counts.refused,
            "completed_total": counts.completed_total,
            "last_heartbeat": self.last_heartbeat
            and {**self.last_heartbeat, "at": rfc3339(self.last_heartbeat.get("at"))},
            "agent_version": self.agent_version,
            "started_at": rfc3339(self.started_at),
        }


def take_snapshot(config: Config) -> Snapshot:
    """Read the files. Raises CannotRun if the state is damaged or open to others."""
    folder = StateFolder(config.state_dir)
    state = folder.load()
    status = folder.read_status()
    last_heartbeat, problem = status.get("last_heartbeat"), status.get("needs_a_person")
    problem = problem if isinstance(problem, dict) else {}
    return Snapshot(
        node_id=state.node_id if state else config.node_id,
        console=state.console if state else config.console,
        state=state,
        is_running=folder.is_locked(),
        counts=read_counts(folder.spool_path) or SpoolCounts(0, 0, 0),
        agent_version=status.get("agent_version"),
        started_at=status.get("started_at"),
        heartbeats_accepted=int(status.get("heartbeats_accepted") or 0),
        last_heartbeat=last_heartbeat if isinstance(last_heartbeat, dict) else None,
        needs_a_person=problem.get("message"),
        needs_a_person_since=problem.get("at"),
    )


def rfc3339(unix_seconds: float | None) -> str | None:
    """The moment in UTC, to the second. None stays None."""
    if unix_seconds is None:
        return None
    at = datetime.fromtimestamp(unix_seconds, timezone.utc)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
