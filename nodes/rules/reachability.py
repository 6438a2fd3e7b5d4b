"""Whether a node can be reached at its endpoint: a fact apart from its status. Pure.

A node behind NAT is active if it answers challenges through its heartbeats. No gateway sends it requests,
because gateways use its endpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nodes.rules.lifecycle import Phase
from nodes.rules.probes import ProbeFault

# Nobody answered at the endpoint, or something else than the node did, such as the operator's router.
NOT_REACHED = (ProbeFault.UNREACHABLE, ProbeFault.TIMEOUT, ProbeFault.REFUSED, ProbeFault.BAD_STATUS)
# A node that was heard within this time can be asked through its heartbeats.
HEARD_WITHIN = timedelta(seconds=60)
# A node that passed a challenge within this time needs no other proof that it is there.
PASSED_WITHIN = timedelta(minutes=5)


class Reachability(StrEnum):
    """Whether validators reach a node, as a filter and in words."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        return {"yes": "Reachable", "no": "Not reachable", "unknown": "Not known yet"}[self.value]

    @property
    def stored(self) -> bool | None:
        """The fact as it is stored with a node."""
        return {"yes": True, "no": False, "unknown": None}[self.value]


_BY_STORED = {each.stored: each for each in Reachability}


def reachability(reachable: bool | None) -> Reachability:
    """The stored fact as a word."""
    return _BY_STORED[reachable]


def seen_at_endpoint(*, ok: bool, fault: ProbeFault | None) -> bool | None:
    """What a validator's probe says about reachability. None: nothing.

    A false answer came from the endpoint, but says nothing about whether the node is behind it.
    """
    if ok or fault is ProbeFault.TOO_SLOW:
        return True
    return False if fault in NOT_REACHED else None


def is_excused(
    fault: ProbeFault | None,
    phase: Phase,
    *,
    reachable: bool | None,
    heard_at: datetime | None,
    passed_at: datetime | None,
    at: datetime,
) -> bool:
    """Whether a validator's failed probe counts for nothing, because the node is asked through heartbeats.

    While it becomes active, that holds for every probe that did not reach it: the challenges decide. Later it
    holds only while the node is known not to be reachable and has passed a challenge lately. So the first
    probe that does not reach a node in service counts, and so do all of a node that does not answer challenges.
    `heard_at` is its last heartbeat, `passed_at` when it last passed a challenge.
    """
    if fault not in NOT_REACHED or heard_at is None or at - heard_at > HEARD_WITHIN:
        return False
    if phase is Phase.PROBING:
        return True
    return reachable is False and passed_at is not None and at - passed_at <= PASSED_WITHIN


@dataclass(frozen=True)
class EndpointAdvice:
    """What unreachable means for the node's owner (`what`), and the ways out (`ways`)."""

    what: str
    ways: Sequence[str] = ()


WAYS_OUT = (
    "Port forwarding: in your router, forward the agent's port to this machine, and set endpoint in agent.yaml"
    " to your public address and that port.",
    "IPv6: if your provider gives this machine a public IPv6 address, allow the port in the router's firewall"
    " and set endpoint to http://[address]:port.",
    "A tunnel of your choice, such as WireGuard to a server with a public address, or a tunnel service: set"
    " endpoint to the tunnel's public URL.",
)


def endpoint_advice(
    phase: Phase, *, reachable: bool | None, endpoint: str, fault: str = "", detail: str = ""
) -> EndpointAdvice | None:
    """The advice for a node that is not reachable. None for one that is, or of which it is not known yet.

    `fault` (in words) and `detail` are of the validators' last probe.
    """
    if reachable is not False:
        return None
    if not endpoint:
        why = "It has stated no endpoint."
    else:
        found = detail or fault.lower()
        why = f"Validators do not reach {endpoint}{f': {found}' if found else ''}."
    before = "Online, but it" if phase is Phase.ACTIVE else "It"
    return EndpointAdvice(
        f"{before} receives no requests from gateways until it can be reached from the internet. {why}",
        WAYS_OUT,
    )
