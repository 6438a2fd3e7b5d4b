"""Itemising: accepted receipts with the facts by which they are judged, in set-based SQL.

The steps fill temporary tables, which live as long as the connection and are emptied by each commit:
`accrual_taken` (receipts from the queue), `accrual_phase` and `accrual_silence` (their nodes' status over time),
and `accrual_fresh` (the items to be).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from earnings.accrual import recording, simultaneous
from earnings.accrual.months import ensure_months

WORK_TABLES = """
CREATE TEMP TABLE IF NOT EXISTS accrual_taken (id bigint PRIMARY KEY, accepted_at timestamptz) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS accrual_phase (
    node_id varchar, since timestamptz, until timestamptz, active boolean, silent boolean
) ON COMMIT DELETE ROWS;
CREATE INDEX IF NOT EXISTS accrual_phase_by_node ON accrual_phase (node_id, since DESC);
CREATE INDEX IF NOT EXISTS accrual_phase_active ON accrual_phase (node_id, since DESC) WHERE active;
CREATE TEMP TABLE IF NOT EXISTS accrual_silence (node_id varchar, since timestamptz, until timestamptz)
    ON COMMIT DELETE ROWS;
CREATE INDEX IF NOT EXISTS accrual_silence_by_node ON accrual_silence (node_id);
CREATE TEMP TABLE IF NOT EXISTS accrual_fresh (LIKE earnings_item) ON COMMIT DELETE ROWS;
"""

# A batch may follow another in one transaction, as in tests.
_EMPTY = (
    "TRUNCATE accrual_taken, accrual_phase, accrual_silence, accrual_fresh, accrual_running, accrual_judged"
)

_EARLIEST = timedelta(days=8)  # a receipt comes at most seven days after its request

# Receipts whose model has no rate yet stay in the queue.
_TAKE = """
INSERT INTO accrual_taken (id, accepted_at)
SELECT id, accepted_at FROM receipts_unjudged
WHERE id > %(after)s AND accepted_at <= %(until)s
ORDER BY id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED
"""

_BOUNDS = "SELECT count(*), max(id), min(accepted_at), max(accepted_at) FROM accrual_taken"

# One row per transition of the batch's nodes, from the last `active` before the batch on. `silent`: since the
# node was last active, only silence or announced maintenance took it out of service.
_PHASES = """
INSERT INTO accrual_phase (node_id, since, until, active, silent)
WITH node AS (
    SELECT DISTINCT q.node_id FROM receipts_unjudged q JOIN accrual_taken USING (id)
), story AS (
    SELECT t.node_id, t.id, t.at, t.to_status, t.from_status, t.reason,
           lead(t.at) OVER w AS until,
           count(*) FILTER (WHERE t.to_status = 'active') OVER w AS stint
    FROM node JOIN LATERAL (
        SELECT * FROM nodes_nodetransition
        WHERE node_id = node.node_id AND id >= COALESCE((
            SELECT max(id) FROM nodes_nodetransition
            WHERE node_id = node.node_id AND to_status = 'active' AND at < %(before)s), 0)
    ) t ON true
    WINDOW w AS (PARTITION BY t.node_id ORDER BY t.id)
)
SELECT node_id, at, until, to_status = 'active',
       stint > 0 AND to_status <> 'active'
       AND bool_and(
           to_status = 'active'
           OR to_status = 'offline' AND reason IN ('no_heartbeat', 'maintenance')
           OR to_status IN ('registered', 'probing') AND from_status IN ('offline', 'registered', 'probing')
       ) OVER (PARTITION BY node_id, stint ORDER BY id)
       AND bool_or(to_status = 'offline') OVER (PARTITION BY node_id, stint ORDER BY id)
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

