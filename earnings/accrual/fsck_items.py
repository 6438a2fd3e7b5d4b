"""What earnings_fsck checks about receipts, items, verdicts and lines.

Each check reads the rows of one month at a time, so that ten million items are never sorted at once: `first` and
`next` are its first day and that of the month after.
"""

from typing import Final

from earnings.accrual.fsck_checks import SqlCheck

ITEM_CHECKS: Final = (
    SqlCheck(
        "receipts",
        "every accepted receipt has exactly one item, or waits for it",
        """
        SELECT r.node_id || '/' || r.request_id,
               CASE WHEN i.receipt_id IS NULL THEN 'has no item and does not wait for one'
                    ELSE 'has an item and still waits for one' END
        FROM receipts_receipt r
        LEFT JOIN earnings_item i ON i.receipt_id = r.id AND i.day = (r.ts_end AT TIME ZONE 'UTC')::date
        LEFT JOIN receipts_unjudged q ON q.id = r.id
        WHERE r.accepted_at >= %(first)s::timestamp AT TIME ZONE 'UTC'
          AND r.accepted_at < %(next)s::timestamp AT TIME ZONE 'UTC'
          AND (i.receipt_id IS NULL) = (q.id IS NULL)
        """,
    ),
    SqlCheck(
        "items",
        "every item states what its receipt states, and nothing has two items",
        """
        SELECT i.node_id || '/' || i.request_id,
               CASE WHEN d.request_id IS NULL THEN 'there is no such receipt'
                    WHEN d.sha256 <> i.sha256 THEN 'its SHA-256 is not that of the receipt'
                    WHEN d.accepted_at <> i.accepted_at THEN 'its receipt was accepted at another time'
                    ELSE 'its time, tokens or flags are not those of the receipt' END
        FROM earnings_item i
        LEFT JOIN receipts_receiptidentity d ON d.node_id = i.node_id AND d.request_id = i.request_id
        LEFT JOIN receipts_receipt r ON r.accepted_at = i.accepted_at AND r.id = i.receipt_id
        WHERE i.day >= %(first)s AND i.day < %(next)s
          AND (d.request_id IS NULL OR d.sha256 <> i.sha256 OR d.accepted_at <> i.accepted_at
               OR (r.ts_start, r.ts_end, r.tokens_input, r.tokens_output, r.failed, r.hedged, r.cache_hit)
                  <> (i.ts_start, i.ts_end, i.tokens_input, i.tokens_output, i.failed, i.hedged, i.cache_hit))
        UNION ALL
        SELECT node_id || '/' || request_id, 'has ' || count(*) || ' items' FROM earnings_item
        WHERE day >= %(first)s::date - 8 AND day < %(next)s
        GROUP BY node_id, request_id HAVING count(*) > 1 AND max(day) >= %(first)s
        """,
    ),
    SqlCheck(
        "verdicts",
        "every item has a verdict, and every verdict an item",
        """
        SELECT COALESCE(i.node_id || '/' || i.request_id, 'receipt ' || v.receipt_id),
               CASE WHEN v.receipt_id IS NULL THEN 'has no verdict' ELSE 'has a verdict but no item' END
        FROM (SELECT * FROM earnings_item WHERE day >= %(first)s AND day < %(next)s) i
        FULL JOIN ({newest}) v ON v.receipt_id = i.receipt_id
        WHERE i.receipt_id IS NULL OR v.receipt_id IS NULL
        """,
    ),
    SqlCheck(
        "item_lines",
        "every item is in the line of its node, organisation, day, model and rate",
        """
        SELECT i.node_id || '/' || i.request_id,
               CASE WHEN l.id IS NULL THEN 'its line ' || i.line_id || ' does not exist'
                    ELSE 'line ' || i.line_id || ' is of something else' END
        FROM earnings_item i LEFT JOIN earnings_line l ON l.id = i.line_id
        WHERE i.day >= %(first)s AND i.day < %(next)s
          AND (l.id IS NULL OR (l.node_id, l.org_id, l.day, l.model, l.rate_id)
                               <> (i.node_id, i.org_id, i.day, i.model, i.rate_id))
        """,
    ),
    SqlCheck(
        "rates",
        "every item has the rate in force when its request ended",
        """
        SELECT i.node_id || '/' || i.request_id, 'has rate ' || i.rate_id || ' and not ' || COALESCE(r.id::text, 'any')
        FROM earnings_item i LEFT JOIN LATERAL (
            SELECT id FROM earnings_rate WHERE model IN (i.model, '') AND holds_from <= i.ts_end
            ORDER BY (model = i.model) DESC, holds_from DESC LIMIT 1) r ON true
        WHERE i.day >= %(first)s AND i.day < %(next)s AND r.id IS DISTINCT FROM i.rate_id
        """,
    ),
    SqlCheck(
        "lines",
        "every line is the sum of its items by their newest verdicts",
        """
        SELECT 'line ' || COALESCE(l.id, s.line_id) || COALESCE(' (' || l.node_id || ', ' || l.day || ')', ''),
               'says ' || COALESCE(NULLIF(concat_ws(' ', l.receipts, l.payable_usd, l.held_usd, l.excluded_usd), ''), 'nothing')
               || ' (receipts, payable, held, excluded), its items '
               || COALESCE(NULLIF(concat_ws(' ', s.receipts, s.payable_usd, s.held_usd, s.excluded_usd), ''), 'nothing')
        FROM (SELECT * FROM earnings_line WHERE day >= %(first)s AND day < %(next)s) l
        FULL JOIN (
            SELECT i.line_id, count(*) AS receipts, sum(i.tokens_input) AS tokens_input,
                   sum(i.tokens_output) AS tokens_output,
                   count(*) FILTER (WHERE v.state = 'payable') AS payable_receipts,
                   COALESCE(sum(i.fee_usd) FILTER (WHERE v.state = 'payable'), 0) AS payable_usd,
                   COALESCE(sum(i.fee_usd) FILTER (WHERE v.state = 'payable' AND v.confirmed), 0) AS confirmed_usd,
                   count(*) FILTER (WHERE v.state = 'held') AS held_receipts,
                   COALESCE(sum(i.fee_usd) FILTER (WHERE v.state = 'held'), 0) AS held_usd,
                   count(*) FILTER (WHERE v.state = 'excluded') AS excluded_receipts,
                   COALESCE(sum(i.fee_usd) FILTER (WHERE v.state = 'excluded'), 0) AS excluded_usd
            FROM earnings_item i JOIN ({newest}) v ON v.receipt_id = i.receipt_id
            WHERE i.day >= %(first)s AND i.day < %(next)s
            GROUP BY i.line_id
        ) s ON s.line_id = l.id
        WHERE (l.receipts, l.tokens_input, l.tokens_output, l.payable_receipts, l.payable_usd, l.confirmed_usd,
               l.held_receipts, l.held_usd, l.excluded_receipts, l.excluded_usd)
              IS DISTINCT FROM
              (s.receipts, s.tokens_input, s.tokens_output, s.payable_receipts, s.payable_usd, s.confirmed_usd,
               s.held_receipts, s.held_usd, s.excluded_receipts, s.excluded_usd)
        """,
    ),
    SqlCheck(
        "held_items",
        "the review queue lists exactly the items whose newest verdict is held",
        """
        SELECT 'receipt ' || COALESCE(v.receipt_id, h.receipt_id),
               CASE WHEN h.receipt_id IS NULL THEN 'is held but not listed'
                    WHEN v.receipt_id IS NULL THEN 'is listed but not held'
                    ELSE 'is listed with another rule, fee, node or line' END
        FROM (
            SELECT n.receipt_id, n.rule, i.fee_usd, i.node_id, i.org_id, i.line_id, i.request_id
            FROM ({newest}) n
            JOIN earnings_item i ON i.receipt_id = n.receipt_id AND i.day >= %(first)s AND i.day < %(next)s
            WHERE n.state = 'held'
        ) v
        FULL JOIN (SELECT * FROM earnings_helditem WHERE day >= %(first)s AND day < %(next)s) h
             ON h.receipt_id = v.receipt_id
        WHERE (v.rule, v.fee_usd, v.node_id, v.org_id, v.line_id, v.request_id)
              IS DISTINCT FROM (h.rule, h.fee_usd, h.node_id, h.org_id, h.line_id, h.request_id)
        """,
    ),
    SqlCheck(
        "held_totals",
        "the totals of what is held are the sums of the review queue",
        """
        SELECT 'day ' || COALESCE(t.day, h.day) || ', organisation ' || COALESCE(t.org_id, h.org_id) || ', '
               || COALESCE(t.rule, h.rule) || ' ' || COALESCE(t.cause, h.cause),
               'total ' || COALESCE(t.fees_usd, 0) || ', its receipts ' || COALESCE(h.fees_usd, 0)
        FROM (SELECT * FROM earnings_heldtotal WHERE day >= %(first)s AND day < %(next)s) t FULL JOIN (
            SELECT org_id, day, rule, cause, count(*) AS receipts, sum(fee_usd) AS fees_usd FROM earnings_helditem
            WHERE day >= %(first)s AND day < %(next)s GROUP BY org_id, day, rule, cause
        ) h USING (org_id, day, rule, cause)
        WHERE (COALESCE(t.receipts, 0), COALESCE(t.fees_usd, 0)) <> (COALESCE(h.receipts, 0), COALESCE(h.fees_usd, 0))
        """,
    ),
)
