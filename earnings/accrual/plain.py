"""The verdict on plain items, in set-based SQL: those that pass every rule without a second look.

Plain means: the request's only receipt, nothing that a rule could object to, and no finding of fraud about the node.
Nearly all receipts are. Everything else goes to the pure rules (`contested`), so that only they say why something is
not paid. A test holds that both agree about what is plain.
"""

from collections.abc import Sequence

from django.db import connection

_JUDGE = """
INSERT INTO accrual_judged (receipt_id, day, line_id, node_id, org_id, request_id, ts_end, fee_usd, tokens_input,
    tokens_output, is_new, state, rule, cause, confirmed, actor, reason)
SELECT f.receipt_id, f.day, f.line_id, f.node_id, f.org_id, f.request_id, f.ts_end, f.fee_usd, f.tokens_input,
       f.tokens_output, true, 'payable', '', '', d.id IS NOT NULL, '', ''
FROM accrual_fresh f
LEFT JOIN receipts_dispatch d ON d.request_id = f.request_id AND d.node_id = f.node_id
     AND d.received_at <= f.ts_end + interval '7 days'
WHERE NOT f.failed
  AND f.in_service
  AND f.ts_start >= f.node_since - interval '300 seconds'
  AND f.ts_end >= f.key_since - interval '300 seconds'
  AND (f.key_until IS NULL OR f.ts_end <= f.key_until + interval '300 seconds')
  AND f.accepted_at - f.ts_end <= make_interval(secs => f.outage_seconds + 900)
  AND f.tokens_output <= f.limit_output_per_second * (extract(epoch FROM f.ts_end - f.ts_start) + 1)
  AND f.tokens_input + f.tokens_output <= f.limit_context
  AND f.ts_end - f.ts_start <= interval '24 hours'
  AND f.offered IS NOT FALSE
  AND f.concurrent <= f.concurrency
  AND f.second_tokens <= 2 * f.concurrency * f.limit_output_per_second
  AND f.node_id <> ALL (%(covered)s::varchar[])
  AND NOT EXISTS (SELECT FROM receipts_receiptidentity o
                  WHERE o.request_id = f.request_id AND o.node_id <> f.node_id)
  AND CASE WHEN d.id IS NULL
           THEN NOT f.require_dispatch
                AND NOT EXISTS (SELECT FROM receipts_dispatch o WHERE o.request_id = f.request_id)
           ELSE d.model = f.model
                AND d.ts BETWEEN f.ts_start - interval '300 seconds' AND f.ts_end + interval '300 seconds'
                AND (d.tokens_input IS NULL OR 10 * f.tokens_input <= 11 * d.tokens_input + 500)
                AND (d.max_tokens IS NULL OR f.tokens_output <= d.max_tokens) END
"""

_REST = """
SELECT DISTINCT request_id FROM accrual_fresh f
WHERE NOT EXISTS (SELECT FROM accrual_judged j WHERE j.receipt_id = f.receipt_id)
"""


def judge_plain(*, covered: Sequence[str]) -> set[str]:
    """Judges the plain items among `accrual_fresh`. Returns the requests of the others.

    `covered` are the nodes that a finding of fraud covers.
    """
    with connection.cursor() as cursor:
        cursor.execute(_JUDGE, {"covered": list(covered)})
        cursor.execute("ANALYZE accrual_judged (receipt_id, line_id)")
        cursor.execute(_REST)
        return {request_id for (request_id,) in cursor.fetchall()}
