"""What a node states about itself after its registration. Each change is recorded with its time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from jatevo.audit.record import Actor, record
from nodes.actions.fraud import relate
from nodes.models import Node, NodeAttestation, NodeChange, NodeMark
from nodes.rules.marks import MarkKind, hardware_mark

# A node has a handful of changes in a year. The limit keeps a faulty or hostile agent from filling the
# history.
MOST_CHANGES = 24
MOST_CHANGES_WITHIN = timedelta(days=1)

_OF_NODE = ("agent_version", "concurrency")
_OF_HARDWARE = (
    "gpu_model", "vram_gb", "driver_version", "cuda_version", "hardware_hash", "energy_proof_url",
)  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """The members of a registration that a heartbeat repeats. None or absent: not stated."""

    agent_version: str | None = None
    concurrency: int | None = None
    attestation: dict[str, Any] = field(default_factory=dict)

    def members(self) -> dict[str, Any]:
        """The values that were stated, keyed by column."""
        of_node = {"agent_version": self.agent_version, "concurrency": self.concurrency}
        return {name: value for name, value in of_node.items() if value is not None} | self.attestation


@dataclass(frozen=True)
class Restated:
    """The result of a statement.

    `declined` lists the members that were not stored, by their names in the heartbeat.

    `held`: a finding of fraud now holds the node, because the finding's node has or had this hardware.
    """

    declined: tuple[str, ...] = ()
    held: bool = False


def restate(*, node_id: str, statement: Statement, at: datetime) -> Restated:
    """Stores what the node now states differently, and records the change.

    Changes beyond MOST_CHANGES within MOST_CHANGES_WITHIN are declined; they are stored when the agent
    repeats them later. A new address of a confirmed energy proof must be confirmed again. A new hardware hash
    is stored as a mark, which findings of fraud use.
    """
    said = statement.members()
    if not said or not _differences(said, _stored(node_id)):
        return Restated()
    with transaction.atomic():
        node = Node.objects.select_for_update().get(pk=node_id)
        changes = _differences(said, _stored(node_id))
        if not changes:
            return Restated()
        recent = NodeChange.objects.filter(node=node, at__gt=at - MOST_CHANGES_WITHIN).order_by("-id")
        if recent[:MOST_CHANGES].count() == MOST_CHANGES:
            return Restated(tuple(name if name in _OF_NODE else f"attest.{name}" for name in changes))
        _store(node, {name: new for name, (_, new) in changes.items()}, at)
        NodeChange.objects.create(
            node=node, at=at, changes=changes, hardware_changed="hardware_hash" in changes
        )
        record(
            "node.restate",
            by=Actor("node", node_id, org_id=node.org_id),
            subject_kind="node",
            subject_id=node_id,
            changes=changes,
        )
    # in its own transaction; if it fails, the sweeper does it
    return Restated(held="hardware_hash" in changes and relate(at=at, node_id=node_id) > 0)


def states_anew(statement: Statement, before: Mapping[str, Any]) -> bool:
    """Whether the node states something else than `before`, which has all columns. Without an attestation, its hardware
    is unknown."""
    return any(
        value != (before[name] if before[name] is not None or name == "vram_gb" else "")
        for name, value in statement.members().items()
    )


def _stored(node_id: str) -> dict[str, Any]:
    """What the node stated before, in one query. Without an attestation, its hardware is unknown."""
    paths = {name: f"attestation__{name}" for name in _OF_HARDWARE}
    row = Node.objects.values(*_OF_NODE, *paths.values()).get(pk=node_id)
    hardware = {name: row[path] for name, path in paths.items()}
    unknown = {name: "" for name, value in hardware.items() if value is None and name != "vram_gb"}
    return {**{name: row[name] for name in _OF_NODE}, **hardware, **unknown}


def _differences(said: dict[str, Any], stored: dict[str, Any]) -> dict[str, list[Any]]:
    """The old and the new value of each member that differs."""
    return {name: [stored[name], value] for name, value in said.items() if stored[name] != value}


def _store(node: Node, changed: dict[str, Any], at: datetime) -> None:
    of_node = {name: changed[name] for name in _OF_NODE if name in changed}
    of_hardware = {name: changed[name] for name in _OF_HARDWARE if name in changed}
    if "energy_proof_url" in of_hardware:
        of_node["green_energy"] = False
    if of_node:
        Node.objects.filter(pk=node.pk).update(**of_node)
    if of_hardware:
        NodeAttestation.objects.update_or_create(node=node, defaults={**of_hardware, "updated_at": at})
    if mark := hardware_mark(of_hardware.get("hardware_hash", "")):
        NodeMark.objects.update_or_create(
            node=node, kind=MarkKind.HARDWARE, value=mark, defaults={"gained_at": at}
        )
