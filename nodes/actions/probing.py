"""Recording what a validator measured."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction

from jatevo.audit.record import Actor
from jatevo.metrics.facts import FactKind, LatencyFact
from jatevo.metrics.minutes import floor_hour
from jatevo.metrics.models import Outbox
from nodes.actions.errors import ReplayedProbe, UnknownNode
from nodes.actions.transition import happen
from nodes.models import Exemption, Node, Probe, Validator
from nodes.reputation.latency_target import target_ms
from nodes.rules.lifecycle import Event, Status
from nodes.rules.probes import ProbeFault, ProbeKind, counts_as, known_fault


@dataclass(frozen=True)
class Measurement:
    """A validated probe. Latencies are in milliseconds, tps in tokens per second.

    `fault` says what failed. A failed probe without a fault counts as unreachable.
    """

    node_id: str
    kind: ProbeKind
    ok: bool
    ts: datetime
    fault: ProbeFault | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    tps: float | None = None
    detail: str = ""


_EVENTS: dict[tuple[ProbeKind, bool], Event] = {
    (ProbeKind.HEALTH, True): Event.PROBE_PASSED,
    (ProbeKind.HEALTH, False): Event.PROBE_FAILED,
    (ProbeKind.AUDIT, True): Event.AUDIT_PASSED,
    (ProbeKind.AUDIT, False): Event.AUDIT_FAILED,
}


def record_probe(*, validator_id: str, measurement: Measurement, at: datetime) -> tuple[Probe, Status]:
    """Stores the probe, applies its result to the node's status, and queues latencies for the metrics store.

    A probe that did not reach an exempt node is stored without any effect. A failure of the validator itself
    is stored, and the probe stays due. Raises UnknownNode and ReplayedProbe.
    """
    fault = known_fault(measurement.ok, measurement.fault)
    counted = counts_as(measurement.kind, fault)
    with transaction.atomic():
        node = Node.objects.filter(pk=measurement.node_id).only("id", "region", "status", "runtime").first()
        if node is None:
            raise UnknownNode(f"There is no node {measurement.node_id}.")
        probe = _store(
            node=node,
            validator_id=validator_id,
            kind=measurement.kind,
            ok=measurement.ok,
            fault=fault or "",
            counts_as=counted or "",
            ts=measurement.ts,
            received_at=at,
            p50_ms=measurement.p50_ms,
            p95_ms=measurement.p95_ms,
            p99_ms=measurement.p99_ms,
            tps=measurement.tps,
            detail=measurement.detail,
        )
        Validator.objects.filter(pk=validator_id).update(last_seen_at=at)
        if counted is None:
            return probe, Status(node.status)
        Node.objects.filter(pk=node.pk).update(**{f"last_{measurement.kind.value}_at": at})
        _count(measurement, counted, at, target_ms=target_ms(node.runtime))
        if measurement.ok and measurement.p95_ms is not None:
            fact = LatencyFact(
                probe_id=str(probe.pk),
                node_id=node.pk,
                region=node.region,
                ts=int(at.timestamp()),
                p50=measurement.p50_ms,
                p95=measurement.p95_ms,
                p99=measurement.p99_ms,
                tps=measurement.tps,
            )
            Outbox.objects.create(kind=FactKind.LATENCY, body=fact.to_body())
        event = _EVENTS.get((counted, measurement.ok))
        if event is None:
            return probe, Status(node.status)
        excusable = fault is not None and not fault.is_false_answer
        if excusable and Exemption.objects.of_node(node).covering(at).exists():
            event = Event.FAILED_WHILE_EXEMPT
        evidence = {"probe": str(probe.pk), "kind": measurement.kind.value, "detail": measurement.detail}
        if fault is not None:
            evidence["fault"] = fault.value
        outcome = happen(node.pk, event, by=Actor("validator", validator_id), at=at, evidence=evidence)
    return probe, outcome.state.phase.status


_HOUR_COLUMNS: dict[tuple[ProbeKind, bool], str] = {
    (ProbeKind.HEALTH, True): "health_passed",
    (ProbeKind.HEALTH, False): "health_failed",
    (ProbeKind.AUDIT, True): "audits_passed",
    (ProbeKind.AUDIT, False): "audits_failed",
    (ProbeKind.LATENCY, True): "latency_passed",
    (ProbeKind.LATENCY, False): "latency_slow",
}


def _count(measurement: Measurement, counted: ProbeKind, at: datetime, *, target_ms: float) -> None:
    """Adds the probe to the node's hour, as evidence for its reputation, under the kind that it counts as.

    A latency probe passed if it was measured and is within the present target.
    """
    passed = measurement.ok
    if counted is ProbeKind.LATENCY:
        passed = passed and measurement.p95_ms is not None and measurement.p95_ms <= target_ms
    column = _HOUR_COLUMNS[counted, passed]
    hour = floor_hour(at)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO nodes_nodehour (node_id, hour, {column}) VALUES (%s, %s, 1)"  # noqa: S608 - a constant
            f" ON CONFLICT (node_id, hour) DO UPDATE SET {column} = nodes_nodehour.{column} + 1",
            [measurement.node_id, hour],
        )


def _store(**columns: Any) -> Probe:
    try:
        with transaction.atomic():
            return Probe.objects.create(**columns)
    except IntegrityError as error:
        raise ReplayedProbe("This probe was already posted.") from error
