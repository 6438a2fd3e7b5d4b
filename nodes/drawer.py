"""What a node's page and its drawer show, tab by tab. Reads; never writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings

from jatevo.accounts.models import Role, User
from jatevo.accounts.permissions import Permission, allowed
from nodes.actions import state_of
from nodes.credentials import public_key_text
from nodes.explanations import Explanation, explain, reason_label
from nodes.figures import latency_trend, node_figures
from nodes.heartbeat_strip import MINUTES, Strip, heartbeat_strip
from nodes.lifecycle import Phase
from nodes.models import Node

RECEIPTS_SHOWN = 10
PROBES_SHOWN = 10
TRANSITIONS_SHOWN = 30
_MOST_SIGNALS = 24
_LONGEST_SIGNAL = 80


class Tab(StrEnum):
    METRICS = "metrics"
    RECEIPTS = "receipts"
    HARDWARE = "hardware"
    HISTORY = "history"

    @property
    def label(self) -> str:
        return self.value.capitalize()


@dataclass(frozen=True)
class Rights:
    """What the reader may see and do with this node."""

    owns: bool  # manages it: an admin, or an operator of its organisation
    wallet: bool
    evidence: bool
    moderate: bool
    rotate: bool


@dataclass(frozen=True)
class Signal:
    """One of the figures that the agent sends with its heartbeats, in words."""

    label: str
    value: str


@dataclass(frozen=True)
class HistoryLine:
    """One transition. `actor` and `note` are empty for a reader who does not manage the node."""

    at: datetime
    from_label: str
    to_status: str
    to_label: str
    reason: str
    actor: str
    note: str


def rights_of(user: User, node: Node) -> Rights:
    """The rights of a reader who can see the node."""
    owns = user.role == Role.ADMIN or (user.role == Role.OPERATOR and user.org_id == node.org_id)
    return Rights(
        owns=owns,
        wallet=owns and allowed(user, Permission.VIEW_WALLETS),
        evidence=owns or allowed(user, Permission.VIEW_QUARANTINE_EVIDENCE),
        moderate=allowed(user, Permission.QUARANTINE_NODES),
        rotate=owns and allowed(user, Permission.MANAGE_NODES),
    )


def explanation_of(node: Node) -> Explanation:
    """Why the node is where it is, and the way on."""
    state = state_of(node)
    return explain(
        state.phase,
        node.status_reason,
        failed_probes=state.failed_probes,
        passed_audits=state.passed_audits,
        fraud=state.fraud,
        offline_after=timedelta(seconds=settings.NODE_OFFLINE_AFTER_SECONDS),
    )


def tab_context(tab: Tab, node: Node, rights: Rights, *, at: datetime) -> dict[str, Any]:
    """What the template of a tab needs. `version`, where there is one, stands for all that it shows."""
    match tab:
        case Tab.METRICS:
            return _metrics(node, at)
        case Tab.RECEIPTS:
            return _receipts(node, rights)
        case Tab.HARDWARE:
            return _hardware(node)
        case Tab.HISTORY:
            return {"history": _history(node, rights)}


def strip_of(node: Node, *, at: datetime) -> Strip:
    """The node's last hour of heartbeats."""
    first = at.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
    beats = dict(node.minutes.filter(minute__gte=first).values_list("minute", "beats"))
    if node.beat_minute is not None:  # the minute that is still being counted
        beats[node.beat_minute] = max(beats.get(node.beat_minute, 0), node.beats)
    interval_seconds = settings.HEARTBEAT_INTERVAL_SECONDS
    return heartbeat_strip(beats, since=node.created_at, at=at, interval_seconds=interval_seconds)


def signals_of(metrics: dict[str, Any]) -> list[Signal]:
    """What an agent said of itself: the known figures with their units first, any others as they came."""
    signals = [
        Signal(label, write(metrics[key]))
        for key, (label, write) in _KNOWN.items()
        if _number(metrics.get(key))
    ]
    others = (key for key in metrics if key not in _KNOWN or not _number(metrics[key]))
    signals += [Signal(_cut(key), _cut(str(metrics[key]))) for key in others]
    return signals[:_MOST_SIGNALS]


def spell_duration(seconds: float) -> str:
    """Two units at most: 3 d 4 h, 12 min 5 s."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        amount, left = divmod(left, length)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "0 s"


_KNOWN = {
    "uptime": ("Uptime", spell_duration),
    "gpu_util": ("GPU utilisation", lambda share: f"{share * 100:.0f} %"),
    "cpu_percent": ("CPU utilisation", lambda percent: f"{percent:.0f} %"),
    "mem_used_ratio": ("Memory in use", lambda share: f"{share * 100:.0f} %"),
    "temp": ("Temperature", lambda degrees: f"{degrees:.0f} °C"),
}


def _metrics(node: Node, at: datetime) -> dict[str, Any]:
    return {
        "strip": strip_of(node, at=at),
        "interval_seconds": settings.HEARTBEAT_INTERVAL_SECONDS,
        "signals": signals_of(node.last_metrics),
        "figures": node_figures([node.pk], at=at)[node.pk],
        "trend": latency_trend(node.pk, at=at),
        "probes": node.probes.order_by("-received_at")[:PROBES_SHOWN],
    }


def _receipts(node: Node, rights: Rights) -> dict[str, Any]:
    # every receipt is younger than its node: the bound spares the older partitions
    receipts = node.receipts.filter(accepted_at__gte=node.created_at).defer("raw", "payload")
    last = list(receipts.order_by("-accepted_at", "-id")[:RECEIPTS_SHOWN])
    forged = node.forged_receipts.defer("raw") if rights.evidence else node.forged_receipts.none()
    forged_count = forged.count() if rights.evidence else 0
    return {
        "receipts": last,
        "forged": forged[:RECEIPTS_SHOWN],
        "forged_count": forged_count,
        "version": ([receipt.id for receipt in last], forged_count),
    }


def _hardware(node: Node) -> dict[str, Any]:
    attestation = getattr(node, "attestation", None)
    proof = attestation.energy_proof_url if attestation else ""
    return {
        "attestation": attestation,
        # the agent's own words: a link only if it is a plain web address
        "energy_proof_url": proof if proof.startswith(("https://", "http://")) else "",
        "keys": [
            {
                "text": public_key_text(bytes(key.public_key)),
                "valid_from": key.valid_from,
                "valid_to": key.valid_to,
            }
            for key in node.keys.all()
        ],
    }


def _history(node: Node, rights: Rights) -> Sequence[HistoryLine]:
    lines = []
    for transition in node.transitions.order_by("-id")[:TRANSITIONS_SHOWN]:
        note = transition.evidence.get("note") or transition.evidence.get("detail") or ""
        lines.append(
            HistoryLine(
                at=transition.at,
                from_label=_phase_label(transition.from_status),
                to_status=_status_of(transition.to_status),
                to_label=_phase_label(transition.to_status),
                reason=reason_label(transition.reason),
                actor=f"{transition.actor_kind} {transition.actor_id}" if rights.owns else "",
                note=str(note) if rights.owns else "",
            )
        )
    return lines


def _status_of(phase: str) -> str:
    return Phase(phase).status.value if phase in set(Phase) else phase


def _phase_label(phase: str) -> str:
    return phase.capitalize()


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SIGNAL else f"{text[: _LONGEST_SIGNAL - 1]}…"
