"""Invented nodes and their silences. The same seed gives the same node.

Times are unix seconds (UTC). Silences are whole minutes, because heartbeats are counted by the minute.
"""

import hashlib
import random
from dataclasses import dataclass
from functools import cached_property

from nacl.signing import SigningKey

from nodes.rules.lifecycle import Reason, Status

MINUTE, HOUR, DAY = 60, 3600, 86_400
WHOLE_HOUR = (1 << 60) - 1


@dataclass(frozen=True)
class Silence:
    """The node is not heard in `since <= t < until`. `until` is None if it is still silent.

    `announced` means that the silence is for announced maintenance.
    """

    since: int
    until: int | None
    announced: bool = False

    def minutes_in(self, hour: int) -> int:
        """The silence's minutes in the hour that starts at `hour`, as bits."""
        first = max(0, (self.since - hour) // MINUTE)
        last = 60 if self.until is None else min(60, (self.until - hour) // MINUTE)
        return (WHOLE_HOUR >> (60 - last)) & ~((1 << first) - 1) if last > first else 0


def digest_of(what: str, node_id: str, *, seed: int) -> bytes:
    """32 bytes that look random and are the same for the same node, seed and `what`."""
    return hashlib.sha256(f"{seed} {what} {node_id}".encode()).digest()


@dataclass(frozen=True)
class InventedNode:
    """A node. `org` counts from 0. `status_since` is when its status began, and `joined` when it enrolled."""

    number: int
    node_id: str
    org: int
    region: str
    runtime: str
    status: Status
    reason: Reason | None
    status_since: int
    joined: int
    gpu_model: str
    vram_gb: int
    models: tuple[str, ...]
    asn: str
    agent_version: str
    shared: bool
    green: bool
    probing: bool  # whether a pending node has been heard
    p50_ms: float
    endpoint: str
    seed: int
    silences: tuple[Silence, ...]

    @cached_property
    def signing_key(self) -> SigningKey:
        return SigningKey(self.digest("key"))

    @cached_property
    def public_key_hex(self) -> str:
        return bytes(self.signing_key.verify_key).hex()

    @cached_property
    def model_digest(self) -> str:
        return self.digest("model").hex()

    def digest(self, what: str) -> bytes:
        return digest_of(what, self.node_id, seed=self.seed)

    @property
    def measured(self) -> bool:
        """Whether it has a history: heartbeats, probes and receipts."""
        return self.status is not Status.PENDING

    @property
    def first_whole_hour(self) -> int:
        """The first hour that began after the node had joined."""
        return -(-self.joined // HOUR) * HOUR

    def gaps(self, first_hour: int, *, until: int) -> dict[int, int]:
        """The silent minutes, as bits, of each hour from `first_hour` to that of `until` that has any.

        Minutes after `until` or before the node joined are silent.
        """
        last_hour = until - until % HOUR
        if not self.measured:
            return dict.fromkeys(range(first_hour, last_hour + 1, HOUR), WHOLE_HOUR)
        found: dict[int, int] = {}
        for silence in (Silence(0, self.joined), *self.silences, Silence(until, None)):
            end = last_hour + HOUR if silence.until is None else silence.until
            start = max(first_hour, silence.since - silence.since % HOUR)
            for hour in range(start, min(end, last_hour + HOUR), HOUR):
                if mask := silence.minutes_in(hour):
                    found[hour] = found.get(hour, 0) | mask
        return found


@dataclass(frozen=True)
class InventedFleet:
    members: tuple[InventedNode, ...]
    orgs: int

    @property
    def models(self) -> set[str]:
        """All models that its nodes offer."""
        return {model for member in self.members for model in member.models}

    def of_region(self) -> dict[str, list[InventedNode]]:
        found: dict[str, list[InventedNode]] = {}
        for member in self.members:
            found.setdefault(member.region, []).append(member)
        return found


def dice(seed: int, what: str) -> random.Random:
    """Random numbers for one purpose. The same seed gives the same numbers."""
    return random.Random(f"{seed} {what}")  # noqa: S311 (nothing here is secret)
