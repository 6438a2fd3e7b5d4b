"""Times the accrual of invented receipts from nothing, then of one more day: `python -m bench.accrual`.

The receipts are written by PostgreSQL itself: unsigned, but with bytes and values of the usual size, from a fleet that
`bench.load` has made. Four of five were dispatched by a gateway, some are hedged, late, failed or too fast. Prints JSON.
"""

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

DAY_RECEIPTS = 200_000
GATEWAY = "load-gateway-1"
PER_STATEMENT = 500_000

_FLEET = """
CREATE TEMP TABLE bench_fleet AS
SELECT row_number() OVER (ORDER BY n.id) - 1 AS number, n.id, n.org_id, n.region, n.concurrency,
       n.models_offered[1] AS model, k.public_key, k.valid_from
FROM nodes_node n JOIN nodes_nodekey k ON k.node_id = n.id AND k.valid_to IS NULL
WHERE n.status = 'active' AND n.created_at < %(since)s AND array_length(n.models_offered, 1) > 0
"""
_INVENT = """
CREATE TEMP TABLE bench_new AS
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
_WRITE = """
INSERT INTO receipts_receiptidentity (node_id, request_id, sha256, accepted_at)
SELECT node_id, request_id, sha256(convert_to(node_id || request_id, 'UTF8')), ended + delay FROM bench_new
ON CONFLICT DO NOTHING;
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
INSERT INTO receipts_unjudged (id, accepted_at, node_id, request_id) SELECT * FROM stored ORDER BY id;
INSERT INTO receipts_dispatch (gateway_id, request_id, node_id, model, model_id, ts, hedged, tokens_input, max_tokens,
    received_at)
SELECT %(gateway)s, request_id, node_id, regexp_replace(lower(model COLLATE "C"), '(.):latest$', '\\1'), model,
       ended - make_interval(secs => seconds), hedged, tokens_input, 100000, ended
FROM bench_new WHERE number %% 5 <> 3
ON CONFLICT DO NOTHING;
DROP TABLE bench_new;
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
    _write(options.receipts, since=since, until=now - timedelta(days=1), run="all")
    figures["written in, s"] = round(time.perf_counter() - begun)
    figures |= _accrued("from nothing", options.receipts)
    _write(DAY_RECEIPTS, since=now - timedelta(days=1), until=now - timedelta(hours=1), run="day")
    figures |= _accrued("a day more", DAY_RECEIPTS)
    print(json.dumps(figures))


def _accrued(name: str, receipts: int) -> dict[str, Any]:
    from django.utils import timezone

    from earnings.accrual import accrue_all

    begun = time.perf_counter()
    done = accrue_all(at=timezone.now())
    seconds = time.perf_counter() - begun
    print(f"{name}: {receipts:,} receipts in {seconds:.1f} s", file=sys.stderr)
    return {
        f"{name}, s": round(seconds, 1),
        f"{name}, items": done.items,
        f"{name}, days closed": done.days_closed,
    }


def _prepare(since: datetime) -> None:
    from django.db import connection

    from nodes.models import SweeperClock
    from receipts.models import Gateway
    from receipts.partitions import ensure_partitions

    ensure_partitions(at=since - timedelta(days=31))
    Gateway.objects.get_or_create(id=GATEWAY)
    SweeperClock.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO earnings_rate (model, holds_from, created_by, note, input_usd, output_usd, cache_hit_discount)"
            " SELECT '', '2020-01-01', 'bench', '', 0.05, 0.2, 0.5"
            " WHERE NOT EXISTS (SELECT FROM earnings_rate WHERE model = '')"
        )
        cursor.execute(_FLEET, {"since": since})


def _write(count: int, *, since: datetime, until: datetime, run: str) -> None:
    from django.db import connection, transaction

    step = (until - since) / count
    for first in range(0, count, PER_STATEMENT):
        asked: dict[str, Any] = {
            "first": first,
            "last": min(first + PER_STATEMENT, count) - 1,
            "step": step,
            "run": run,
        }
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_INVENT, {**asked, "since": since + first * step})
            cursor.execute(_WRITE.replace("%(gateway)s", f"'{GATEWAY}'").replace("%%", "%"))
        print(f"written: {asked['last'] + 1:,} of {count:,} receipts", file=sys.stderr)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    main()
