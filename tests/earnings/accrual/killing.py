"""Accrual in processes of its own, which can be killed, and what it leaves behind, to be compared.

The database holds one random story (`tests/earnings/story.py`) and many plainer receipts. It is copied, so that
another accrual can start from the same rows.
"""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from django.db import connection

from tests.database import copy_database
from tests.earnings.story import START, Story

BASE_DIR = Path(__file__).parents[3]
AT = START + timedelta(days=14)
BATCH = 400
FRESH = "accrued_without_a_break"
PREPARED = "to_be_accrued"
# Another accrual may hold the lock, also one that was killed and that PostgreSQL has not noticed yet.
_ACCRUE = """
import django, sys, time
from datetime import datetime
django.setup()
from earnings.accrual import accrue_all
print("ready", flush=True)
while accrue_all(at=datetime.fromisoformat(sys.argv[1]), batch=int(sys.argv[2])).left:
    time.sleep(0.01)
"""
# Every twentieth request has a second receipt, by the next node. A third of the rest is dispatched.
# Receipts are accepted until AT and after it, so that some are left for the next run.
_MANY = """
CREATE TEMP TABLE many AS
SELECT 100000 + n AS id, 'node-' || (n %% 2) AS node_id, 'many-' || (n - (n %% 20 = 1)::int) AS request_id,
       %(start)s + n * interval '12 seconds' AS ts_end, n
FROM generate_series(1, %(count)s) AS n;
INSERT INTO receipts_receipt (id, accepted_at, node_id, request_id, region, model_id, ts_start, ts_end, tokens_input,
    tokens_output, p95_ms, hedged, cache_hit, failed, node_status, node_status_at_end, org_id, concurrency, public_key,
    key_since, sha256, raw, payload)
SELECT m.id, ts_end + interval '2 seconds', node_id, request_id, 'eu-west', 'qwen3', ts_end - n %% 40 * interval '1 second',
       ts_end, n %% 999, n %% 77, 1, n %% 3 = 0, n %% 5 = 0, n %% 97 = 0, 'active', 'active', node.org_id, 2, sha256('k'),
       '2026-01-01Z', sha256(m.id::text::bytea), '{}', '{}'
FROM many m JOIN nodes_node node ON node.id = m.node_id;
INSERT INTO receipts_receiptidentity (node_id, request_id, sha256, accepted_at)
SELECT node_id, request_id, sha256(id::text::bytea), ts_end + interval '2 seconds' FROM many;
INSERT INTO receipts_unjudged (id, accepted_at, node_id, request_id)
SELECT id, ts_end + interval '2 seconds', node_id, request_id FROM many;
INSERT INTO receipts_dispatch (gateway_id, request_id, node_id, model, model_id, ts, hedged, received_at)
SELECT 'gateway-1', request_id, node_id, 'qwen3', 'qwen3', ts_end, false, ts_end FROM many WHERE n %% 3 = 0;
DROP TABLE many;
"""


def prepare(*, receipts: int, events: int = 500) -> None:
    """Fills the database with what is to be accrued, and copies it for `accrue_fresh`."""
    story = Story(Random(7), lambda _: None, busy=True)
    story.accrue = story.store  # type: ignore[method-assign]  # nothing is accrued yet
    story.tell(events)
    story.store()
    with connection.cursor() as cursor:
        cursor.execute(_MANY, {"start": START, "count": receipts})
    copy_database(connection.settings_dict["NAME"], FRESH)


def start(database: str = "") -> "subprocess.Popen[str]":
    """An accrual of everything, in a process of its own that has begun."""
    env = dict(os.environ)
    if database:
        env["DATABASE_URL"] = _url_of(database)
    process = subprocess.Popen(
        [sys.executable, "-c", _ACCRUE, AT.isoformat(), str(BATCH)],
        cwd=BASE_DIR, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: "subprocess.Popen[str]") -> None:
    assert process.wait(timeout=300) == 0
    assert process.stdout is not None
    process.stdout.close()


def accrue_fresh() -> float:
    """One accrual without a break, of the copy. Returns how many seconds it took."""
    started = time.monotonic()
    finish(start(FRESH))
    return time.monotonic() - started


def kill_and_restart(random: Random, *, kills: int, within: float) -> int:
    """Kills an accrual within so many seconds of its start, again and again, and lets the last one finish.

    Returns how many were killed before they had finished.
    """
    killed = 0
    for _ in range(kills):
        process = start()
        moment = time.monotonic() + random.uniform(0, within)
        while process.poll() is None and time.monotonic() < moment:
            time.sleep(0.001)  # the moment is what is random here; nothing is waited for
        killed += process.poll() is None
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    finish(start())
    return killed


_TABLES = {
    "items": "SELECT l.node_id, l.org_id, l.day, l.model, l.rate_id, to_jsonb(i) - 'line_id' FROM earnings_item i JOIN earnings_line l ON l.id = i.line_id"
    " ORDER BY i.receipt_id",
    "verdicts": "SELECT receipt_id, to_jsonb(v) - 'id' FROM earnings_verdict v ORDER BY receipt_id, v.id",
    "lines": "SELECT to_jsonb(l) - 'id' FROM earnings_line l ORDER BY l.node_id, l.org_id, l.day, l.model, l.rate_id",
    "held": "SELECT to_jsonb(h) - 'line_id' FROM earnings_helditem h ORDER BY receipt_id",
    "final": "SELECT day, final_at FROM earnings_finalday ORDER BY day",
    "movements": "SELECT l.node_id, l.org_id, l.day, l.model, l.rate_id, to_jsonb(m) - 'id' - 'line_id' - 'recorded_at' FROM earnings_movement m"
    " JOIN earnings_line l ON l.id = m.line_id ORDER BY l.node_id, l.org_id, l.day, l.model, l.rate_id, m.id",
    "balances": "SELECT l.node_id, l.org_id, l.day, l.model, l.rate_id, to_jsonb(b) - 'line_id' - 'id' FROM earnings_linebalance b"
    " JOIN earnings_line l ON l.id = b.line_id ORDER BY l.node_id, l.org_id, l.day, l.model, l.rate_id",
    "of nodes": "SELECT to_jsonb(b) - 'id' FROM earnings_nodebalance b ORDER BY org_id, node_id",
    "totals": "SELECT to_jsonb(t) - 'id' FROM earnings_nodetotal t ORDER BY org_id, node_id",
    "totals of days": "SELECT to_jsonb(t) - 'id' FROM earnings_orgdaytotal t ORDER BY org_id, day",
    "of the network": "SELECT to_jsonb(t) - 'id' FROM earnings_networkdaytotal t ORDER BY day, model",
    "of what is held": "SELECT to_jsonb(t) - 'id' FROM earnings_heldtotal t WHERE receipts > 0 ORDER BY org_id, day, rule, cause",
    "waiting": "SELECT id FROM receipts_unjudged",
}  # ids are dealt out anew, so lines are named by what makes them unique


def left_behind(database: str = "") -> dict[str, list[Any]]:
    """What an accrual left in the database, by table."""
    with psycopg.connect(_url_of(database) if database else os.environ["DATABASE_URL"]) as server:
        return {name: server.execute(query).fetchall() for name, query in _TABLES.items()}


def _url_of(database: str) -> str:
    url, separator, query = os.environ["DATABASE_URL"].partition("?")
    return url.rsplit("/", 1)[0] + "/" + database + separator + query
