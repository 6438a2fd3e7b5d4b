"""Taking a heartbeat: one statement, because ten thousand nodes send one every ten seconds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

from jatevo.audit.record import Actor
from nodes.actions.errors import StaleHeartbeat
from nodes.actions.fraud import relate
from nodes.actions.transition import happen
from nodes.rules.lifecycle import Event, Status
from nodes.rules.marks import endpoint_mark

# `old` locks the row. A heartbeat that is not later than the last one changes nothing: PostgreSQL knows
# that by itself, whatever became of the replay guard. When a new minute begins, the count of the one
# before is kept (for the missed-heartbeats rule) and sent to the metrics store. Another endpoint is a mark that
# findings of fraud go by.
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
        endpoint = COALESCE(%(endpoint)s, n.endpoint),
        asn_hint = COALESCE(%(network)s, n.asn_hint),
        beat_minute = %(minute)s,
        beats = CASE WHEN old.beat_minute = %(minute)s THEN old.beats + 1 ELSE 1 END
    FROM old
    WHERE n.id = old.id AND (old.last_heartbeat_ts IS NULL OR old.last_heartbeat_ts < %(ts)s)
    RETURNING n.status, n.probing_since, old.beat_minute AS ended_minute, old.beats AS ended_beats,
              n.endpoint <> old.endpoint AS moved
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
SELECT status, probing_since IS NOT NULL, EXISTS (SELECT FROM mark) FROM changed
"""


@dataclass(frozen=True)
class Beat:
    """A heartbeat's body, checked. `ts` is the agent's clock in unix seconds; `models`, `endpoint` None: not said."""

    ts: float
    metrics: dict[str, Any]
    models: tuple[str, ...] | None = None
    endpoint: str | None = None


def heartbeat(*, node_id: str, beat: Beat, at: datetime, network: str | None = None) -> Status:
    """Notes a sign of life at the server's time `at` and returns the node's status.

    `network` is the autonomous system that it came from, if that is known.

    The first one after registration, a clearing or an absence puts the node before the validators.
    Raises StaleHeartbeat.
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
        raise StaleHeartbeat("The heartbeat's ts is not later than the node's last one.")
    status, probing, gained_mark = Status(row[0]), row[1], row[2]
    if gained_mark and relate(at=at, node_id=node_id):  # should it fail, the sweeper does it
        return Status.QUARANTINE
    if status is Status.OFFLINE or (status is Status.PENDING and not probing):
        # a transaction of its own: should it fail, the next heartbeat does it
        outcome = happen(node_id, Event.HEARTBEAT, by=Actor("node", node_id), at=at)
        status = outcome.state.phase.status
    return status
