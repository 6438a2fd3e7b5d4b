"""What earnings_fsck checks about the ledger and all that is derived from it: balances, payments, files, statements.

`first` is the day to begin with, for what concerns lines. The ledger is always checked as a whole.
"""

from typing import Final

from earnings.accrual.fsck_checks import SqlCheck

LEDGER_CHECKS: Final = (
    SqlCheck(
        "final_lines",
        "final lines are in the ledger as their items are judged, and others are not in it",
        """
        SELECT 'line ' || l.id || ' (' || l.node_id || ', ' || l.day || ')',
               CASE WHEN l.final_at IS NULL THEN 'is not final but has movements'
                    WHEN f.day IS NULL THEN 'is final, but its day is not'
                    ELSE 'says ' || l.payable_usd || ' payable and ' || l.held_usd || ' held, the ledger '
                         || COALESCE(b.accrued + b.ready + b.exported, 0) || ' and ' || COALESCE(b.held, 0) END
        FROM earnings_line l
        LEFT JOIN earnings_linebalance b ON b.line_id = l.id
        LEFT JOIN earnings_finalday f ON f.day = l.day
        WHERE l.day >= %(first)s
          AND CASE WHEN l.final_at IS NULL THEN b.line_id IS NOT NULL
                   ELSE f.day IS NULL OR l.payable_usd <> COALESCE(b.accrued + b.ready + b.exported, 0)
                        OR l.held_usd <> COALESCE(b.held, 0) END
        """,
    ),
    SqlCheck(
        "final_days",
        "all lines of a final day are final",
        """
        SELECT 'line ' || l.id || ' (' || l.node_id || ', ' || l.day || ')', 'is not final, but its day is'
        FROM earnings_line l JOIN earnings_finalday f ON f.day = l.day
        WHERE l.day >= %(first)s AND l.final_at IS NULL
        """,
    ),
    SqlCheck(
        "totals",
        "the totals of nodes and of days are the sums of their lines",
        """
        SELECT 'node ' || COALESCE(t.node_id, s.node_id) || ', organisation ' || COALESCE(t.org_id, s.org_id),
               'total ' || COALESCE(t.payable_usd, 0) || ', its lines ' || COALESCE(s.payable_usd, 0)
        FROM earnings_nodetotal t FULL JOIN (
            SELECT node_id, org_id, {totals} FROM earnings_line GROUP BY node_id, org_id
        ) s ON s.node_id = t.node_id AND s.org_id = t.org_id
        WHERE ({totals_t}) <> ({totals_s})
        UNION ALL
        SELECT 'day ' || COALESCE(t.day, s.day) || ', organisation ' || COALESCE(t.org_id, s.org_id) || ', '
               || COALESCE(t.model, s.model),
               'total ' || COALESCE(t.payable_usd, 0) || ', its lines ' || COALESCE(s.payable_usd, 0)
        FROM (SELECT * FROM earnings_daytotal WHERE day >= %(first)s) t FULL JOIN (
            SELECT org_id, day, model, {totals} FROM earnings_line WHERE day >= %(first)s GROUP BY org_id, day, model
        ) s ON s.org_id = t.org_id AND s.day = t.day AND s.model = t.model
        WHERE ({totals_t}) <> ({totals_s})
        UNION ALL
        SELECT 'day ' || COALESCE(t.day, s.day) || ', organisation ' || COALESCE(t.org_id, s.org_id),
               'total ' || COALESCE(t.payable_usd, 0) || ', its lines ' || COALESCE(s.payable_usd, 0)
        FROM (SELECT * FROM earnings_orgdaytotal WHERE day >= %(first)s) t FULL JOIN (
            SELECT org_id, day, {totals} FROM earnings_line WHERE day >= %(first)s GROUP BY org_id, day
        ) s ON s.org_id = t.org_id AND s.day = t.day
        WHERE ({totals_t}) <> ({totals_s})
        UNION ALL
        SELECT 'day ' || COALESCE(t.day, s.day) || ', ' || COALESCE(t.model, s.model),
               'total ' || COALESCE(t.payable_usd, 0) || ', its lines ' || COALESCE(s.payable_usd, 0)
        FROM (SELECT * FROM earnings_networkdaytotal WHERE day >= %(first)s) t FULL JOIN (
            SELECT day, model, {totals} FROM earnings_line WHERE day >= %(first)s GROUP BY day, model
        ) s ON s.day = t.day AND s.model = t.model
        WHERE ({totals_t}) <> ({totals_s})
        """,
    ),
    SqlCheck(
        "line_balances",
        "the balance of a line is the sum of its movements",
        """
        SELECT 'line ' || COALESCE(b.line_id, m.line_id), 'balance '
               || concat_ws(' ', {line_b}) || ' (accrued, held, ready, exported), movements '
               || concat_ws(' ', {line_m})
        FROM earnings_linebalance b FULL JOIN (
            SELECT line_id, {line_sums} FROM ({entries}) e WHERE line_id IS NOT NULL GROUP BY line_id
        ) m ON m.line_id = b.line_id
        WHERE ({line_b}) <> ({line_m})
        """,
    ),
    SqlCheck(
        "node_balances",
        "the balance of a node, and of an organisation's parts of a cent, is the sum of its movements",
        """
        SELECT 'organisation ' || COALESCE(b.org_id, m.org_id) || COALESCE(', node ' || COALESCE(b.node_id, m.node_id), ''),
               'balance ' || concat_ws(' ', {node_b})
               || ' (accrued, held, ready, exported, carried), movements '
               || concat_ws(' ', {node_m})
        FROM earnings_nodebalance b FULL JOIN (
            SELECT org_id, COALESCE(node_id, '') AS node_id, {node_sums} FROM ({entries}) e
            GROUP BY org_id, COALESCE(node_id, '')
        ) m ON m.org_id = b.org_id AND m.node_id = COALESCE(b.node_id, '')
        WHERE ({node_b}) <> ({node_m})
        """,
    ),
    SqlCheck(
        "open_balances",
        "what a node owes, and what no gateway confirms of its amounts, are the sums over its lines",
        """
        SELECT 'organisation ' || COALESCE(n.org_id, s.org_id) || COALESCE(', node ' || COALESCE(n.node_id, s.node_id), ''),
               'balance ' || concat_ws(' ', n.owed, n.unconfirmed, n.ready_unconfirmed)
               || ' (owed, unconfirmed, ready and unconfirmed), its lines '
               || concat_ws(' ', s.owed, s.unconfirmed, s.ready_unconfirmed)
        FROM earnings_nodebalance n FULL JOIN (
            SELECT l.org_id, l.node_id, sum(LEAST(b.accrued, 0)) AS owed,
                   sum(GREATEST(LEAST(b.accrued, l.payable_usd - l.confirmed_usd), 0)) AS unconfirmed,
                   sum(GREATEST(LEAST(b.ready, l.payable_usd - l.confirmed_usd), 0)) AS ready_unconfirmed
            FROM earnings_linebalance b JOIN earnings_line l ON l.id = b.line_id GROUP BY l.org_id, l.node_id
        ) s ON s.org_id = n.org_id AND s.node_id = n.node_id
        WHERE (COALESCE(n.owed, 0), COALESCE(n.unconfirmed, 0), COALESCE(n.ready_unconfirmed, 0))
              <> (COALESCE(s.owed, 0), COALESCE(s.unconfirmed, 0), COALESCE(s.ready_unconfirmed, 0))
        UNION ALL
        SELECT 'line ' || l.id || ' (' || l.node_id || ', ' || l.day || ')',
               'balance ' || b.unconfirmed || ' unconfirmed, the line ' || l.payable_usd - l.confirmed_usd
        FROM earnings_linebalance b JOIN earnings_line l ON l.id = b.line_id
        WHERE b.unconfirmed <> l.payable_usd - l.confirmed_usd
        """,
    ),
    SqlCheck(
        "routes",
        "every movement goes a known way and belongs to its line's node and organisation",
        """
        SELECT 'movement ' || m.id,
               CASE WHEN (m.kind, m.from_account, m.to_account) NOT IN ({known_routes})
                    THEN m.kind || ' from ' || m.from_account || ' to ' || m.to_account
                    WHEN m.amount_usd <= 0 THEN 'moves ' || m.amount_usd
                    ELSE 'is of another node or organisation than line ' || m.line_id END
        FROM earnings_movement m LEFT JOIN earnings_line l ON l.id = m.line_id
        WHERE (m.kind, m.from_account, m.to_account) NOT IN ({known_routes}) OR m.amount_usd <= 0
           OR (m.line_id IS NULL) <> (m.kind IN ('carry_in', 'carry_out'))
           OR (m.line_id IS NOT NULL AND (l.node_id, l.org_id) IS DISTINCT FROM (m.node_id, m.org_id))
        """,
    ),
    SqlCheck(
        "payments",
        "every payment is the sum of what was exported to it, and a returned one came back whole",
        """
        SELECT 'payment ' || p.id || ' of export ' || p.export_id,
               'says ' || concat_ws(' ', p.sum_usd, p.carried_in_usd, p.paid_usd, p.carried_out_usd)
               || ' (sum, carried in, paid, carried out), its movements '
               || concat_ws(' ', m.exported, m.carried_in, m.carried_out, m.returned)
               || ' (exported, carried in, carried out, returned)'
        FROM earnings_payment p LEFT JOIN LATERAL (
            SELECT COALESCE(sum(amount_usd) FILTER (WHERE kind = 'export' AND to_account = 'exported'), 0)
                   - COALESCE(sum(amount_usd) FILTER (WHERE kind = 'export' AND from_account = 'exported'), 0) AS exported,
                   COALESCE(sum(amount_usd) FILTER (WHERE kind = 'carry_in'), 0) AS carried_in,
                   COALESCE(sum(amount_usd) FILTER (WHERE kind = 'carry_out'), 0) AS carried_out,
                   COALESCE(sum(amount_usd) FILTER (WHERE kind = 'return' AND from_account = 'exported'), 0)
                   - COALESCE(sum(amount_usd) FILTER (WHERE kind = 'return' AND to_account = 'exported'), 0) AS returned
            FROM earnings_movement WHERE payment_id = p.id
        ) m ON true
        -- a return carries on the part by which the payment took up more than it left
        CROSS JOIN LATERAL (
            SELECT CASE WHEN p.returned_at IS NULL THEN 0
                        ELSE GREATEST(p.carried_in_usd - p.carried_out_usd, 0) END AS amount
        ) again
        WHERE p.sum_usd + p.carried_in_usd <> p.paid_usd + p.carried_out_usd
           OR (p.sum_usd, p.carried_in_usd, p.carried_out_usd + again.amount)
              <> (m.exported, m.carried_in, m.carried_out)
           OR m.returned + again.amount <> CASE WHEN p.returned_at IS NULL THEN 0 ELSE p.paid_usd END
        """,
    ),
    SqlCheck(
        "carried",
        "what is carried to the next payout is never negative, and less than a cent unless a payment came back",
        """
        SELECT 'organisation ' || b.org_id || COALESCE(', node ' || b.node_id, ''), 'carries ' || b.carried
        FROM earnings_nodebalance b WHERE b.carried < 0 OR b.carried >= 0.01 AND NOT EXISTS (
            SELECT FROM earnings_payment p
            WHERE p.org_id = b.org_id AND p.node_id IS NOT DISTINCT FROM b.node_id AND p.returned_at IS NOT NULL)
        """,
    ),
    SqlCheck(
        "exports",
        "export files are numbered without a gap, unchanged, and the sum of their payments",
        """
        SELECT 'export ' || e.number,
               CASE WHEN sha256(e.body) <> e.sha256 THEN 'its SHA-256 is not that of its body'
                    WHEN e.number > 1 AND before.number IS NULL THEN 'there is no export ' || e.number - 1
                    ELSE 'says ' || e.payments_count || ' payments of ' || e.total_usd || ', they are '
                         || p.payments || ' of ' || p.total END
        FROM earnings_exportfile e
        LEFT JOIN earnings_exportfile before ON before.number = e.number - 1
        LEFT JOIN LATERAL (
            SELECT count(*) AS payments, COALESCE(sum(paid_usd), 0) AS total
            FROM earnings_payment WHERE export_id = e.number
        ) p ON true
        WHERE sha256(e.body) <> e.sha256 OR (e.number > 1 AND before.number IS NULL)
           OR (e.payments_count, e.total_usd) <> (p.payments, p.total)
        """,
    ),
    SqlCheck(
        "statements",
        "stored statements are unchanged, of whole months, and nothing was dated into them afterwards",
        """
        SELECT 'statement of organisation ' || s.org_id || ', ' || to_char(s.month, 'YYYY-MM'),
               CASE WHEN sha256(s.body) <> s.sha256 THEN 'its SHA-256 is not that of its body'
                    WHEN late.id IS NOT NULL THEN 'movement ' || late.id || ' was dated into it afterwards'
                    ELSE 'its month was not final when it was made' END
        FROM earnings_statement s
        LEFT JOIN LATERAL (
            SELECT m.id FROM earnings_movement m
            WHERE m.org_id = s.org_id AND m.recorded_at > s.made_at
              AND m.at >= s.month::timestamp AT TIME ZONE 'UTC'
              AND m.at < (s.month + interval '1 month')::timestamp AT TIME ZONE 'UTC'
            ORDER BY m.id LIMIT 1
        ) late ON true
        LEFT JOIN LATERAL (
            SELECT day FROM generate_series(s.month, s.month + interval '1 month' - interval '1 day', '1 day') d(day)
            WHERE EXISTS (SELECT FROM earnings_line l WHERE l.org_id = s.org_id AND l.day = d.day::date
                          AND (l.final_at IS NULL OR l.final_at > s.made_at))
            LIMIT 1
        ) running ON true
        WHERE sha256(s.body) <> s.sha256 OR late.id IS NOT NULL OR running.day IS NOT NULL
        """,
    ),
    SqlCheck(
        "statement_balances",
        "stored statements print the balances that the ledger has",
        """
        SELECT 'statement of organisation ' || s.org_id || ', ' || to_char(s.month, 'YYYY-MM'),
               'prints ' || COALESCE(s.balances -> side.name ->> account.name, 'no') || ' ' || account.name || ' at its '
               || side.words || ', the ledger ' || ledger.amount
        FROM earnings_statement s
        CROSS JOIN LATERAL (
            VALUES ('opening', 'start', s.month::timestamp), ('closing', 'end', s.month + interval '1 month')
        ) side(name, words, until)
        CROSS JOIN (VALUES ('accrued'), ('held'), ('ready'), ('exported'), ('carried')) account(name)
        CROSS JOIN LATERAL (
            SELECT COALESCE(sum(CASE WHEN to_account = account.name THEN amount_usd ELSE -amount_usd END), 0) AS amount
            FROM earnings_movement WHERE org_id = s.org_id AND at < side.until AT TIME ZONE 'UTC'
              AND account.name IN (to_account, from_account)
        ) ledger
        WHERE (s.balances -> side.name ->> account.name)::numeric IS DISTINCT FROM ledger.amount
        """,
    ),
    SqlCheck(
        "months",
        "opening balance and movements give the closing balance of every organisation and month",
        """
        WITH moved AS (
            SELECT org_id, date_trunc('month', at AT TIME ZONE 'UTC') AS month, account, sum(amount_usd) AS amount
            FROM ({entries}) e GROUP BY 1, 2, 3
        ), running AS (
            SELECT DISTINCT ON (org_id, account) org_id, account,
                   sum(amount) OVER (PARTITION BY org_id, account ORDER BY month) AS closing
            FROM moved ORDER BY org_id, account, month DESC
        ), kept AS (
            SELECT org_id, account, sum(amount) AS closing FROM earnings_nodebalance CROSS JOIN LATERAL (
                VALUES ('accrued', accrued), ('held', held), ('ready', ready), ('exported', exported),
                       ('carried', carried), ('network', -(accrued + held + ready + exported + carried))
            ) a(account, amount) GROUP BY org_id, account
        )
        SELECT 'organisation ' || COALESCE(k.org_id, r.org_id) || ', ' || COALESCE(k.account, r.account),
               'the months close with ' || COALESCE(r.closing, 0) || ', the balance is ' || COALESCE(k.closing, 0)
        FROM kept k FULL JOIN running r ON r.org_id = k.org_id AND r.account = k.account
        WHERE COALESCE(k.closing, 0) <> COALESCE(r.closing, 0)
        """,
    ),
)
