"""The contents of a node's page and drawer, tab by tab. Reads only."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings

from jatevo.accounts.models import User
from jatevo.web.error_types import ErrorType
from jatevo.wire.keys import public_key_text
from nodes.access.rights import Rights
from nodes.access.versions import plain_version
from nodes.detail.correlation import correlation
from nodes.detail.history import history_of
from nodes.detail.latency_charts import ChartWindow
from nodes.detail.metrics_tab import charts_context, excused_of, heard_context, regularity_in_words
from nodes.detail.reputation_tab import reputation_panel
from nodes.maintenance import maintenance_of
from nodes.models import Exemption, ExemptionKind, FindingState, Node
from nodes.rules import clock
from nodes.rules.explanations import Explanation, explain
from nodes.rules.probes import ProbeFault
from nodes.rules.reachability import EndpointAdvice, endpoint_advice
from nodes.slots import earnings_source, flags_of

RECEIPTS_SHOWN = 10
REFUSED_SHOWN = 5
# how long before its start announced maintenance is shown
_ANNOUNCED_AHEAD = timedelta(days=7)


class Tab(StrEnum):
    METRICS = "metrics"
    RECEIPTS = "receipts"
    HARDWARE = "hardware"
    EARNINGS = "earnings"
    REPUTATION = "reputation"
    HISTORY = "history"

    @property
    def label(self) -> str:
        return self.value.capitalize()


@dataclass(frozen=True)
class Banner:
    """An exemption of the node that is `under_way` or announced."""

    label: str
    message: str
    starts_at: datetime
    ends_at: datetime | None
    under_way: bool


def tabs_for(rights: Rights) -> list[Tab]:
    """The tabs that a reader may open."""
    # receipts reveal the node's identity; earnings concern its owner alone
    opened = {Tab.RECEIPTS: rights.named, Tab.EARNINGS: rights.earnings}
    return [tab for tab in Tab if opened.get(tab, True)]


def explanation_of(node: Node, *, at: datetime) -> Explanation:
    """Why the node has its status, and what comes next."""
    state = node.lifecycle_state
    return explain(
        state.phase,
        node.status_reason,
        failed_probes=state.failed_probes,
        passed_audits=state.passed_audits,
        fraud=state.fraud,
        fraud_confirmed=state.fraud and node.fraud_findings.filter(state=FindingState.CONFIRMED).exists(),
        pardoned=node.pardoned_reputation,
        maintenance=maintenance_of(node, at=at),
        offline_after=timedelta(seconds=settings.NODE_OFFLINE_AFTER_SECONDS),
        reachable=node.reachable,
    )


def endpoint_advice_of(node: Node) -> EndpointAdvice | None:
    """What to do about a node that cannot be reached. None for one that can, or is not known to be."""
    if node.reachable is not False:
        return None
    probes = node.probes.exclude(validator=None).exclude(fault=ProbeFault.VALIDATOR)
    last = probes.first()
    return endpoint_advice(
        node.lifecycle_state.phase,
        reachable=node.reachable,
        endpoint=node.endpoint,
        fault=ProbeFault(last.fault).label if last and last.fault else "",
        detail=last.detail if last and last.fault else "",
    )


def banners_of(node: Node, rights: Rights, *, at: datetime) -> list[Banner]:
    """Maintenance and incidents that exempt the node now, and its own announced maintenance."""
    exemptions = Exemption.objects.of_node(node).exclude(kind=ExemptionKind.OUTAGE)
    return [
        _banner(each, rights, at)
        for each in exemptions.overlapping(at, at + _ANNOUNCED_AHEAD).order_by("starts_at")[:5]
        if each.starts_at <= at or each.kind == ExemptionKind.MAINTENANCE
    ]


def tab_context(
    tab: Tab,
    node: Node,
    rights: Rights,
    *,
    reader: object,
    window: ChartWindow,
    part: str | None,
    at: datetime,
) -> dict[str, Any]:
    """The context for the template of a tab, or of only one `part` of it."""
    match tab:
        case Tab.METRICS:
            return _metrics(node, rights, window, part, at)
        case Tab.RECEIPTS:
            return _receipts(node, rights, reader)
        case Tab.HARDWARE:
            return _hardware(node, rights)
        case Tab.EARNINGS:
            return _earnings(node, reader, at)
        case Tab.REPUTATION:
            return {"reputation": reputation_panel(node, at=at)}
        case Tab.HISTORY:
            alike = correlation(node, reader, at=at) if isinstance(reader, User) and rights.owns else None
            return {"history": history_of(node, rights, at=at), "correlation": alike}


def _banner(exemption: Exemption, rights: Rights, at: datetime) -> Banner:
    maintenance = exemption.kind == ExemptionKind.MAINTENANCE
    return Banner(
        label=ExemptionKind(exemption.kind).label,
        # the owner's message may identify the owner; an incident's message is public
        message=exemption.message if rights.named or not maintenance else "",
        starts_at=exemption.starts_at,
        ends_at=exemption.ends_at,
        under_way=exemption.starts_at <= at,
    )


def _metrics(
    node: Node, rights: Rights, window: ChartWindow, part: str | None, at: datetime
) -> dict[str, Any]:
    """Charts and heartbeats refresh separately, so that a heartbeat does not redraw a chart that somebody
    reads.
    """
    excused = excused_of(node, at=at)
    if part == "charts":
        return charts_context(node, window, excused, at=at)
    heard = heard_context(node, rights, excused, at=at)
    heard["longest_silence"] = regularity_in_words(heard["regularity"])
    return heard if part == "tab" else {**charts_context(node, window, excused, at=at), **heard}


def _receipts(node: Node, rights: Rights, reader: object) -> dict[str, Any]:
    # every receipt is younger than its node, so this bound skips older partitions
    receipts = node.receipts.filter(accepted_at__gte=node.created_at).defer("raw", "payload")
    refused = node.refused_receipts.visible_to(reader)
    latest = list(refused.defer("raw")[:REFUSED_SHOWN])
    return {
        "receipts": list(receipts.order_by("-accepted_at", "-id")[:RECEIPTS_SHOWN]),
        "refused": latest,
        "forged_count": refused.filter(reason=ErrorType.INVALID_SIGNATURE).count() if latest else 0,
        "flags": flags_of(node, reader) if rights.evidence else [],
        "clock": _clock(node) if rights.evidence else None,
    }


@dataclass(frozen=True)
class Clock:
    """The node's clock against the console's at its last heartbeat. `off`: by more than clocks may differ."""

    sentence: str
    off: bool


def _clock(node: Node) -> Clock | None:
    if node.last_heartbeat_ts is None or node.last_heartbeat_at is None:
        return None
    ahead = clock.ahead(node.last_heartbeat_ts, node.last_heartbeat_at)
    if abs(ahead) < timedelta(seconds=1):
        return Clock("At the last heartbeat, the clocks of node and console agreed within a second.", False)
    by = f"{clock.in_seconds(ahead)} {'ahead of' if ahead > timedelta(0) else 'behind'}"
    sentence = f"At the last heartbeat, the clock of the node was {by} that of the console"
    delayed = clock.is_off(ahead) and ahead < timedelta(0)
    return Clock(
        f"{sentence}, or the heartbeat was that long under way." if delayed else f"{sentence}.",
        clock.is_off(ahead),
    )


def _earnings(node: Node, reader: object, at: datetime) -> dict[str, Any]:
    if not isinstance(reader, User):
        raise TypeError("visitors have no tab of earnings")
    content = earnings_source().tab(node, reader, at)
    return {"earnings_template": content.template, **content.context}


def _hardware(node: Node, rights: Rights) -> dict[str, Any]:
    attestation = getattr(node, "attestation", None)
    proof = attestation.energy_proof_url if attestation and rights.named else ""
    said = str if rights.named else plain_version
    return {
        "attestation": attestation,
        "agent_version": said(node.agent_version),
        "driver_version": said(attestation.driver_version) if attestation else "",
        "cuda_version": said(attestation.cuda_version) if attestation else "",
        # the agent's own text: a link only if it is a web address
        "energy_proof_url": proof if proof.startswith(("https://", "http://")) else "",
        "keys": [
            {
                "text": public_key_text(bytes(key.public_key)),
                "valid_from": key.valid_from,
                "valid_to": key.valid_to,
            }
            for key in (node.keys.all() if rights.named else ())
        ],
    }
