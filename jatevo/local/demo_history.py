"""Fourteen days of invented history for the demo fleet, so that the pages are full at the first start.

It is marked as invented: the console shows a notice, each invented receipt has the signed member
`"demo": true`, and the incident's description says so. The nodes' keys are real. The demo's agents receive
them and continue where the history ends, so invented receipts verify like later ones.
"""

import base64
import hmac
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path

from django.conf import settings
from django.db import transaction

from jatevo.accounts.models import Org, User
from jatevo.audit.record import SYSTEM, record
from jatevo.local.history import hours, observations, receipts, registry
from jatevo.local.history.copying import moment
from jatevo.local.history.fleet import DAY, HOUR, MINUTE, InventedFleet, InventedNode, Silence, dice
from jatevo.local.history.measurements import Measured, Measurements, cells_of
from jatevo.local.keys import write_private
from jatevo.metrics.facts import ReceiptFact
from jatevo.metrics.store import get_store
from jatevo.overview.models import Incident, IncidentState, IncidentUpdate, Severity
from nodes.actions import create_sender, recompute
from nodes.figures import refresh_standings
from nodes.models import Exemption, ExemptionKind, Node, NodeAttestation, SweeperClock, Validator
from nodes.rules.lifecycle import Reason, Status
from nodes.tokens import node_token
from receipts.models import Gateway
from receipts.partitions import ensure_partitions

DAYS = 14
RECEIPTS_PER_NODE_DAY = 200.0
DISPATCHED_SHARE = 0.8  # of the requests, by the gateway
LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")  # the demo's validator and gateway run on this machine
# Typical for probes over loopback, which the demo's validator sends after the start.
TYPICAL_P95_MS = 40.0
MARKS = {"demo": True}  # a signed member of every invented receipt
# The members of `attest`.
STATED = ("gpu_model", "vram_gb", "driver_version", "cuda_version", "hardware_hash", "energy_proof_url")
HARDWARE_FILE = "attest.json"  # next to agent.yaml: the hardware that the agent continues to state


@dataclass(frozen=True)
class Past:
    """The invented facts about a node.

    Each entry of `away` is a silence: how many hours ago it began, its minutes, and whether it was announced.
    """

    gpu_model: str
    vram_gb: int
    p50_ms: float
    asn: str
    joined_days_ago: int = DAYS + 2
    green: bool = False
    shared: bool = True
    away: tuple[tuple[int, int, bool], ...] = ()


PASTS: Mapping[str, Past] = {
    # A laptop that is closed now and then.
    "macbook-001": Past(
        "Apple M3 Max", 48, 24.0, "AS4657 StarHub", away=((19, 38, False), (92, 25, False), (213, 55, False))
    ),
    "sgp-rtx4090-01": Past(
        "NVIDIA GeForce RTX 4090", 24, 16.0, "AS3758 SingNet", green=True, away=((75, 40, True),)
    ),
    "iad-h100-01": Past("NVIDIA H100 80GB HBM3", 80, 11.0, "AS14618 Amazon", away=((122, 24, False),)),
    "iad-l40s-02": Past("NVIDIA L40S", 48, 14.0, "AS14618 Amazon", away=((122, 21, False),)),
    "fra-a100-01": Past("NVIDIA A100-SXM4-80GB", 80, 12.0, "AS24940 Hetzner", joined_days_ago=6, green=True),
}
# While both nodes of us-east were away.
INCIDENT_HOURS_AGO, INCIDENT_MINUTES = 122, 45


@dataclass(frozen=True)
class PastNode:
    """An agent whose node gets an invented history. `state` is the agent's state folder."""

    node_id: str
    region: str
    runtime: str
    models: tuple[str, ...]
    state: Path
    endpoint: str


def invent_history(
    agents: Sequence[PastNode],
    *,
    org: Org,
    by: User,
    console_url: str,
    validator: str,
    gateway: str,
    at: datetime,
) -> None:
    """Writes the nodes and their history up to `at`, and a state file for each agent.

    PostgreSQL gets all of it or nothing. If it is interrupted, it can be run again: the same installation
    always invents the same history.
    """
    now = int(at.timestamp())
    members = [_member(number, agent, now) for number, agent in enumerate(agents)]
    fleet = InventedFleet(tuple(members), orgs=1)
    first = _whole_hour(now) - DAYS * DAY
    ensure_partitions(at=moment(now - 32 * DAY))
    create_sender(Validator, name=validator, by=by, at=at, networks=LOOPBACK_NETWORKS)
    create_sender(Gateway, name=gateway, by=by, at=at, networks=LOOPBACK_NETWORKS)
    with transaction.atomic():
        registry.write_nodes(fleet, [org.pk], now=now)
        observations.write_beats(fleet, now=now)
        observations.write_hours(fleet, days=DAYS, now=now)
        observations.write_probes(fleet, [validator], now=now)
        facts = receipts.write_receipts(
            fleet,
            [org.pk],
            first=first,
            until=now,
            per_node_day=RECEIPTS_PER_NODE_DAY,
            draw=dice(_seed(), "receipts"),
            marks=MARKS,
            gateway=gateway,
            dispatched_share=DISPATCHED_SHARE,
        )
        _write_hours(fleet, facts, first=first, until=_whole_hour(now))
        _write_incident(now, by=by.email)
        _write_maintenance(fleet, by=by.email)
        _measure(fleet, facts, first=first, now=now)
        for member, agent in zip(members, agents, strict=True):
            _hand_over(member, agent, console_url)
        # last, because the sweeper waits for this row's lock until the transaction ends
        SweeperClock.objects.update_or_create(pk=1, defaults={"last_run_at": at, "counting_from": at})
        record(
            "demo.history", by=SYSTEM, subject_kind="org", subject_id=str(org.pk), org_id=org.pk, days=DAYS
        )
    recompute(at=at)
    refresh_standings(at=at)


