"""Recording a heartbeat in one SQL statement, because ten thousand nodes send one every ten seconds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

from jatevo.audit.record import Actor
from nodes.actions.errors import StaleHeartbeat
from nodes.actions.fraud import relate
from nodes.actions.offers import record_offers
from nodes.actions.transition import happen
from nodes.rules.lifecycle import Event, Status
from nodes.rules.marks import endpoint_mark

# `old` locks the row. A heartbeat that is not later than the last one changes nothing, even if the replay
# guard was lost with the cache. When a new minute begins, the count of the previous minute is stored (for the
# missed-heartbeats rule) and queued for the metrics store. A changed endpoint is stored as a mark, which
# findings of fraud use.
# Changed models put the history of offers behind, and `record_offers` brings it up to date.
_SQL = """
WITH old AS MATERIALIZED (
    SELECT id, last_heartbeat_ts, beat_minute, beats, endpoint FROM nodes_node WHERE id = %(node)s FOR UPDATE
), changed AS (
    UPDATE nodes_node n SET
        first_heard_at = COALESCE(n.first_heard_at, %(at)s),
        last_heartbeat_at = %(at)s,
        last_heartbeat_ts = %(ts)s,
        last_metrics = %(metrics)s::jsonb,
        models_offered = COALESCE(%(models)s::varchar[], n.models_offered),
        offers_behind = n.offers_behind OR COALESCE(%(models)s::varchar[] <> n.models_offered, false),
        endpoint = COALESCE(%(endpoint)s, n.endpoint),
        asn_hint = COALESCE(%(network)s, n.asn_hint),
        beat_minute = %(minute)s,
        beats = CASE WHEN old.beat_minute = %(minute)s THEN old.beats + 1 ELSE 1 END
    FROM old
    WHERE n.id = old.id AND (old.last_heartbeat_ts IS NULL OR old.last_heartbeat_ts < %(ts)s)
    RETURNING n.status, n.probing_since, old.beat_minute AS ended_minute, old.beats AS ended_beats,
              n.endpoint <> old.endpoint AS moved, n.offers_behind
), mark AS (
    INSERT INTO nodes_nodemark (node_id, kind, value, gained_at)
    SELECT %(node)s, 'endpoint', %(endpoint_mark)s, %(at)s FROM changed
    WHERE moved AND %(endpoint_mark)s <> '' AND %(endpoint_mark)s IS DISTINCT FROM (
        SELECT value FROM nodes_nodemark WHERE node_id = %(node)s AND kind = 'endpoint'
        ORDER BY gained_at DESC, id DESC LIMIT 1)
    ON CONFLICT (node_id, kind, value) DO UPDATE SET gained_at = excluded.gained_at
    RETURNING value
), minute AS (
    INSERT INTO nodes_heartbeatminute (node_id, minute, beats)
    SELECT %(node)s, ended_minute, ended_beats FROM changed WHERE ended_minute < %(minute)s
    ON CONFLICT (node_id, minute) DO UPDATE SET beats = excluded.beats
), fact AS (
    INSERT INTO metrics_outbox (kind, body)
    SELECT 'uptime', jsonb_build_object('node_id', %(node)s::text, 'up', true, 'beats', ended_beats,
                                        'minute', extract(epoch FROM ended_minute)::bigint)
    FROM changed WHERE ended_minute < %(minute)s
)
SELECT status, probing_since IS NOT NULL, EXISTS (SELECT FROM mark), offers_behind FROM changed
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


def heartbeat(*, node_id: str, beat: Beat, at: datetime, network: str | None = None) -> Status:
    """Records a heartbeat at the server's time `at`. Returns the node's status.

    `network` is the autonomous system that it came from, if known. After the first heartbeat that follows a
    registration, a clear or an absence, validators start to probe the node.
    Raises StaleHeartbeat if it is not later than the last one.
    """
    with connection.cursor() as cursor:
        cursor.execute(
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
        row = cursor.fetchone()
    if row is None:
        raise StaleHeartbeat("The heartbeat's `ts` is not later than that of the node's last heartbeat.")
    status, probing, gained_mark, offers_behind = Status(row[0]), row[1], row[2], row[3]
    if offers_behind:  # if it fails, the next heartbeat does it
        record_offers(node_id=node_id, at=at)
    if gained_mark and relate(at=at, node_id=node_id):  # if it fails, the sweeper does it
        return Status.QUARANTINE
    if status is Status.OFFLINE or (status is Status.PENDING and not probing):
        # in its own transaction; if it fails, the next heartbeat does it
        outcome = happen(node_id, Event.HEARTBEAT, by=Actor("node", node_id), at=at)
        status = outcome.state.phase.status
    return status
