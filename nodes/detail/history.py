"""A node's history, newest first: transitions, changes of what it states about itself, and exemptions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from nodes.access.rights import Rights
from nodes.models import Exemption, ExemptionKind, Node, NodeChange, NodeTransition
from nodes.rules.explanations import reason_label
from nodes.rules.lifecycle import Phase

TRANSITIONS_SHOWN = 30
EXEMPTIONS_SHOWN = 20
CHANGES_SHOWN = 20
EXEMPTIONS_LOOK_BACK = timedelta(days=90)
_EXEMPTIONS_LOOK_AHEAD = timedelta(days=90)
_LONGEST_VALUE = 300

_EVIDENCE_LABELS = {
    "announced": "Announcement",
    "deadline_s": "Deadline (s)",
    "detail": "Details",
    "expected": "Heartbeats expected",
    "finding": "Finding of fraud",
    "floor": "Minimum reputation",
    "ground": "Held for",
    "kind": "Probe kind",
    "last_heartbeat_at": "Last heartbeat",
    "mark": "Shared mark",
    "note": "Reason given",
    "probe": "Probe",
    "received": "Heartbeats received",
    "related_to": "Held with",
    "request_id": "Request",
    "reputation": "Reputation",
    "sha256": "SHA-256 of the receipt",
}
_MEMBER_LABELS = {
    "agent_version": "Agent",
    "concurrency": "Concurrent requests",
    "gpu_model": "GPU",
    "vram_gb": "GPU memory (GB)",
    "driver_version": "Driver",
    "cuda_version": "CUDA",
    "energy_proof_url": "Energy proof",
}
# shown in the entry itself
_TOLD = ("note", "detail")


@dataclass(frozen=True)
class Fact:
    """One member of a transition's evidence, in words."""

    label: str
    value: str


@dataclass(frozen=True)
class HistoryEntry:
    """An entry of the history: a transition (`to_status`), an exemption (`exemption`), or else a changed
    statement.

    `actor`, `note` and `evidence` are empty for a reader who does not manage the node.
    """

    at: datetime
    title: str
    from_label: str = ""
    to_status: str = ""
    to_label: str = ""
    note: str = ""
    actor: str = ""
    evidence: list[Fact] = field(default_factory=list)
    exemption: str = ""
    ends_at: datetime | None = None


def history_of(node: Node, rights: Rights, *, at: datetime) -> list[HistoryEntry]:
    """The node's history as this reader may see it, with at most three bounded queries."""
    transitions = node.transitions.order_by("-id")[:TRANSITIONS_SHOWN]
    since, until = at - EXEMPTIONS_LOOK_BACK, at + _EXEMPTIONS_LOOK_AHEAD
    exemptions = Exemption.objects.of_node(node).overlapping(since, until)[:EXEMPTIONS_SHOWN]
    events = [_change(each, rights) for each in transitions]
    events += [_exempt(each, rights) for each in exemptions]
    if rights.named:  # a node's own statements may identify its owner
        events += [_restated(each, rights) for each in node.changes.all()[:CHANGES_SHOWN]]
    return sorted(events, key=lambda event: event.at, reverse=True)


def evidence_facts(evidence: Mapping[str, Any]) -> Iterator[Fact]:
    """The members of the evidence. Values other than text and numbers are shown as JSON."""
    for key, value in evidence.items():
        if key in _TOLD or value in (None, ""):
            continue
        label = _EVIDENCE_LABELS.get(key) or key.replace("_", " ").capitalize()
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        yield Fact(label[:80], text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…")


def _change(transition: NodeTransition, rights: Rights) -> HistoryEntry:
    evidence = transition.evidence
    note = evidence.get("note") or evidence.get("detail") or ""
    to = transition.to_status
    return HistoryEntry(
        at=transition.at,
        title=reason_label(transition.reason),
        from_label=transition.from_status.capitalize(),
        to_status=Phase(to).status.value if to in set(Phase) else to,
        to_label=to.capitalize(),
        note=str(note) if rights.evidence else "",
        actor=f"{transition.actor_kind} {transition.actor_id}" if rights.evidence else "",
        evidence=list(evidence_facts(evidence)) if rights.evidence else [],
    )


def _restated(change: NodeChange, rights: Rights) -> HistoryEntry:
    said = [
        f"{label}: {_known(change.changes[member][0])} → {_known(change.changes[member][1])}"
        for member, label in _MEMBER_LABELS.items()
        if member in change.changes
    ]
    evidence = []
    if change.hardware_changed and rights.evidence:
        before, after = change.changes["hardware_hash"]
        evidence = [Fact("Hardware hash before", _known(before)), Fact("Hardware hash after", _known(after))]
    return HistoryEntry(
        at=change.at,
        title=_restated_title(change),
        note="; ".join(said),
        evidence=evidence,
    )


def _restated_title(change: NodeChange) -> str:
    if change.hardware_changed:
        return "Hardware changed"
    return "Agent updated" if set(change.changes) == {"agent_version"} else "Configuration changed"


def _known(value: object) -> str:
    return "unknown" if value in (None, "") else str(value)


def _exempt(exemption: Exemption, rights: Rights) -> HistoryEntry:
    maintenance = exemption.kind == ExemptionKind.MAINTENANCE
    # an owner's message is only for those who may know the node's id; other messages are public
    tells = rights.named or not maintenance
    return HistoryEntry(
        at=exemption.starts_at,
        title=ExemptionKind(exemption.kind).label,
        note=exemption.message if tells else "",
        actor=exemption.created_by if rights.owns and maintenance else "",
        exemption=exemption.kind,
        ends_at=exemption.ends_at,
    )