def _member(number: int, agent: PastNode, now: int) -> InventedNode:
    past = PASTS[agent.node_id]
    joined = now - now % MINUTE - past.joined_days_ago * DAY
    silences = tuple(
        Silence(start, start + minutes * MINUTE, announced)
        for hours_ago, minutes, announced in sorted(past.away, reverse=True)
        if (start := _whole_hour(now) - hours_ago * HOUR + 7 * MINUTE) > joined
    )
    return InventedNode(
        number=number,
        node_id=agent.node_id,
        org=0,
        region=agent.region,
        runtime=agent.runtime,
        status=Status.ACTIVE,
        reason=Reason.PROBE_PASSED,
        status_since=max([joined + MINUTE, *(each.until + MINUTE for each in silences if each.until)]),
        joined=joined,
        gpu_model=past.gpu_model,
        vram_gb=past.vram_gb,
        models=agent.models,
        asn=past.asn,
        agent_version=metadata.version("jatevo-agent"),
        shared=past.shared,
        green=past.green,
        probing=False,
        p50_ms=past.p50_ms,
        endpoint=agent.endpoint,
        seed=_seed(),
        silences=silences,
    )


def _seed() -> int:
    """A secret seed that differs between installations. The nodes' keys derive from it."""
    return int.from_bytes(hmac.digest(settings.MASTER_KEY, b"jatevo-demo-history", "sha256"))


def _whole_hour(seconds: int) -> int:
    return seconds - seconds % HOUR


def _write_hours(fleet: InventedFleet, facts: Sequence[ReceiptFact], *, first: int, until: int) -> None:
    """Writes the hourly figures. Their traffic is the sum of the receipts."""
    served: dict[tuple[str, int], hours.ServedTraffic] = defaultdict(hours.ServedTraffic)
    for fact in facts:
        traffic = served[fact.region, _whole_hour(fact.accepted_at)]
        traffic.requests += 1
        traffic.tokens_input += fact.tokens_input
        traffic.tokens_output += fact.tokens_output
        traffic.errors += fact.failed
    hours.write_hours(
        fleet,
        first=first,
        until=until,
        seed=_seed(),
        typical_p95_ms=TYPICAL_P95_MS,
        traffic=lambda region, hour, active: served[region, hour],
    )


def _write_incident(now: int, *, by: str) -> None:
    starts = _whole_hour(now) - INCIDENT_HOURS_AGO * HOUR
    ends = starts + INCIDENT_MINUTES * MINUTE
    incident = Incident.objects.create(
        title="Packet loss in us-east",
        region="us-east",
        severity=Severity.WARN,
        starts_at=moment(starts),
        resolved_at=moment(ends),
        description="Demo data: this incident is invented.",
    )
    IncidentUpdate.objects.bulk_create(
        IncidentUpdate(incident=incident, at=moment(when), state=state, text=text, by=by)
        for when, state, text in (
            (starts, IncidentState.INVESTIGATING, "Nodes in us-east are losing connections."),
            (starts + 12 * MINUTE, IncidentState.IDENTIFIED, "A transit provider is dropping packets."),
            (ends, IncidentState.RESOLVED, "The provider has rerouted the traffic."),
        )
    )
    Exemption.objects.create(
        kind=ExemptionKind.INCIDENT,
        region=incident.region,
        starts_at=incident.starts_at,
        ends_at=incident.resolved_at,
        message=incident.title,
        reference=f"incident:{incident.pk}",
        created_by=by,
    )


def _write_maintenance(fleet: InventedFleet, *, by: str) -> None:
    for member in fleet.members:
        for silence in member.silences:
            if silence.announced and silence.until is not None:
                Exemption.objects.create(
                    kind=ExemptionKind.MAINTENANCE,
                    node_id=member.node_id,
                    starts_at=moment(silence.since - 2 * MINUTE),
                    ends_at=moment(silence.until + 3 * MINUTE),
                    message="New driver",
                    created_by=by,
                )


def _measure(fleet: InventedFleet, facts: Sequence[ReceiptFact], *, first: int, now: int) -> None:
    """Writes uptime minutes, latencies and receipts to ClickHouse."""
    known = [
        Measured(member.node_id, member.region, member.models[0], member.p50_ms) for member in fleet.members
    ]
    gaps = [
        (member.node_id, hour, silent)
        for member in fleet.members
        for hour, silent in member.gaps(first, until=now).items()
    ]
    end = _whole_hour(now) + HOUR
    with Measurements(get_store(), known, gaps, seed=_seed() % 2**32) as measurements:
        measurements.copy_receipts(map(cells_of, facts))
        measurements.batches(first, end, per_node_day=RECEIPTS_PER_NODE_DAY)
        measurements.uptime(first, end)
        measurements.latency(first, end)


def _hand_over(member: InventedNode, agent: PastNode, console_url: str) -> None:
    """Writes the agent's state file, so that it starts as the registered node."""
    agent.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = NodeAttestation.objects.values(*STATED).get(node_id=member.node_id)
    write_private(agent.state.with_name(HARDWARE_FILE), json.dumps(said, indent=2))
    write_private(
        agent.state / "state.json",
        json.dumps(
            {
                "version": 1,
                "node_id": member.node_id,
                "console": console_url,
                "private_key": base64.b64encode(bytes(member.signing_key)).decode(),
                "node_token": node_token(Node.objects.get(pk=member.node_id)),
                "attempted_at": None,
                "registered_at": float(member.joined),
            },
            indent=2,
        ),
    )


def notice(until: datetime) -> str:
    """The notice about invented history that every page shows."""
    return f"Demo data: history before {until:%-d %b %Y, %H:%M} UTC is invented."
