"""Times the accrual of invented receipts from nothing, then of one more day: `python -m bench.accrual`.

Says on standard error how far it is. In a home that has the receipts already, it forgets what was accrued and begins
again. Two connections write the receipts, because that takes longer than anything else.

The receipts are written by PostgreSQL itself: unsigned, but with bytes and values of the usual size, from a fleet that
`bench.load` has made. Four of five were dispatched by a gateway, some are hedged, late, failed or too fast. Prints JSON.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

DAY_RECEIPTS = 200_000
GATEWAY = "load-gateway-1"
PER_STATEMENT = 500_000

_FLEET = """
DROP TABLE IF EXISTS bench_fleet, bench_new;
CREATE UNLOGGED TABLE bench_fleet AS
SELECT row_number() OVER (ORDER BY n.id) - 1 AS number, n.id, n.org_id, n.region, n.concurrency,
       n.models_offered[1] AS model, k.public_key, k.valid_from
FROM nodes_node n JOIN nodes_nodekey k ON k.node_id = n.id AND k.valid_to IS NULL
WHERE n.status = 'active' AND n.created_at < %(since)s AND array_length(n.models_offered, 1) > 0
"""
_INVENT = """
DROP TABLE IF EXISTS bench_new;
CREATE UNLOGGED TABLE bench_new AS
SELECT g AS number, f.id AS node_id, f.org_id, f.region, f.model, f.public_key, f.valid_from, f.concurrency,
       CASE WHEN g %% 50 = 1 THEN 'b_' || %(run)s || '_' || (g - 1) ELSE 'b_' || %(run)s || '_' || g END AS request_id,
       g %% 50 IN (0, 1) AS hedged,
       %(since)s + (g - %(first)s) * %(step)s AS ended,
       1 + (g %% 13)::int AS seconds,
       CASE WHEN g %% 200 = 7 THEN interval '20 minutes' ELSE interval '2 seconds' END AS delay,
       (40 + g * 7919 %% 3000)::bigint AS tokens_input,
       CASE WHEN g %% 500 = 9 THEN 90000 ELSE 10 + g * 104729 %% 900 END::bigint AS tokens_output,
       g %% 5 = 0 AS cache_hit, g %% 97 = 0 AS failed
FROM generate_series(%(first)s::bigint, %(last)s::bigint) g
JOIN bench_fleet f ON f.number = (g * 7 %% (SELECT count(*) FROM bench_fleet))
"""
_RECEIPTS = """
WITH stored AS (
    INSERT INTO receipts_receipt (accepted_at, node_id, request_id, region, model_id, ts_start, ts_end, tokens_input,
        tokens_output, p95_ms, hedged, cache_hit, failed, node_status, node_status_at_end, public_key, sha256, raw,
        payload, org_id, concurrency, key_since)
    SELECT ended + delay, node_id, request_id, region, model, date_trunc('second', ended) - make_interval(secs => seconds),
           date_trunc('second', ended), tokens_input, tokens_output, 300, hedged, cache_hit, failed, 'active', 'active',
           public_key, sha256(convert_to(node_id || request_id, 'UTF8')), convert_to(repeat(md5(request_id), 14), 'UTF8'),
           jsonb_build_object('request_id', request_id, 'text', repeat(md5(node_id), 10)), org_id, concurrency, valid_from
    FROM bench_new ORDER BY ended + delay
    RETURNING id, accepted_at, node_id, request_id
)
INSERT INTO receipts_unjudged (id, accepted_at, node_id, request_id) SELECT * FROM stored ORDER BY id
"""
_REQUESTS = """
INSERT INTO receipts_receiptidentity (node_id, request_id, sha256, accepted_at)
SELECT node_id, request_id, sha256(convert_to(node_id || request_id, 'UTF8')), ended + delay FROM bench_new
ON CONFLICT DO NOTHING;
INSERT INTO receipts_dispatch (gateway_id, request_id, node_id, model, model_id, ts, hedged, tokens_input, max_tokens,
    received_at)
SELECT '{gateway}', request_id, node_id, {normal_model}, model,
       ended - make_interval(secs => seconds), hedged, tokens_input, 100000, ended
