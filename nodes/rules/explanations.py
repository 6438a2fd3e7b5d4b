"""Explanations of a node's status for its operator: the cause, and what to do. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from nodes.rules.lifecycle import (
    AUDITS_TO_CLEAR,
    PROBE_FAILURES_TO_QUARANTINE,
    REPUTATION_FLOOR,
    SLO_WINDOW,
    Phase,
    Reason,
)

REASON_LABELS: dict[str, str] = {
    Reason.FIRST_HEARTBEAT: "First heartbeat",
    Reason.PROBE_PASSED: "Probe passed",
    Reason.PROBES_FAILED: "Probes failed",
    Reason.AUDIT_FAILED: "Audit failed",
    Reason.AUDITS_PASSED: "Audits passed",
    Reason.NO_HEARTBEAT: "No heartbeat",
    Reason.MAINTENANCE: "Announced maintenance",
    Reason.HEARTBEATS_MISSED: "Heartbeats missed",
    Reason.REPUTATION_LOW: "Reputation too low",
    Reason.SLO_BREACHED: "Too slow (SLO breached)",
    Reason.RECEIPT_FORGED: "Forged receipt",
    Reason.FRAUD_SUSPECTED: "Suspected fraud",
    Reason.RELATED_TO_FRAUD: "Related to fraud",
    Reason.ADMIN: "By an admin",
    Reason.CLEARED: "Cleared by an admin",
}

_QUARANTINED: dict[str, tuple[str, str]] = {
    Reason.PROBES_FAILED: (
        f"{PROBE_FAILURES_TO_QUARANTINE} probes in a row failed: validators could not confirm the endpoint.",
        "Check that the agent runs and that its endpoint can be reached from outside your network.",
    ),
    Reason.AUDIT_FAILED: (
        "An audit failed: the node did not answer every challenge with its own key.",
        "Check that the agent at this endpoint is this node's, with its own state folder.",
    ),
    Reason.HEARTBEATS_MISSED: (
        "More than 20 % of the heartbeats of an hour were missing.",
        "Check the machine's network and load. The agent must be able to send a heartbeat every 10 seconds.",
    ),
    Reason.REPUTATION_LOW: (
        f"The reputation fell below {REPUTATION_FLOOR}.",
        "See which probes and audits failed. The reputation recovers as new ones pass. Once the quarantine has"
        " ended, only a further fall begins another.",
    ),
    Reason.SLO_BREACHED: (
        f"The node breached the SLO: in most latency probes over {SLO_WINDOW // timedelta(hours=1)} hours, its p95 was above the target.",
        "The history has the figures. Check the machine's load and network, or lower its concurrency. Once the"
        " quarantine has ended, only probes from then on count.",
    ),
    Reason.RECEIPT_FORGED: (
        "The node sent a receipt that none of its keys, current or former, has signed.",
        "Stop the agent, check that nobody else has the node's token, and contact an admin.",
    ),
    Reason.FRAUD_SUSPECTED: (
        "An admin suspects the node of fraud.",
        "The history says why. Contact an admin.",
    ),
    Reason.RELATED_TO_FRAUD: (
        "Another node of your organisation is suspected of fraud, and this node shares its hardware or endpoint, or"
        " was registered after the fraud was confirmed.",
        "If it is a different machine, contact an admin. The history names the other node.",
    ),
    Reason.ADMIN: (
        "An admin quarantined the node.",
        "The history says why. Contact an admin when it is fixed.",
    ),
}


@dataclass(frozen=True)
class Explanation:
    """Why a node has its status (`what`) and what comes next (`next`). Neither is empty."""

    what: str
    next: str


@dataclass(frozen=True)
class Maintenance:
    """Announced maintenance that ends or ended at `ends_at` (UTC)."""

    ends_at: datetime
    under_way: bool


def explain(
    phase: Phase,
    reason: str,
    *,
    failed_probes: int = 0,
    passed_audits: int = 0,
    fraud: bool = False,
    fraud_confirmed: bool = False,
    pardoned: Decimal | None = None,
    maintenance: Maintenance | None = None,
    offline_after: timedelta,
    reachable: bool | None = None,
) -> Explanation:
    """The explanation of a state. An unknown reason is shown as it is stored.

    `pardoned` is R when the last quarantine ended (probation), `maintenance` the owner's last announced
    maintenance, `reachable` whether validators reach it (None: not known).
    """
    if phase is Phase.REGISTERED:
        return Explanation(
            "Registered. No heartbeat has arrived yet.",
            "Start the agent. Its first heartbeat triggers a probe.",
        )
    if phase is Phase.PROBING:
        failed = (
            f" {failed_probes} of {PROBE_FAILURES_TO_QUARANTINE} have failed so far." if failed_probes else ""
        )
        if maintenance is not None and maintenance.under_way:
            return Explanation(
                "Heartbeats are arriving. Validators do not probe the node during announced maintenance.",
                "End the maintenance. A passed probe then makes the node active.",
            )
        if reachable is False:
            return Explanation(
                "Heartbeats are arriving. Validators do not reach the node, so the console asks it through its"
                " heartbeats instead." + failed,
                "An answer makes the node active. An agent of version 2 or later answers by itself."
                f" {PROBE_FAILURES_TO_QUARANTINE} unanswered challenges quarantine it.",
            )
        return Explanation(
            "Heartbeats are arriving. Validators are probing the health endpoint." + failed,
            f"A passed probe makes the node active. {PROBE_FAILURES_TO_QUARANTINE} failures quarantine it.",
        )
    if phase is Phase.ACTIVE:
        if pardoned is not None:
            return Explanation(
                f"In service, on probation. It was cleared at R {pardoned}, and a further fall quarantines it.",
                f"Probation ends when R reaches {REPUTATION_FLOOR}.",
            )
        if reachable is False:
            return Explanation(
                "In service, but not reachable: gateways cannot send it requests.",
                "Make its endpoint reachable from the internet.",
            )
        confirmed = "A validator has confirmed it." if reachable else "It has passed its probe."
        return Explanation(f"In service. {confirmed}", "Nothing to do.")
    if phase is Phase.OFFLINE and reason == Reason.MAINTENANCE:
        return _explain_maintenance(maintenance)
    if phase is Phase.OFFLINE:
        return Explanation(
            f"No heartbeat for {_spell(offline_after)}.",
            "Start the agent again. A heartbeat and a passed probe bring it back.",
        )
    return _explain_quarantine(reason, passed_audits, fraud, fraud_confirmed)


def reason_label(reason: str) -> str:
    """A reason in a few words."""
    return REASON_LABELS.get(reason) or reason.replace("_", " ").capitalize()


def _explain_maintenance(maintenance: Maintenance | None) -> Explanation:
    if maintenance is not None and maintenance.under_way:
        return Explanation(
            "Offline for announced maintenance. This does not lower its reputation.",
            "Start the agent again and end the maintenance. A heartbeat and a passed probe bring it back.",
        )
    ended = f" at {maintenance.ends_at:%H:%M} UTC on {maintenance.ends_at:%-d %b %Y}" if maintenance else ""
    return Explanation(
        f"Still offline after announced maintenance, which ended{ended}. Missing heartbeats now lower its reputation.",
        "Start the agent again. A heartbeat and a passed probe bring it back.",
    )


def _explain_quarantine(reason: str, passed_audits: int, fraud: bool, fraud_confirmed: bool) -> Explanation:
    unknown = (f"Quarantined: {reason_label(reason).lower() or 'no reason recorded'}.", "")
    what, to_do = _QUARANTINED.get(reason, unknown)
    if fraud_confirmed:
        return Explanation(f"{what} An admin confirmed the fraud.", "This quarantine is permanent.")
    if fraud:
        way_out = "Audits do not end a quarantine for fraud: an admin must clear it."
    else:
        audits = f"{AUDITS_TO_CLEAR} passed audits in a row ({passed_audits} so far)"
        way_out = f"It ends after {audits} or when an admin clears it."
    return Explanation(what, f"{to_do} {way_out}".strip())


def _spell(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    if seconds % 60:
        return f"{seconds} seconds"
    return "a minute" if seconds == 60 else f"{seconds // 60} minutes"
