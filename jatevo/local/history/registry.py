"""Writes the invented nodes, their keys and their transitions to PostgreSQL."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import orjson

from jatevo.audit.record import SYSTEM
from jatevo.local.history.copying import copy_rows, moment
from jatevo.local.history.fleet import MINUTE, InventedFleet, InventedNode
from jatevo.wire.names import normal_model
from nodes.rules.lifecycle import Phase, Reason, Status

OFFLINE_AFTER = 5 * MINUTE
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_NODE = (
    "id", "org_id", "region", "runtime", "status", "probing_since", "status_since", "status_reason", "failed_probes",
    "passed_audits", "fraud", "token_version", "models_offered", "endpoint", "agent_version", "wallet_chain",
    "wallet_address", "asn_hint", "green_energy", "shared", "pseudonym", "first_heard_at", "last_heartbeat_at",
    "last_heartbeat_ts", "last_metrics", "last_health_at", "last_latency_at", "last_audit_at", "beat_minute", "beats", "created_at",
)  # fmt: skip
_ATTESTATION = (
    "node_id", "gpu_model", "vram_gb", "driver_version", "cuda_version", "hardware_hash", "energy_proof_url",
    "updated_at",
)  # fmt: skip
_TRANSITION = ("node_id", "at", "from_status", "to_status", "reason", "actor_kind", "actor_id", "evidence")


def write_nodes(fleet: InventedFleet, orgs: Sequence[UUID], *, now: int) -> int:
    """Writes nodes, attestations, keys, offered models and transitions. Returns the number of transitions."""
    copy_rows("nodes_node", _NODE, (_node(member, orgs[member.org], now) for member in fleet.members))
    copy_rows("nodes_nodeattestation", _ATTESTATION, map(_attestation, fleet.members))
    copy_rows("nodes_nodekey", ("node_id", "public_key", "valid_from", "added_by"), map(_key, fleet.members))
    offers = (
        (member.node_id, normal_model(model), moment(member.joined))
        for member in fleet.members
        for model in member.models
    )
    copy_rows("nodes_nodeoffer", ("node_id", "model", "offered_from"), offers)
    transitions = [step for member in fleet.members for step in _transitions(member)]
    # by time, because a node's history is ordered by the ids
    transitions.sort(key=lambda step: (step[1], step[0]))
    return copy_rows("nodes_nodetransition", _TRANSITION, transitions)


def heard_at(member: InventedNode, now: int) -> float | None:
    """When the node's last heartbeat came, in unix seconds. None if it never sent one."""
    if member.status is Status.PENDING and not member.probing:
        return None
    silent = next((each.since for each in member.silences if each.until is None), None)
    return float(silent) - 1 if silent else now - member.number % 10 - 0.5


def _node(member: InventedNode, org: UUID, now: int) -> tuple[Any, ...]:
    heard = heard_at(member, now)
    probed = moment(heard - member.number % 55) if heard and member.measured else None
    return (
        member.node_id,
        org,
        member.region,
        member.runtime,
        member.status.value,
        moment(member.joined + 5) if member.status is Status.PENDING and member.probing else None,
        moment(member.status_since),
        member.reason.value if member.reason else "",
        0,
        0,
        False,
        1,
        list(member.models),
        member.endpoint,
        member.agent_version,
        "solana",
        _solana_address(member.digest("wallet")),
        member.asn,
        member.green,
        member.shared,
        f"anon-{member.digest('pseudonym').hex()[:10]}",
        moment(member.joined) if heard else None,
        moment(heard) if heard else None,
        heard,
        orjson.dumps({"uptime": now - member.joined, "gpu_util": 0.6, "temp": 61.5}).decode(),
        probed,
        probed,
        probed,
        moment(heard - heard % MINUTE) if heard else None,
        6 if heard else 0,
        moment(member.joined),
    )


def _solana_address(key: bytes) -> str:
    """The base58 text of 32 bytes, as Solana writes addresses."""
    number, digits = int.from_bytes(key), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "1" * (len(key) - len(key.lstrip(b"\0"))) + digits


def _attestation(member: InventedNode) -> tuple[Any, ...]:
    nvidia = member.gpu_model.startswith("NVIDIA")
    return (
        member.node_id,
        member.gpu_model,
        member.vram_gb,
        "550.90.07" if nvidia else "",
        "12.4" if nvidia else "",
        f"blake3:{member.digest('hardware').hex()}",
        "https://example.org/certificate" if member.green else "",
        moment(member.joined),
    )


def _key(member: InventedNode) -> tuple[Any, ...]:
    return member.node_id, bytes(member.signing_key.verify_key), moment(member.joined), member.node_id


def _transitions(member: InventedNode) -> Iterator[tuple[Any, ...]]:
    if member.status is Status.PENDING:
        if member.probing:
            yield _step(member, member.joined + 5, Phase.REGISTERED, Phase.PROBING, Reason.FIRST_HEARTBEAT)
        return
    yield _step(member, member.joined + 5, Phase.REGISTERED, Phase.PROBING, Reason.FIRST_HEARTBEAT)
    yield _step(member, member.joined + 20, Phase.PROBING, Phase.ACTIVE, Reason.PROBE_PASSED)
    for silence in member.silences:
        evidence = {"last_heartbeat_at": str(moment(silence.since)), "deadline_s": OFFLINE_AFTER}
        gone, back = silence.since + OFFLINE_AFTER, silence.until
        reason = Reason.MAINTENANCE if silence.announced else Reason.NO_HEARTBEAT
        yield _step(member, gone, Phase.ACTIVE, Phase.OFFLINE, reason, evidence)
        if back is not None:
            yield _step(member, back + 2, Phase.OFFLINE, Phase.PROBING, Reason.FIRST_HEARTBEAT)
            yield _step(member, back + MINUTE, Phase.PROBING, Phase.ACTIVE, Reason.PROBE_PASSED)
    if member.status is Status.QUARANTINE and member.reason:
        evidence = {"note": "An invented node"}
        yield _step(member, member.status_since, Phase.ACTIVE, Phase.QUARANTINE, member.reason, evidence)


def _step(
    member: InventedNode,
    at: int,
    before: Phase,
    after: Phase,
    reason: Reason,
    evidence: dict[str, object] | None = None,
) -> tuple[Any, ...]:
    told = orjson.dumps(evidence or {}).decode()
    return member.node_id, moment(at), before, after, reason, SYSTEM.kind, SYSTEM.id, told