FROM bench_new WHERE number % 5 <> 3
ON CONFLICT DO NOTHING;
"""
DEFAULT_RATE = """
INSERT INTO earnings_rate (model, holds_from, created_by, note, input_usd, output_usd, cache_hit_discount)
SELECT '', '2020-01-01', 'bench', '', 0.05, 0.2, 0.5 WHERE NOT EXISTS (SELECT FROM earnings_rate WHERE model = '')
"""
# What people decided stays; everything else of earnings is made from receipts and dispatches.
_DECIDED = {"rate", "jtvorate", "policy", "payoutschedule", "modellimit", "wallet", "statementpreference"}
_AGAIN = """
SET session_replication_role = replica;
TRUNCATE {tables}, receipts_unjudged, receipts_unjudgedrequest;
RESET session_replication_role;
DELETE FROM receipts_receipt WHERE request_id LIKE 'b\\_day\\_%';
DELETE FROM receipts_receiptidentity WHERE request_id LIKE 'b\\_day\\_%';
DELETE FROM receipts_dispatch WHERE request_id LIKE 'b\\_day\\_%';
INSERT INTO receipts_unjudged (id, accepted_at, node_id, request_id)
SELECT id, accepted_at, node_id, request_id FROM receipts_receipt WHERE request_id LIKE 'b\\_all\\_%' ORDER BY id;
INSERT INTO receipts_unjudgedrequest (request_id)
SELECT request_id FROM receipts_dispatch WHERE request_id LIKE 'b\\_all\\_%' ORDER BY id;
"""


def main() -> None:
    import django

    parser = argparse.ArgumentParser(prog="bench.accrual", description=__doc__)
    parser.add_argument("--receipts", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=30)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")
    django.setup()
    now = datetime.now(UTC).replace(microsecond=0)
    since = now - timedelta(days=options.days)
    _prepare(since)
    figures: dict[str, Any] = {"receipts": options.receipts}
    begun = time.perf_counter()
    if _has_receipts(options.receipts):
        _begin_again()
    else:
        _write(options.receipts, since=since, until=now - timedelta(days=1), run="all")
    figures["written in, s"] = round(time.perf_counter() - begun)
    figures |= _accrued("from nothing", options.receipts)
    of_day = min(DAY_RECEIPTS, options.receipts)
    _write(of_day, since=now - timedelta(days=1), until=now - timedelta(hours=1), run="day")
    figures |= _accrued("a day more", of_day)
    print(json.dumps(figures))


def _accrued(name: str, receipts: int) -> dict[str, Any]:
    """Accrues all that waits. Stops once a minute to say how far it is."""
    from django.utils import timezone

    from earnings.accrual import accrue
    from earnings.accrual.run import BATCH

    at, begun = timezone.now(), time.perf_counter()
    items = days = 0
    left = True
    while left:
        done = accrue(at=at, seconds=60, batch=BATCH)
        items, days, left = items + done.items, days + done.days_closed, done.left
        print(f"{name}: {items:,} of {receipts:,} after {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    seconds = time.perf_counter() - begun
    print(f"{name}: {receipts:,} receipts in {seconds:.1f} s", file=sys.stderr)
    return {f"{name}, s": round(seconds, 1), f"{name}, items": items, f"{name}, days closed": days}


def _prepare(since: datetime) -> None:
    from django.db import connection

    from nodes.models import SweeperClock
    from receipts.models import Gateway
    from receipts.partitions import ensure_partitions

    ensure_partitions(at=since - timedelta(days=31))
    Gateway.objects.get_or_create(id=GATEWAY)
    SweeperClock.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(DEFAULT_RATE)
        cursor.execute(_FLEET, {"since": since})


def _write(count: int, *, since: datetime, until: datetime, run: str) -> None:
    from django.db import connection

    from nodes.models import normal_model_sql

    requests = _REQUESTS.format(gateway=GATEWAY, normal_model=normal_model_sql("model"))
    step = (until - since) / count
    for first in range(0, count, PER_STATEMENT):
        asked: dict[str, Any] = {
            "first": first,
            "last": min(first + PER_STATEMENT, count) - 1,
            "step": step,
            "run": run,
        }
        with connection.cursor() as cursor:
            cursor.execute(_INVENT, {**asked, "since": since + first * step})
        with ThreadPoolExecutor(max_workers=2) as two:
            list(two.map(_run, (_RECEIPTS, requests)))
        print(f"written: {asked['last'] + 1:,} of {count:,} receipts", file=sys.stderr)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE bench_new")
    _vacuum()


def _has_receipts(count: int) -> bool:
    from receipts.models import ReceiptIdentity

    return ReceiptIdentity.objects.filter(request_id=f"b_all_{count - 1}").exists()


def _begin_again() -> None:
    from django.db import connection

    print("the receipts are there: forgetting what was accrued", file=sys.stderr)
    with connection.cursor() as cursor:
        kept = {f"earnings_{name}" for name in _DECIDED}
        tables = [
            name
            for name in connection.introspection.table_names(cursor)
            if name.startswith("earnings_") and name not in kept
        ]
        cursor.execute(_AGAIN.format(tables=", ".join(tables)))
    _vacuum()


def _vacuum() -> None:
    from django.db import connection

    print("vacuuming and analysing all tables", file=sys.stderr)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _run(sql: str) -> None:
    """In a connection of its own. What was invented need not survive a power cut."""
    from django.db import connection, transaction

    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
            cursor.execute(sql)
    finally:
        connection.close()


if __name__ == "__main__":
    main()