_FRESH = """
INSERT INTO accrual_fresh
WITH receipt AS MATERIALIZED (
    SELECT r.id, r.accepted_at, r.node_id, r.request_id, r.sha256, r.ts_start, r.ts_end, r.tokens_input,
           r.tokens_output, r.failed, r.hedged, r.cache_hit, (r.ts_end AT TIME ZONE 'UTC')::date AS day,
           regexp_replace(lower(r.model_id COLLATE "C"), '(.):latest$', '\\1') AS model,
           COALESCE(r.org_id, n.org_id) AS org_id, n.created_at AS node_since,
           COALESCE(r.key_since, k.valid_from) AS key_since,
           CASE WHEN r.key_since IS NULL THEN k.valid_to ELSE r.key_until END AS key_until,
           COALESCE(r.concurrency, n.concurrency) AS concurrency
    FROM accrual_taken t
    JOIN receipts_receipt r ON r.accepted_at = t.accepted_at AND r.id = t.id
    JOIN nodes_node n ON n.id = r.node_id
    LEFT JOIN nodes_nodekey k ON r.key_since IS NULL AND k.node_id = r.node_id AND k.public_key = r.public_key
    WHERE r.accepted_at BETWEEN %(first)s AND %(last)s
), model AS (
    SELECT DISTINCT model FROM receipt
), price AS MATERIALIZED (
    SELECT span.model, span.since, span.until, r.*
    FROM (SELECT m.model, s.holds_from AS since,
                 lead(s.holds_from) OVER (PARTITION BY m.model ORDER BY s.holds_from) AS until
          FROM model m JOIN (SELECT DISTINCT model, holds_from FROM earnings_rate) s ON s.model IN (m.model, '')
          GROUP BY m.model, s.holds_from) span
    CROSS JOIN LATERAL (
        SELECT id, input_usd, output_usd, cache_hit_discount FROM earnings_rate
        WHERE model IN (span.model, '') AND holds_from <= span.since
        ORDER BY (model = span.model) DESC, holds_from DESC LIMIT 1) r
), allowed AS MATERIALIZED (
    SELECT span.model, span.since, span.until, l.*
    FROM (SELECT m.model, s.holds_from AS since,
                 lead(s.holds_from) OVER (PARTITION BY m.model ORDER BY s.holds_from) AS until
          FROM model m JOIN (SELECT DISTINCT model, holds_from FROM earnings_modellimit) s
               ON s.model IN (m.model, '')
          GROUP BY m.model, s.holds_from) span
    CROSS JOIN LATERAL (
        SELECT output_per_second, context_tokens FROM earnings_modellimit
        WHERE model IN (span.model, '') AND holds_from <= span.since
        ORDER BY (model = span.model) DESC, holds_from DESC LIMIT 1) l
), policy AS MATERIALIZED (
    SELECT holds_from AS since, lead(holds_from) OVER (ORDER BY holds_from) AS until, require_dispatch
    FROM earnings_policy
), known AS MATERIALIZED (
    SELECT n.node_id, (SELECT min(o.offered_from) FROM nodes_nodeoffer o WHERE o.node_id = n.node_id) AS since
    FROM (SELECT DISTINCT node_id FROM receipt) n
)
SELECT r.day, r.id, r.accepted_at, r.node_id, r.org_id, r.request_id, r.sha256, 0, r.model, r.ts_start, r.ts_end,
       r.tokens_input, r.tokens_output, r.failed, r.hedged, r.cache_hit, price.id,
       (r.tokens_input * price.input_usd * CASE WHEN r.cache_hit THEN 1 - price.cache_hit_discount ELSE 1 END
        + r.tokens_output * price.output_usd) * 0.000001,
       r.node_since, r.key_since, r.key_until,
       -- the stint that began last before the end of the grace reaches furthest
       COALESCE((SELECT p.until IS NULL OR p.until >= r.ts_end - interval '300 seconds'
                 FROM accrual_phase p
                 WHERE p.node_id = r.node_id AND p.active AND p.since <= r.ts_end + interval '300 seconds'
                 ORDER BY p.since DESC LIMIT 1), false),
       COALESCE((SELECT p.silent FROM accrual_phase p
                 WHERE p.node_id = r.node_id AND p.since <= r.ts_end ORDER BY p.since DESC LIMIT 1), false),
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
       CASE WHEN EXISTS (
                SELECT FROM nodes_nodeoffer o
                WHERE o.node_id = r.node_id AND o.model = r.model
                  AND o.offered_from <= r.ts_end + interval '300 seconds'
                  AND (o.offered_until IS NULL OR o.offered_until >= r.ts_start - interval '24 hours')) THEN true
            WHEN known.since <= GREATEST(r.ts_start - interval '24 hours', r.node_since + interval '1 minute')
                THEN false END,
       1, 0, r.concurrency, allowed.output_per_second, allowed.context_tokens, policy.require_dispatch
FROM receipt r
JOIN price ON price.model = r.model AND r.ts_end >= price.since
          AND (price.until IS NULL OR r.ts_end < price.until)
JOIN allowed ON allowed.model = r.model AND r.ts_end >= allowed.since
            AND (allowed.until IS NULL OR r.ts_end < allowed.until)
JOIN policy ON r.ts_end >= policy.since AND (policy.until IS NULL OR r.ts_end < policy.until)
JOIN known ON known.node_id = r.node_id
"""

_LINES = """
INSERT INTO earnings_line (node_id, org_id, day, model, rate_id, receipts, tokens_input, tokens_output,
    payable_receipts, payable_usd, confirmed_usd, held_receipts, held_usd, excluded_receipts, excluded_usd)
SELECT node_id, org_id, day, model, rate_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
FROM (SELECT DISTINCT node_id, org_id, day, model, rate_id FROM accrual_fresh) wanted
ORDER BY day, node_id, org_id, model, rate_id
ON CONFLICT DO NOTHING
"""

_PLACE = """
UPDATE accrual_fresh f SET line_id = l.id
FROM earnings_line l
WHERE l.node_id = f.node_id AND l.org_id = f.org_id AND l.day = f.day AND l.model = f.model AND l.rate_id = f.rate_id
"""
_STORE = """
INSERT INTO earnings_item SELECT * FROM accrual_fresh;
DELETE FROM receipts_unjudged q USING accrual_fresh f WHERE q.id = f.receipt_id;
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

    The items are also in `accrual_fresh` until the transaction ends. Receipts without a rate stay in the queue.
    """
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY)
        cursor.execute(_TAKE, {"after": after, "until": until, "limit": limit})
        cursor.execute(_BOUNDS)
        ((count, last_id, first, last),) = cursor.fetchall()
        if not count:
            return Taken(0, 0, after)
        cursor.execute("ANALYZE accrual_taken")
        # receipts are of the seven days before their acceptance
        cursor.execute(_PHASES, {"before": first - _EARLIEST})
        cursor.execute("ANALYZE accrual_phase")
        cursor.execute(_SILENCES)
        cursor.execute(_FRESH, {"first": first, "last": last})
        cursor.execute("ANALYZE accrual_fresh")
        simultaneous.count_simultaneous(cursor)
        cursor.execute("SELECT DISTINCT day FROM accrual_fresh")
        ensure_months(day for (day,) in cursor.fetchall())
        cursor.execute(_LINES)
        cursor.execute(_PLACE)
        cursor.execute("SELECT count(*) FROM accrual_fresh")
        ((itemised,),) = cursor.fetchall()
        cursor.execute(_STORE)
    return Taken(count, itemised, last_id)
