"""Recording a heartbeat in one SQL statement, because ten thousand nodes send one every ten seconds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from jatevo.audit.record import Actor
from jatevo.web.postgresql.statements import fetch
from nodes.actions.errors import StaleHeartbeat
from nodes.actions.fraud import relate
from nodes.actions.offers import record_offers
from nodes.actions.transition import happen
from nodes.rules.challenges import AskedNode
from nodes.rules.lifecycle import Event, Phase, Status
from nodes.rules.marks import endpoint_mark

# `old` locks the row. A heartbeat that is not later than the last one changes nothing, even if the replay
# guard was lost with the cache. When a new minute begins, the count of the previous minute is stored (for the
# missed-heartbeats rule) and queued for the metrics store. A changed endpoint is stored as a mark, which
# findings of fraud use.
# A changed endpoint is not known to be reachable, and no endpoint is known not to be.
# Changed models put the history of offers behind, and `record_offers` brings it up to date.
_SQL = """
WITH old AS MATERIALIZED (
    SELECT id, last_heartbeat_ts, beat_minute, beats, endpoint
    FROM nodes_node WHERE id = %(node)s::text FOR UPDATE
), changed AS (
    UPDATE nodes_node n SET
        first_heard_at = COALESCE(n.first_heard_at, %(at)s),
        last_heartbeat_at = %(at)s,
        last_heartbeat_ts = %(ts)s,
        last_metrics = %(metrics)s::jsonb,
        models_offered = COALESCE(%(models)s::varchar[], n.models_offered),
        offers_behind = n.offers_behind OR COALESCE(%(models)s::varchar[] <> n.models_offered, false),
        endpoint = COALESCE(%(endpoint)s::text, n.endpoint),
        reachable = CASE WHEN COALESCE(%(endpoint)s::text, n.endpoint) = '' THEN false
                         WHEN %(endpoint)s::text <> n.endpoint THEN NULL ELSE n.reachable END,
        reachable_since = CASE WHEN COALESCE(%(endpoint)s::text, n.endpoint) = ''
                               THEN CASE WHEN n.reachable IS FALSE THEN n.reachable_since ELSE %(at)s END
                               WHEN %(endpoint)s::text <> n.endpoint THEN NULL ELSE n.reachable_since END,
        asn_hint = COALESCE(%(network)s::text, n.asn_hint),
        beat_minute = %(minute)s,
        beats = CASE WHEN old.beat_minute = %(minute)s THEN old.beats + 1 ELSE 1 END
    FROM old
    WHERE n.id = old.id AND (old.last_heartbeat_ts IS NULL OR old.last_heartbeat_ts < %(ts)s)
    RETURNING n.status, n.probing_since, old.beat_minute AS ended_minute, old.beats AS ended_beats,
              n.endpoint <> old.endpoint AS moved, n.offers_behind, n.fraud, n.endpoint, n.reachable,
              GREATEST(n.last_health_at, n.last_audit_at) AS validator_came_at,
              n.challenge_audited_at, n.challenged_at, n.proof_waiting
), mark AS (
    INSERT INTO nodes_nodemark (node_id, kind, value, gained_at)
    SELECT %(node)s::text, 'endpoint', %(endpoint_mark)s::text, %(at)s FROM changed
    WHERE moved AND %(endpoint_mark)s::text <> '' AND %(endpoint_mark)s::text IS DISTINCT FROM (
        SELECT value FROM nodes_nodemark WHERE node_id = %(node)s::text AND kind = 'endpoint'
        ORDER BY gained_at DESC, id DESC LIMIT 1)
    ON CONFLICT (node_id, kind, value) DO UPDATE SET gained_at = excluded.gained_at
    RETURNING value
), minute AS (
    INSERT INTO nodes_heartbeatminute (node_id, minute, beats)
    SELECT %(node)s::text, ended_minute, ended_beats FROM changed WHERE ended_minute < %(minute)s
    ON CONFLICT (node_id, minute) DO UPDATE SET beats = excluded.beats
), fact AS (
    INSERT INTO metrics_outbox (kind, body)
    SELECT 'uptime', jsonb_build_object('node_id', %(node)s::text, 'up', true, 'beats', ended_beats,
                                        'minute', extract(epoch FROM ended_minute)::bigint)
    FROM changed WHERE ended_minute < %(minute)s
)
SELECT status, probing_since, EXISTS (SELECT FROM mark), offers_behind,
       fraud, endpoint, reachable, validator_came_at, challenge_audited_at, challenged_at, proof_waiting
FROM changed
"""


@dataclass(frozen=True)
class Beat:
    """A validated heartbeat. `ts` is the agent's clock in unix seconds.

    `models` and `endpoint` are None if the heartbeat did not contain them.
    """

    ts: float
    metrics: dict[str, Any]
    models: tuple[str, ...] | None = None
    endpoint: str | None = None


@dataclass(frozen=True)
class TakenHeartbeat:
    """The node's status after its heartbeat, and what decides whether the answer takes a challenge along."""

    status: Status
    asked: AskedNode


def heartbeat(*, node_id: str, beat: Beat, at: datetime, network: str | None = None) -> TakenHeartbeat:
    """Records a heartbeat at the server's time `at`.

    `network` is the autonomous system that it came from, if known. After the first heartbeat that follows a
    registration, a clear or an absence, validators start to probe the node.
    Raises StaleHeartbeat if it is not later than the last one.
    """
    rows = fetch(
        _SQL,
        {
            "node": node_id,
            "at": at,
            "ts": beat.ts,
            "minute": at.replace(second=0, microsecond=0),
            "metrics": orjson.dumps(beat.metrics).decode(),
            "models": None if beat.models is None else list(beat.models),
            "endpoint": beat.endpoint,
            "endpoint_mark": endpoint_mark(beat.endpoint or ""),
            "network": network,
        },
    )
    if not rows:
        raise StaleHeartbeat("The heartbeat's `ts` is not later than that of the node's last heartbeat.")
    (row,) = rows
    status, probing_since, gained_mark, offers_behind = Status(row[0]), row[1], row[2], row[3]
    phase = Phase(status) if status is not Status.PENDING else Phase.PROBING
    if offers_behind:  # if it fails, the next heartbeat does it
        record_offers(node_id=node_id, at=at)
    if gained_mark and relate(at=at, node_id=node_id):  # if it fails, the sweeper does it
        phase = Phase.QUARANTINE
    elif status is Status.OFFLINE or (status is Status.PENDING and probing_since is None):
        # in its own transaction; if it fails, the next heartbeat does it
        phase = happen(node_id, Event.HEARTBEAT, by=Actor("node", node_id), at=at).state.phase
        probing_since = at
    return TakenHeartbeat(
        phase.status,
        AskedNode(
            phase=phase,
            fraud=row[4],
            endpoint=row[5],
            reachable=row[6],
            probing_since=probing_since,
            probed_at=row[7],
            audited_at=row[8],
            challenged_at=row[9],
            proof_waiting=row[10],
        ),
    )
