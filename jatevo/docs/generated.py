"""Tables of the Docs that are written from the code: errors, figures, thresholds of the rules."""

from django.conf import settings

from jatevo.docs.schemas import kind_of
from jatevo.docs.tables import table
from jatevo.web.definitions import every_definition
from jatevo.web.error_types import MEANINGS
from nodes.models import Runtime
from nodes.reputation.formula import RULES, ObservationKind, SubScore
from nodes.reputation.latency_target import target_ms
from nodes.rules.explanations import reason_label
from nodes.rules.lifecycle import TABLE, Event, Move, Phase
from nodes.rules.probes import ProbeFault
from receipts.openapi import RECEIPT


def errors() -> str:
    return table(
        ("Type", "Status", "When", "What to do"),
        (
            (f"`{type}`", " or ".join(map(str, said.statuses)), said.when, said.what_to_do)
            for type, said in MEANINGS.items()
        ),
    )


def figures() -> str:
    """Every definition, as a section."""
    return "\n\n".join(
        f"## {each.title}\n\n{each.text}\n\n- **Window**: {each.window}\n- **Source**: {each.source}"
        for each in every_definition()
    )


def latency_targets() -> str:
    return table(
        ("Runtime", "p95 at most"), ((runtime.label, f"{target_ms(runtime):,.0f} ms") for runtime in Runtime)
    )


_COUNTED = {
    ObservationKind.SILENCE: "minutes without a heartbeat",
    ObservationKind.HEALTH: "failed health probes",
    ObservationKind.AUDIT: "failed audits",
    ObservationKind.RECEIPT: "receipts that report a failed request",
    ObservationKind.FORGERY: "forged receipts",
    ObservationKind.LATENCY: "latency probes over the target",
    ObservationKind.CONDUCT: "quarantines and unannounced outages",
}


def reputation_evidence() -> str:
    """What costs points, in each sub-score."""
    return table(
        ("Sub-score", "What costs points", "Worth of a day, at most", "A failure counts as"),
        (
            (rule.sub_score.label, _COUNTED[kind], f"{float(rule.share):.0%}", str(rule.harshness))
            for sub_score in SubScore
            for kind, rule in RULES.items()
            if rule.sub_score is sub_score
        ),
    )


_HAPPENS = {
    Event.HEARTBEAT: "a heartbeat",
    Event.PROBE_PASSED: "a passed probe",
    Event.PROBE_FAILED: "failed probes",
    Event.AUDIT_PASSED: "passed audits",
    Event.AUDIT_FAILED: "a failed audit",
    Event.SILENT: "silence",
    Event.SILENT_IN_MAINTENANCE: "silence during announced maintenance",
    Event.HEARTBEATS_MISSED: "too many missed heartbeats",
    Event.REPUTATION_LOW: "low reputation",
    Event.SLO_BREACHED: "a breach of the latency SLO",
    Event.RECEIPT_FORGED: "a forged receipt",
    Event.FRAUD_SUSPECTED: "a finding of fraud",
    Event.RELATED_TO_FRAUD: "a finding of fraud about a related node",
    Event.QUARANTINED_BY_ADMIN: "an admin's quarantine",
    Event.CLEARED_BY_ADMIN: "an admin's clear",
}


def lifecycle() -> str:
    """The lifecycle's table, with a row for each thing that can happen and where it leads."""
    rows: dict[tuple[Event, Move], list[str]] = {}
    for phase in Phase:
        for event, move in TABLE[phase].items():
            rows.setdefault((event, move), []).append(phase.value.capitalize())
    return table(
        ("What happens", "From", "To", "Reason shown"),
        (
            (_occasion(event, move), ", ".join(phases), move.to.value.capitalize(), reason_label(move.reason))
            for (event, move), phases in sorted(rows.items(), key=lambda row: list(_HAPPENS).index(row[0][0]))
        ),
    )


def _occasion(event: Event, move: Move) -> str:
    words = f"{move.after} {_HAPPENS[event]} in a row" if move.after > 1 else _HAPPENS[event]
    return words[0].upper() + words[1:]


def probe_faults() -> str:
    return table(
        ("Fault", "In words", "Counts as"),
        ((f"`{fault}`", fault.label, _consequence(fault)) for fault in ProbeFault),
    )


def _consequence(fault: ProbeFault) -> str:
    if fault is ProbeFault.VALIDATOR:
        return "nothing"
    if fault.is_false_answer:
        return "a false answer: it fails an audit"
    return "a failed health probe, also in an audit"


def receipt_fields() -> str:
    """The members of a receipt, from its JSON Schema."""
    required = set(RECEIPT["required"])
    return table(
        ("Member", "Required", "Value", "Meaning"),
        (
            (f"`{name}`", "yes" if name in required else "", kind_of(said, {}), said.get("description", ""))
            for name, said in RECEIPT["properties"].items()
        ),
    )


_LIMITS = {
    "node": "Heartbeats, challenges and registration changes of a node",
    "receipts": "`POST /v1/receipts` of a node",
    "validator": "Requests of a validator",
    "gateway": "Requests of a gateway",
    "address": "Signed requests from one network address",
    "register": "Registrations from one network address",
    "reads": "Reads of the API by one person, or by one address without sign-in",
    "login_account": "Logins of one account",
    "login_address": "Logins from one network address",
}


def rate_limits() -> str:
    return table(
        ("What", "Limit"),
        ((words, settings.RATE_LIMITS[name].replace("/", " a ")) for name, words in _LIMITS.items()),
    )
