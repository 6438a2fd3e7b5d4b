"""How many requests a node served at once, for a batch of items.

Most nodes never exceed what they say that they can serve, which one sorted pass shows. The others are counted
exactly, by `earnings.rules.concurrency`.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from django.db.backends.utils import CursorWrapper
from psycopg import sql

from earnings.accrual.months import items_of_months
from earnings.rules.concurrency import concurrent_counts

WORK_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS accrual_short (receipt_id bigint PRIMARY KEY, tokens bigint) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS accrual_running (
    receipt_id bigint, node_id varchar, ts_start timestamptz, ts_end timestamptz, fresh boolean, running integer,
    concurrency integer
) ON COMMIT DELETE ROWS;
"""

# The batch's items, and older ones of the same nodes that may overlap them. Nothing longer than a day is looked for
# beyond a day, because it is held anyway. A running sum of starts and ends gives how many ran when each began.
# OFFSET 0 makes the database look the items up node by node, and not read all items of the days.
_RUNNING = """
INSERT INTO accrual_running
WITH reach AS MATERIALIZED (
    SELECT node_id, min(ts_start) AS since, max(ts_end) AS until FROM accrual_receipt
    WHERE ts_end > ts_start GROUP BY node_id
), known AS (
    SELECT id AS receipt_id, node_id, ts_start, ts_end, true AS fresh, concurrency FROM accrual_receipt
    WHERE ts_end > ts_start
    UNION ALL
    SELECT i.receipt_id, i.node_id, i.ts_start, i.ts_end, false, NULL
    FROM reach CROSS JOIN LATERAL (
        SELECT * FROM {items} i
        WHERE i.node_id = reach.node_id AND i.ts_end > reach.since AND i.ts_end < reach.until + interval '24 hours'
          AND i.ts_start < reach.until AND i.ts_end > i.ts_start
        OFFSET 0
    ) i
), event AS (
    -- ends come before starts of the same moment, because spans are half-open
    SELECT receipt_id, node_id, ts_start, ts_end, fresh, concurrency, ts_start AS at, 1 AS step FROM known
    UNION ALL
    SELECT NULL, node_id, NULL, NULL, false, NULL, ts_end, -1 FROM known
)
SELECT receipt_id, node_id, ts_start, ts_end, fresh, running, concurrency
FROM (SELECT *, sum(step) OVER (PARTITION BY node_id ORDER BY at, step
                                RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running FROM event) counted
WHERE step = 1
"""

_BUSY = """
SELECT node_id, receipt_id, ts_start, ts_end, fresh FROM accrual_running
WHERE node_id IN (
    SELECT node_id FROM accrual_running GROUP BY node_id HAVING max(running) > min(concurrency))
ORDER BY node_id, receipt_id
"""

_EXACT = """
UPDATE accrual_running r SET running = exact.count
FROM unnest(%s::bigint[], %s::integer[]) AS exact (receipt_id, count)
WHERE r.fresh AND exact.receipt_id = r.receipt_id
"""

# Requests that begin and end in one second: the node's output tokens of that second, in order of acceptance.
_SHORT = """
INSERT INTO accrual_short
SELECT id, tokens + COALESCE((
    SELECT sum(i.tokens_output) FROM {items} i
    WHERE i.node_id = short.node_id AND i.ts_end = short.ts_end AND i.ts_start = i.ts_end
      AND i.receipt_id < short.id), 0)
FROM (SELECT id, node_id, ts_end, sum(tokens_output) OVER (PARTITION BY node_id, ts_end ORDER BY id) AS tokens
      FROM accrual_receipt WHERE ts_end = ts_start) short
"""


def count_simultaneous(cursor: CursorWrapper) -> None:
    """Fills accrual_running and accrual_short for the receipts of accrual_receipt, before their items are stored."""
    cursor.execute("SELECT min((ts_start AT TIME ZONE 'UTC')::date), max(day) + 1 FROM accrual_receipt")
    ((first_day, last_day),) = cursor.fetchall()
    if first_day is None:
        return
    items = items_of_months(cursor, first_day, last_day)
    cursor.execute(sql.SQL(_RUNNING).format(items=items))
    cursor.execute(_BUSY)
    counted: list[tuple[int, int]] = []
    for _, rows in groupby(cursor.fetchall(), key=itemgetter(0)):
        counted += _exact(list(rows))
    if counted:
        cursor.execute(_EXACT, [[receipt for receipt, _ in counted], [count for _, count in counted]])
    cursor.execute(sql.SQL(_SHORT).format(items=items))
    cursor.execute("ANALYZE accrual_running (receipt_id, fresh)")


def _exact(rows: Sequence[tuple[str, int, datetime, datetime, bool]]) -> list[tuple[int, int]]:
    """The counts of one node's fresh receipts. The rows are in order of acceptance."""
    counts = concurrent_counts([(row[2], row[3]) for row in rows])
    return [(row[1], count) for row, count in zip(rows, counts, strict=True) if row[4]]
