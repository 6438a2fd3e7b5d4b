"""Itemising: accepted receipts with the facts by which they are judged, in set-based SQL.

The steps fill temporary tables, which live as long as the connection and are emptied by each commit:
`accrual_taken` and `accrual_receipt` (from the queue), `accrual_terms` (what they are paid by), `accrual_phase` and
`accrual_silence` (the status of their nodes over time), `accrual_group` (what all receipts of a line have in common),
and `accrual_fresh` (the items to be).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from earnings.accrual import recording, simultaneous
from earnings.accrual.months import ensure_months
from nodes.models import normal_model_sql

WORK_MEMORY = "64MB"  # for each sort and hash of a batch

WORK_TABLES = """
CREATE TEMP TABLE IF NOT EXISTS accrual_taken (id bigint, accepted_at timestamptz) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS accrual_receipt (
    id bigint, accepted_at timestamptz, node_id varchar, request_id varchar, sha256 bytea, ts_start timestamptz,
    ts_end timestamptz, tokens_input bigint, tokens_output bigint, failed boolean, hedged boolean, cache_hit boolean,
    day date, model text, org_id uuid, node_since timestamptz, key_since timestamptz, key_until timestamptz,
    concurrency integer, active_since timestamptz
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS accrual_terms (
    model text, since timestamptz, until timestamptz, rate_id bigint, input_usd numeric, output_usd numeric,
    cache_hit_discount numeric, output_per_second numeric, context_tokens bigint, require_dispatch boolean
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS accrual_phase (
    node_id varchar, since timestamptz, until timestamptz, active boolean, silent boolean, ordered boolean
) ON COMMIT DELETE ROWS;
CREATE INDEX IF NOT EXISTS accrual_phase_by_node ON accrual_phase (node_id, since DESC);
CREATE INDEX IF NOT EXISTS accrual_phase_active ON accrual_phase (node_id, since DESC) WHERE active;
CREATE TEMP TABLE IF NOT EXISTS accrual_silence (node_id varchar, since timestamptz, until timestamptz)
    ON COMMIT DELETE ROWS;
CREATE INDEX IF NOT EXISTS accrual_silence_by_node ON accrual_silence (node_id);
CREATE TEMP TABLE IF NOT EXISTS accrual_group (
    node_id varchar, org_id uuid, day date, model text, rate_id bigint, line_id bigint, active_throughout boolean,
    offered_throughout boolean
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS accrual_fresh (LIKE earnings_item) ON COMMIT DELETE ROWS;
"""

# A batch may follow another in one transaction, as in tests.
_EMPTY = """
TRUNCATE accrual_taken, accrual_receipt, accrual_terms, accrual_phase, accrual_silence, accrual_group,
    accrual_fresh, accrual_running, accrual_short, accrual_judged
"""

_EARLIEST = timedelta(days=8)  # a receipt comes at most seven days after its request

_TAKE = """
INSERT INTO accrual_taken (id, accepted_at)
SELECT id, accepted_at FROM receipts_unjudged
WHERE id > %(after)s AND accepted_at <= %(until)s AND NOT unpriced
ORDER BY id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

_BOUNDS = "SELECT count(*), min(id), max(id), min(accepted_at), max(accepted_at) FROM accrual_taken"

# A batch of so many receipts is read with joins of whole ranges, if hardly anything else lies between them. PostgreSQL
# cannot know, and would look up the node of each.
_MANY = 10_000

# The model of a receipt `r` as jatevo.wire.names.normal_model spells it.
NORMAL_MODEL = normal_model_sql("r.model_id")

# The rows `u` of the queue that have a rate. OFFSET 0 makes the database look up one receipt after the other, since few
# wait. The others may never get a rate, so that nothing may wait for them. Those that the accrual has seen are noted.
PRICED_IN_QUEUE = f"""
(SELECT * FROM receipts_unjudged WHERE NOT unpriced) u CROSS JOIN LATERAL (
    SELECT FROM receipts_receipt r
    WHERE r.accepted_at = u.accepted_at AND r.id = u.id
      AND EXISTS (SELECT FROM earnings_rate WHERE model IN ('', {NORMAL_MODEL}) AND holds_from <= r.ts_end)
    OFFSET 0
) priced
"""  # noqa: S608 - constants

# Receipts from before acceptance recorded these facts get them from the node and its keys.
_RECEIPTS = f"""
INSERT INTO accrual_receipt
SELECT r.id, r.accepted_at, r.node_id, r.request_id, r.sha256, r.ts_start, r.ts_end, r.tokens_input, r.tokens_output,
       r.failed, r.hedged, r.cache_hit, (r.ts_end AT TIME ZONE 'UTC')::date,
       {NORMAL_MODEL},
       COALESCE(r.org_id, n.org_id), n.created_at,
       COALESCE(r.key_since, (SELECT k.valid_from FROM nodes_nodekey k
                              WHERE k.node_id = r.node_id AND k.public_key = r.public_key)),
       CASE WHEN r.key_since IS NULL
            THEN (SELECT k.valid_to FROM nodes_nodekey k WHERE k.node_id = r.node_id AND k.public_key = r.public_key)
            ELSE r.key_until END,
       COALESCE(r.concurrency, n.concurrency), CASE WHEN n.status = 'active' THEN n.status_since END
FROM accrual_taken t
JOIN receipts_receipt r ON r.accepted_at = t.accepted_at AND r.id = t.id
JOIN nodes_node n ON n.id = r.node_id
WHERE r.accepted_at BETWEEN %(first)s AND %(last)s
"""  # noqa: S608 - constants

# For each model of the batch, the rate, limits and policy in force, with the span in which all three hold. A model
# without a rate at a time has no row for it, and its receipts stay in the queue.
_TERMS = """
INSERT INTO accrual_terms
SELECT span.model, span.since, span.until, rate.id, rate.input_usd, rate.output_usd, rate.cache_hit_discount,
       allowed.output_per_second, allowed.context_tokens, policy.require_dispatch
FROM (
    SELECT m.model, s.holds_from AS since, lead(s.holds_from) OVER (PARTITION BY m.model ORDER BY s.holds_from) AS until
    FROM (SELECT DISTINCT model FROM accrual_receipt) m
    JOIN (SELECT model, holds_from FROM earnings_rate UNION SELECT model, holds_from FROM earnings_modellimit
          UNION SELECT '', holds_from FROM earnings_policy) s ON s.model IN (m.model, '')
    GROUP BY m.model, s.holds_from
) span
CROSS JOIN LATERAL (
    SELECT * FROM earnings_rate WHERE model IN (span.model, '') AND holds_from <= span.since
    ORDER BY (model = span.model) DESC, holds_from DESC LIMIT 1) rate
CROSS JOIN LATERAL (
    SELECT * FROM earnings_modellimit WHERE model IN (span.model, '') AND holds_from <= span.since
    ORDER BY (model = span.model) DESC, holds_from DESC LIMIT 1) allowed
CROSS JOIN LATERAL (
    SELECT * FROM earnings_policy WHERE holds_from <= span.since ORDER BY holds_from DESC LIMIT 1) policy
"""

# The history of the nodes of which the current status does not tell enough: one row per transition, from the last
# `active` before the batch on. `silent`: since the node was last active, only silence or announced maintenance took
# it out of service. `ordered`: no phase of the node ends before it begins, so that none lies within another.
_PHASES = """
INSERT INTO accrual_phase (node_id, since, until, active, silent, ordered)
WITH node AS MATERIALIZED (
    SELECT node_id FROM accrual_receipt
    GROUP BY node_id
    HAVING bool_or(active_since IS NULL) OR min(ts_end) < min(active_since) - interval '300 seconds'
        OR bool_or(accepted_at - ts_end > interval '900 seconds')
), anchor AS MATERIALIZED (
    SELECT t.node_id, max(t.id) AS id FROM nodes_nodetransition t JOIN node USING (node_id)
    WHERE t.to_status = 'active' AND t.at < %(before)s
    GROUP BY t.node_id
), story AS (
    SELECT t.node_id, t.id, t.at, t.to_status, t.from_status, t.reason,
           lead(t.at) OVER w AS until,
           count(*) FILTER (WHERE t.to_status = 'active') OVER w AS stint
    FROM node JOIN nodes_nodetransition t USING (node_id) LEFT JOIN anchor ON anchor.node_id = t.node_id
    WHERE t.id >= COALESCE(anchor.id, 0)
    WINDOW w AS (PARTITION BY t.node_id ORDER BY t.id)
)
SELECT node_id, at, until, to_status = 'active',
       stint > 0 AND to_status <> 'active'
       AND bool_and(
           to_status = 'active'
           OR to_status = 'offline' AND reason IN ('no_heartbeat', 'maintenance')
           OR to_status IN ('registered', 'probing') AND from_status IN ('offline', 'registered', 'probing')
       ) OVER (PARTITION BY node_id, stint ORDER BY id)
       AND bool_or(to_status = 'offline') OVER (PARTITION BY node_id, stint ORDER BY id),
       bool_and(until IS NULL OR until >= at) OVER (PARTITION BY node_id)
FROM story
"""

# From the last heartbeat before a node went offline until it is active again.
_SILENCES = """
INSERT INTO accrual_silence (node_id, since, until)
SELECT away.node_id, COALESCE(heard.at, away.since), away.until
FROM (
    SELECT node_id, min(since) AS since, max(COALESCE(until, 'infinity')) AS until
    FROM (SELECT *, count(*) FILTER (WHERE NOT silent) OVER (PARTITION BY node_id ORDER BY since, silent) AS part
          FROM accrual_phase) phase
    WHERE silent
    GROUP BY node_id, part
) away
LEFT JOIN LATERAL (
    SELECT (t.evidence ->> 'last_heartbeat_at')::timestamptz AS at
    FROM nodes_nodetransition t
    WHERE t.node_id = away.node_id AND t.at = away.since AND t.to_status = 'offline'
      AND t.evidence ->> 'last_heartbeat_at' ~ '^[0-9]{4}-'
    LIMIT 1
) heard ON true
"""

# Most nodes are active and offer the model from before the first receipt of a line until after the last. Then nothing
# need be looked up for each receipt.
_GROUPS = """
INSERT INTO accrual_group
SELECT g.node_id, g.org_id, g.day, g.model, g.rate_id, l.id,
       EXISTS (SELECT FROM accrual_phase p
               WHERE p.node_id = g.node_id AND p.active AND p.ordered AND p.since <= g.first_end
                 AND (p.until IS NULL OR p.until > g.last_end)),
       EXISTS (SELECT FROM nodes_nodeoffer o
               WHERE o.node_id = g.node_id AND o.model = g.model
                 AND o.offered_from <= g.first_end + interval '300 seconds'
                 AND (o.offered_until IS NULL OR o.offered_until >= g.last_start - interval '24 hours'))
FROM (
    SELECT r.node_id, r.org_id, r.day, r.model, t.rate_id, min(r.ts_end) AS first_end, max(r.ts_end) AS last_end,
           max(r.ts_start) AS last_start
    FROM accrual_receipt r
    JOIN accrual_terms t ON t.model = r.model AND r.ts_end >= t.since AND (t.until IS NULL OR r.ts_end < t.until)
    GROUP BY r.node_id, r.org_id, r.day, r.model, t.rate_id
) g
JOIN earnings_line l ON l.node_id = g.node_id AND l.org_id = g.org_id AND l.day = g.day AND l.model = g.model
     AND l.rate_id = g.rate_id
"""

_FRESH = """
INSERT INTO accrual_fresh
SELECT r.day, r.id, r.accepted_at, r.node_id, r.org_id, r.request_id, r.sha256, g.line_id, r.model, r.ts_start, r.ts_end,
       r.tokens_input, r.tokens_output, r.failed, r.hedged, r.cache_hit, t.rate_id,
       (r.tokens_input * t.input_usd * CASE WHEN r.cache_hit THEN 1 - t.cache_hit_discount ELSE 1 END
        + r.tokens_output * t.output_usd) * 0.000001,
       r.node_since, r.key_since, r.key_until,
       -- of the stints that began before the end of the grace, the last one reaches furthest
       CASE WHEN g.active_throughout OR r.active_since <= r.ts_end + interval '300 seconds' THEN true ELSE COALESCE((
           SELECT p.until IS NULL OR p.until >= r.ts_end - interval '300 seconds'
           FROM accrual_phase p
           WHERE p.node_id = r.node_id AND p.active AND p.since <= r.ts_end + interval '300 seconds'
           ORDER BY p.since DESC LIMIT 1), false) END,
       CASE WHEN g.active_throughout OR r.active_since <= r.ts_end THEN false ELSE COALESCE((
           SELECT p.silent FROM accrual_phase p
           WHERE p.node_id = r.node_id AND p.since <= r.ts_end ORDER BY p.since DESC LIMIT 1), false) END,
       CASE WHEN r.accepted_at - r.ts_end > interval '900 seconds' THEN COALESCE((
           SELECT floor(extract(epoch FROM sum(upper(part) - lower(part))))::integer
           FROM unnest(tstzmultirange(tstzrange(r.ts_end, r.accepted_at)) * (
               SELECT range_agg(tstzrange(away.since, away.until)) FROM (
                   SELECT s.since, s.until FROM accrual_silence s WHERE s.node_id = r.node_id
                   UNION ALL
                   SELECT e.starts_at, e.ends_at FROM nodes_exemption e
                   WHERE e.kind = 'outage' AND e.starts_at < r.accepted_at
                     AND (e.ends_at IS NULL OR e.ends_at > r.ts_end)) away
           )) AS part), 0) ELSE 0 END,
       -- unknown where the history of the node's models does not reach back far enough
       CASE WHEN g.offered_throughout THEN true
            WHEN EXISTS (
                SELECT FROM nodes_nodeoffer o
                WHERE o.node_id = r.node_id AND o.model = r.model
                  AND o.offered_from <= r.ts_end + interval '300 seconds'
                  AND (o.offered_until IS NULL OR o.offered_until >= r.ts_start - interval '24 hours')) THEN true
            WHEN (SELECT min(o.offered_from) FROM nodes_nodeoffer o WHERE o.node_id = r.node_id)
                 <= GREATEST(r.ts_start - interval '24 hours', r.node_since + interval '1 minute') THEN false END,
       COALESCE(running.running, 1), COALESCE(short.tokens, 0), r.concurrency, t.output_per_second, t.context_tokens, t.require_dispatch
FROM accrual_receipt r
JOIN accrual_terms t ON t.model = r.model AND r.ts_end >= t.since AND (t.until IS NULL OR r.ts_end < t.until)
JOIN accrual_group g ON g.node_id = r.node_id AND g.org_id = r.org_id AND g.day = r.day AND g.model = r.model
     AND g.rate_id = t.rate_id
LEFT JOIN accrual_running running ON running.receipt_id = r.id AND running.fresh
LEFT JOIN accrual_short short ON short.receipt_id = r.id
"""

_LINES = """
INSERT INTO earnings_line (node_id, org_id, day, model, rate_id, receipts, tokens_input, tokens_output,
    payable_receipts, payable_usd, confirmed_usd, held_receipts, held_usd, excluded_receipts, excluded_usd)
SELECT node_id, org_id, day, model, rate_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
FROM (SELECT DISTINCT r.node_id, r.org_id, r.day, r.model, t.rate_id FROM accrual_receipt r
      JOIN accrual_terms t ON t.model = r.model AND r.ts_end >= t.since AND (t.until IS NULL OR r.ts_end < t.until)
) wanted
ORDER BY day, node_id, org_id, model, rate_id
ON CONFLICT DO NOTHING
"""

# What gateways have said of these requests is taken into account by the verdicts that follow. What they say after
# this statement stays in the queue. OFFSET 0 makes the database look each request up, however long the queue is.
_TOLD = """
DELETE FROM receipts_unjudgedrequest WHERE ctid = ANY (ARRAY(
    SELECT told.ctid FROM accrual_fresh f
    CROSS JOIN LATERAL (SELECT ctid FROM receipts_unjudgedrequest u WHERE u.request_id = f.request_id OFFSET 0) told
))
"""
_STORE = """
INSERT INTO earnings_item SELECT * FROM accrual_fresh;
DELETE FROM receipts_unjudged q USING accrual_fresh f WHERE q.id = f.receipt_id;
"""


_UNPRICED = """
UPDATE receipts_unjudged q SET unpriced = true FROM accrual_receipt r
WHERE q.id = r.id AND NOT EXISTS (
    SELECT FROM earnings_rate WHERE model IN ('', r.model) AND holds_from <= r.ts_end)
"""


@dataclass(frozen=True)
class Taken:
    """How many receipts a batch took and how many of them it itemised, and the highest id that it took."""

    receipts: int
    itemised: int
    last_id: int


def make_work_tables() -> None:
    """Creates the temporary tables of this connection. Outside of a batch, so that they stay."""
    with connection.cursor() as cursor:
        cursor.execute(WORK_TABLES)
        cursor.execute(simultaneous.WORK_TABLE)
        cursor.execute(recording.WORK_TABLE)


def itemise(*, after: int, until: datetime, limit: int) -> Taken:
    """Takes up to `limit` receipts with ids over `after`, accepted until then, and writes their items.

    The items are also in `accrual_fresh` until the transaction ends. Receipts without a rate stay in the queue, and are
    taken again once there is a new rate.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL work_mem = '{WORK_MEMORY}'")
        cursor.execute(_EMPTY)
        cursor.execute(_TAKE, {"after": after, "until": until, "limit": limit})
        cursor.execute(_BOUNDS)
        ((count, first_id, last_id, first, last),) = cursor.fetchall()
        if not count:
            return Taken(0, 0, after)
        cursor.execute("ANALYZE accrual_taken")
        dense = count >= _MANY and last_id - first_id < 2 * count
        cursor.execute(f"SET LOCAL enable_nestloop = {'off' if dense else 'on'}")
        cursor.execute(_RECEIPTS, {"first": first, "last": last})
        cursor.execute("SET LOCAL enable_nestloop = on")
        cursor.execute("ANALYZE accrual_receipt (id, node_id, org_id, day, model)")
        cursor.execute(_TERMS)
        cursor.execute("ANALYZE accrual_terms")
        cursor.execute(_PHASES, {"before": first - _EARLIEST})
        cursor.execute("ANALYZE accrual_phase")
        cursor.execute(_SILENCES)
        simultaneous.count_simultaneous(cursor)
        cursor.execute(_LINES)
        cursor.execute(_GROUPS)
        cursor.execute("ANALYZE accrual_group")
        cursor.execute(_FRESH)
        itemised = int(cursor.rowcount)
        cursor.execute("ANALYZE accrual_fresh (receipt_id, request_id, node_id)")
        cursor.execute("SELECT DISTINCT day FROM accrual_fresh")
        ensure_months(day for (day,) in cursor.fetchall())
        cursor.execute(_STORE)
        cursor.execute(_TOLD)
        if itemised < count:
            cursor.execute(_UNPRICED)
    return Taken(count, itemised, last_id)
