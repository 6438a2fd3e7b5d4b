"""Recording what a validator measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connection, transaction
from django.db.models import Q

from jatevo.audit.record import Actor
from jatevo.metrics.facts import LatencyFact
from jatevo.metrics.minutes import floor_hour
from jatevo.web.postgresql.statements import fetch
from nodes.actions.errors import ReplayedProbe, UnknownNode
from nodes.actions.transition import Happening, changes_nothing, happen, happen_together
from nodes.models import Exemption, Node, Probe
from nodes.models.coverage import covers
from nodes.reputation.latency_target import target_ms
from nodes.rules.lifecycle import Event, Status
from nodes.rules.probes import ProbeFault, ProbeKind, counts_as, known_fault
from nodes.rules.reachability import is_excused, seen_at_endpoint


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

    A probe that did not reach an exempt node is stored without any effect, and one that did not reach a node
    which answers challenges tells only that it is not reachable. A failure of the validator itself is stored,
    and the probe stays due. Raises UnknownNode and ReplayedProbe.
    """
    fault = known_fault(measurement.ok, measurement.fault)
    counted = counts_as(measurement.kind, fault)
    node = _node(measurement.node_id)
    if is_excused(
        fault,
        node.lifecycle_state.phase,
        reachable=node.reachable,
        heard_at=node.last_heartbeat_at,
        passed_at=node.challenge_passed_at,
        at=at,
    ):
        counted = None
    probe = Probe(
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
    event = None if counted is None else _event(probe, node=node, at=at)
    if event is None or changes_nothing(node.lifecycle_state, event):
        _store(probe, node)
        return probe, Status(node.status)
    with transaction.atomic():
        _store(probe, node)
        return probe, _happen(probe, event, by=Actor("validator", validator_id), at=at)


# in the order of the model's fields, as from_db needs them
_READ_OF_NODE = (
    "id", "region", "runtime", "status", "probing_since", "failed_probes", "passed_audits", "fraud",
    "last_heartbeat_at", "reachable", "challenge_passed_at",
)  # fmt: skip
_NODE_SQL = f"SELECT {', '.join(_READ_OF_NODE)} FROM nodes_node WHERE id = %s"  # noqa: S608 - constants


def _node(node_id: str) -> Node:
    rows = fetch(_NODE_SQL, [node_id])
    if not rows:
        raise UnknownNode(f"There is no node {node_id}.")
    return Node.from_db(DEFAULT_DB_ALIAS, _READ_OF_NODE, rows[0])


# One statement, because validators post several probes of each node a minute. Without a row in `stored` the probe
# was posted before, and nothing changes. A validator's `last_seen_at` is exact to a second, so that its probes rarely
# wait for each other. The hour comes after the node (`probed`), so that whoever locks both begins with the node. A node
# that has become reachable is due an audit at once, so that being out of reach is no way around one.
_SQL = """
WITH stored AS (
    INSERT INTO nodes_probe (id, node_id, validator_id, kind, ok, fault, counts_as, ts, received_at,
                             p50_ms, p95_ms, p99_ms, tps, detail)
    VALUES (%(id)s, %(node)s::text, %(validator)s::text, %(kind)s::text, %(ok)s, %(fault)s, %(counts_as)s, %(ts)s,
            %(at)s, %(p50_ms)s::float8, %(p95_ms)s::float8, %(p99_ms)s::float8, %(tps)s::float8, %(detail)s)
    ON CONFLICT DO NOTHING RETURNING node_id
), seen AS (
    UPDATE nodes_validator SET last_seen_at = %(at)s FROM stored
    WHERE id = %(validator)s::text AND (last_seen_at < %(at)s - interval '1 second') IS NOT FALSE
), probed AS (
    UPDATE nodes_node n SET
        last_health_at = CASE %(kind)s::text WHEN 'health' THEN %(at)s ELSE n.last_health_at END,
        last_latency_at = CASE %(kind)s::text WHEN 'latency' THEN %(at)s ELSE n.last_latency_at END,
        last_audit_at = CASE WHEN %(kind)s::text = 'audit' THEN %(at)s
                             WHEN %(reachable)s::boolean AND n.reachable IS NOT TRUE THEN NULL
                             ELSE n.last_audit_at END,
        reachable = COALESCE(%(reachable)s::boolean, n.reachable),
        reachable_since = CASE WHEN %(reachable)s::boolean IS NULL OR %(reachable)s::boolean = n.reachable
                               THEN n.reachable_since ELSE %(at)s END
    FROM stored WHERE n.id = stored.node_id AND NOT %(own_trouble)s
    RETURNING n.id
), hour AS (
    INSERT INTO nodes_nodehour (node_id, hour, health_passed, health_failed, audits_passed, audits_failed,
                                latency_passed, latency_slow)
    SELECT id, %(hour)s, (c = 'health_passed')::int, (c = 'health_failed')::int, (c = 'audits_passed')::int,
           (c = 'audits_failed')::int, (c = 'latency_passed')::int, (c = 'latency_slow')::int
    FROM probed, (SELECT %(column)s::text AS c) AS counted WHERE c IS NOT NULL
    ON CONFLICT (node_id, hour) DO UPDATE SET
        health_passed = nodes_nodehour.health_passed + excluded.health_passed,
        health_failed = nodes_nodehour.health_failed + excluded.health_failed,
        audits_passed = nodes_nodehour.audits_passed + excluded.audits_passed,
        audits_failed = nodes_nodehour.audits_failed + excluded.audits_failed,
        latency_passed = nodes_nodehour.latency_passed + excluded.latency_passed,
        latency_slow = nodes_nodehour.latency_slow + excluded.latency_slow
), fact AS (
    INSERT INTO metrics_outbox (kind, body)
    SELECT 'latency', %(fact)s::jsonb FROM stored WHERE %(fact)s::jsonb IS NOT NULL
)
SELECT FROM stored
"""


def _store(probe: Probe, node: Node) -> None:
    """Stores the probe and what follows from it, but for the node's status. Raises ReplayedProbe and UnknownNode."""
    fault = ProbeFault(probe.fault) if probe.fault else None
    own_trouble = fault is ProbeFault.VALIDATOR
    try:
        stored = fetch(
            _SQL,
            {
                "id": probe.pk,
                "node": node.pk,
                "validator": probe.validator_id,
                "kind": probe.kind,
                "ok": probe.ok,
                "fault": probe.fault,
                "counts_as": probe.counts_as,
                "ts": probe.ts,
                "at": probe.received_at,
                "hour": floor_hour(probe.received_at),
                "p50_ms": probe.p50_ms,
                "p95_ms": probe.p95_ms,
                "p99_ms": probe.p99_ms,
                "tps": probe.tps,
                "detail": probe.detail,
                "own_trouble": own_trouble,
                "reachable": seen_at_endpoint(ok=probe.ok, fault=fault),
                "column": _hour_column(probe, target_ms=target_ms(node.runtime)) if probe.counts_as else None,
                "fact": _fact(probe, node) if probe.ok and probe.p95_ms is not None else None,
            },
        )
    except IntegrityError as error:  # it was deleted just now
        raise UnknownNode(f"There is no node {node.pk}.") from error
    if not stored:
        raise ReplayedProbe("This probe was already posted.")


def _fact(probe: Probe, node: Node) -> str:
    """The latency, for the metrics store."""
    fact = LatencyFact(
        probe_id=str(probe.pk),
        node_id=node.pk,
        region=node.region,
        ts=int(probe.received_at.timestamp()),
        p50=probe.p50_ms,
        p95=probe.p95_ms,
        p99=probe.p99_ms,
        tps=probe.tps,
    )
    return orjson.dumps(fact.to_body()).decode()


def take_effect(probe: Probe, *, node: Node, by: Actor, at: datetime) -> Status:
    """Counts a stored probe as evidence, and applies it to the node's status. Returns the status.

    Must be called in the transaction that stored the probe, for one that counts.
    """
    _count(probe, target_ms=target_ms(node.runtime))
    event = _event(probe, node=node, at=at)
    return Status(node.status) if event is None else _happen(probe, event, by=by, at=at)


def take_effect_together(
    probes: Sequence[Probe], *, regions: Mapping[str, str], by: Actor, at: datetime
) -> None:
    """The same for health probes that found no fault but that the nodes could not be reached. `regions` are the nodes'.

    Must be called in the transaction that stored the probes.
    """
    if not probes:
        return
    ids = {probe.node_id for probe in probes}
    exemptions = Exemption.objects.covering(at).filter(Q(node__in=ids) | Q(node=None))
    exempt = [(each.node_id, each.region) for each in exemptions]
    failed = [
        Happening(probe.node_id, Event.PROBE_FAILED, evidence_of(probe))
        for probe in probes
        if not any(covers(*each, probe.node_id, regions[probe.node_id]) for each in exempt)
    ]
    happen_together(
        failed, by=by, at=at
    )  # before the hours: whoever locks a node and its hour begins with the node
    with connection.cursor() as cursor:
        cursor.execute(
            _FAILED_HEALTH_SQL, {"nodes": [probe.node_id for probe in probes], "hour": floor_hour(at)}
        )


# Rows in the order of the nodes' ids, so that two such statements do not wait for each other.
_FAILED_HEALTH_SQL: Final = """
INSERT INTO nodes_nodehour (node_id, hour, health_failed)
SELECT node_id, %(hour)s, count(*) FROM unnest(%(nodes)s::varchar[]) AS probe (node_id) GROUP BY node_id ORDER BY node_id
ON CONFLICT (node_id, hour) DO UPDATE SET health_failed = nodes_nodehour.health_failed + excluded.health_failed
"""


def event_of(counted: ProbeKind, *, ok: bool) -> Event | None:
    """What a probe that counts as one of this kind means for the status of a node that nothing exempts. None: nothing."""
    return _EVENTS.get((counted, ok))


def _event(probe: Probe, *, node: Node, at: datetime) -> Event | None:
    """What a probe that counts means for the node's status. None: nothing."""
    event = event_of(ProbeKind(probe.counts_as), ok=probe.ok)
    if event is None or not probe.fault or ProbeFault(probe.fault).is_false_answer:
        return event
    exempt = Exemption.objects.of_node(node).covering(at).exists()
    return Event.FAILED_WHILE_EXEMPT if exempt else event


def _happen(probe: Probe, event: Event, *, by: Actor, at: datetime) -> Status:
    return happen(probe.node_id, event, by=by, at=at, evidence=evidence_of(probe)).state.phase.status


def evidence_of(probe: Probe) -> dict[str, Any]:
    """What a transition remembers of the probe that led to it."""
    evidence = {"probe": str(probe.pk), "kind": str(probe.kind), "detail": probe.detail}
    if probe.fault:
        evidence["fault"] = ProbeFault(probe.fault).value
    return evidence


_HOUR_COLUMNS: dict[tuple[ProbeKind, bool], str] = {
    (ProbeKind.HEALTH, True): "health_passed",
    (ProbeKind.HEALTH, False): "health_failed",
    (ProbeKind.AUDIT, True): "audits_passed",
    (ProbeKind.AUDIT, False): "audits_failed",
    (ProbeKind.LATENCY, True): "latency_passed",
    (ProbeKind.LATENCY, False): "latency_slow",
}


def _hour_column(probe: Probe, *, target_ms: float) -> str:
    """Where the node's hour counts the probe, under the kind that it counts as.

    A latency probe passed if it was measured and is within the present target.
    """
    counted = ProbeKind(probe.counts_as)
    passed = probe.ok
    if counted is ProbeKind.LATENCY:
        passed = passed and probe.p95_ms is not None and probe.p95_ms <= target_ms
    return _HOUR_COLUMNS[counted, passed]


def _count(probe: Probe, *, target_ms: float) -> None:
    """Adds the probe to the node's hour, as evidence for its reputation."""
    column = _hour_column(probe, target_ms=target_ms)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO nodes_nodehour (node_id, hour, {column}) VALUES (%s, %s, 1)"  # noqa: S608 - a constant
            f" ON CONFLICT (node_id, hour) DO UPDATE SET {column} = nodes_nodehour.{column} + 1",
            [probe.node_id, floor_hour(probe.received_at)],
        )
