"""Recording verdicts: appended where they differ from the newest, with all that is derived from them.

`accrual_judged` holds the items that were judged in this transaction, with their newest verdict so far.
"""

from datetime import datetime

from django.db import connection

WORK_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS accrual_judged (
    receipt_id bigint, day date, line_id bigint, node_id varchar, org_id uuid, request_id varchar,
    ts_end timestamptz, fee_usd numeric, tokens_input bigint, tokens_output bigint, is_new boolean,
    old_state varchar, old_rule varchar, old_cause varchar, old_confirmed boolean, old_actor varchar,
    state varchar, rule varchar, cause varchar, confirmed boolean, numbers jsonb, actor varchar, reason text
) ON COMMIT DELETE ROWS;
"""

_UNCHANGED = """
DELETE FROM accrual_judged
WHERE NOT is_new AND (state, rule, cause, confirmed, actor) = (old_state, old_rule, old_cause, old_confirmed, old_actor)
"""
# The order makes a second accrual of the same receipts number its verdicts the same way.
_VERDICTS = """
INSERT INTO earnings_verdict (day, receipt_id, at, state, rule, cause, confirmed, numbers, actor, reason)
SELECT day, receipt_id, %(at)s, state, rule, cause, confirmed, numbers, actor, reason
FROM accrual_judged ORDER BY receipt_id
"""
_NO_LONGER_HELD = """
DELETE FROM earnings_helditem h USING accrual_judged j
WHERE h.receipt_id = j.receipt_id AND j.state <> 'held' AND j.old_state = 'held'
"""
_HELD = """
INSERT INTO earnings_helditem (receipt_id, day, node_id, org_id, line_id, request_id, rule, cause, fee_usd, since, ts_end)
SELECT receipt_id, day, node_id, org_id, line_id, request_id, rule, cause, fee_usd, %(at)s, ts_end
FROM accrual_judged WHERE state = 'held'
ON CONFLICT (receipt_id) DO UPDATE SET rule = excluded.rule, cause = excluded.cause
"""
# Payouts lock the same lines, in the same order.
_LOCK = """
SELECT id FROM earnings_line WHERE id IN (SELECT line_id FROM accrual_judged) ORDER BY id FOR NO KEY UPDATE
"""
_LINES = """
UPDATE earnings_line l SET
    receipts = l.receipts + c.receipts,
    tokens_input = l.tokens_input + c.tokens_input,
    tokens_output = l.tokens_output + c.tokens_output,
    payable_receipts = l.payable_receipts + c.payable_receipts,
    payable_usd = l.payable_usd + c.payable_usd,
    confirmed_usd = l.confirmed_usd + c.confirmed_usd,
    held_receipts = l.held_receipts + c.held_receipts,
    held_usd = l.held_usd + c.held_usd,
    excluded_receipts = l.excluded_receipts + c.excluded_receipts,
    excluded_usd = l.excluded_usd + c.excluded_usd
FROM (
    SELECT line_id,
        count(*) FILTER (WHERE is_new) AS receipts,
        COALESCE(sum(tokens_input) FILTER (WHERE is_new), 0) AS tokens_input,
        COALESCE(sum(tokens_output) FILTER (WHERE is_new), 0) AS tokens_output,
        sum(in_payable) AS payable_receipts, sum(in_payable * fee_usd) AS payable_usd,
        sum(in_confirmed * fee_usd) AS confirmed_usd,
        sum(in_held) AS held_receipts, sum(in_held * fee_usd) AS held_usd,
        sum(in_excluded) AS excluded_receipts, sum(in_excluded * fee_usd) AS excluded_usd
    FROM (
        SELECT line_id, is_new, tokens_input, tokens_output, fee_usd,
            (state = 'payable')::int - (old_state IS NOT DISTINCT FROM 'payable')::int AS in_payable,
            (state = 'payable' AND confirmed)::int
                - (old_state IS NOT DISTINCT FROM 'payable' AND old_confirmed IS TRUE)::int AS in_confirmed,
            (state = 'held')::int - (old_state IS NOT DISTINCT FROM 'held')::int AS in_held,
            (state = 'excluded')::int - (old_state IS NOT DISTINCT FROM 'excluded')::int AS in_excluded
        FROM accrual_judged
    ) change
    GROUP BY line_id
) c
WHERE l.id = c.line_id
"""
# What a changed verdict moves on a final line. Before `accrued` gets less, what was marked ready goes back to it.
_UNREADY = """
INSERT INTO earnings_movement (at, kind, from_account, to_account, amount_usd, line_id, node_id, org_id, payout_id,
    actor, reason)
SELECT %(at)s, 'unready', CASE WHEN b.ready > 0 THEN 'ready' ELSE 'accrued' END,
       CASE WHEN b.ready > 0 THEN 'accrued' ELSE 'ready' END, abs(b.ready), l.id, l.node_id, l.org_id,
       (SELECT m.payout_id FROM earnings_movement m WHERE m.line_id = l.id AND m.kind = 'ready'
        ORDER BY m.id DESC LIMIT 1),
       'console', 'A verdict on a receipt of this line changed.'
FROM earnings_line l JOIN earnings_linebalance b ON b.line_id = l.id
WHERE b.ready <> 0 AND l.final_at IS NOT NULL AND EXISTS (
    SELECT FROM accrual_judged j WHERE j.line_id = l.id AND j.old_state = 'payable' AND j.state <> 'payable')
ORDER BY l.id
"""
_MOVEMENTS = """
INSERT INTO earnings_movement (at, kind, from_account, to_account, amount_usd, line_id, node_id, org_id, actor, reason)
SELECT %(at)s, way.kind, way.source, way.target, sum(j.fee_usd), j.line_id, j.node_id, j.org_id,
       CASE WHEN j.actor = '' THEN 'console' ELSE j.actor END, j.reason
FROM accrual_judged j
JOIN earnings_line l ON l.id = j.line_id AND l.final_at IS NOT NULL
JOIN (VALUES
    ('excluded', 'payable', 'accrue', 'network', 'accrued'),
    ('excluded', 'held', 'hold', 'network', 'held'),
    ('payable', 'held', 'hold', 'accrued', 'held'),
    ('payable', 'excluded', 'exclude', 'accrued', 'network'),
    ('held', 'payable', 'release', 'held', 'accrued'),
    ('held', 'excluded', 'exclude', 'held', 'network')
) AS way (old_state, state, kind, source, target)
    -- a receipt that comes to a final line begins like an excluded one: nothing of it is in the ledger
    ON way.old_state = COALESCE(j.old_state, 'excluded') AND way.state = j.state
GROUP BY way.kind, way.source, way.target, j.line_id, j.node_id, j.org_id, j.actor, j.reason
HAVING sum(j.fee_usd) > 0
ORDER BY j.line_id, way.kind, j.actor, j.reason
"""


def record_verdicts(*, at: datetime) -> int:
    """Appends the verdicts of accrual_judged that are new, and updates held items, lines and the ledger.

    Returns how many were appended. Must run in the transaction that judged.
    """
    moment = {"at": at}
    with connection.cursor() as cursor:
        cursor.execute(_UNCHANGED)
        cursor.execute(_VERDICTS, moment)
        appended = int(cursor.rowcount)
        if appended:
            cursor.execute(_NO_LONGER_HELD)
            cursor.execute(_HELD, moment)
            cursor.execute(_LOCK)
            cursor.execute(_UNREADY, moment)
            cursor.execute(_LINES)
            cursor.execute(_MOVEMENTS, moment)
        cursor.execute("TRUNCATE accrual_judged")
    return appended
