"""Metrics by the names that PRD §11 gives them, with labels of which there are few."""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from procrastinate.contrib.django import app
from pytest_django.fixtures import Settings

from jatevo.local.observing import observed
from jatevo.metrics.models import Outbox
from jatevo.metrics.store import MetricsUnavailable, Store
from jatevo.web.breaker import CircuitBreaker
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory
from tests.machines import SignedSender
from tests.metrics.wrappers import Intercepted, enqueue, receipt

Samples = dict[str, dict[str, float]]  # of each name, by labels
Scrape = Callable[[], Samples]

pytestmark = pytest.mark.django_db


@pytest.fixture
def scrape(settings: Settings) -> Scrape:
    settings.METRICS_TOKEN = "let-me-scrape"

    def ask() -> Samples:
        answer = Client().get("/metrics", headers={"Authorization": "Bearer let-me-scrape"})
        assert answer.status_code == 200
        samples: Samples = defaultdict(dict)
        for line in answer.content.decode().splitlines():
            if not line.startswith("#"):
                name, labels, value = re.fullmatch(r"([^{ ]+)(\{.*\})? (\S+)", line).groups()  # type: ignore[union-attr]
                samples[name][labels or ""] = float(value)
        return samples

    return ask


def requests(samples: Samples, route: str, code: int) -> float:
    return samples["api_http_request_duration_seconds_count"].get(f'{{code="{code}",route="{route}"}}', 0)


@pytest.mark.usefixtures("both_adapters")
def test_requests_are_counted_by_the_pattern_of_their_url(scrape: Scrape) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    before = scrape()
    assert SignedSender.node(node).beat().status_code == 200
    Client().get("/healthz")
    Client().get(f"/v1/nodes/{node.pk}")
    Client().get("/nodes/no-such-node/")
    for number in range(3):
        Client().get(f"/wp-admin/{number}.php")
    after = scrape()

    def more(route: str, code: int) -> float:
        return requests(after, route, code) - requests(before, route, code)

    assert more("/v1/nodes/heartbeat", 200) == 1
    assert more("/healthz", 200) == 1
    assert more("/v1/nodes/<node_id>", 401) + more("/v1/nodes/<name>", 401) == 1
    assert more("other", 404) == 3
    assert more("/metrics", 200) == 1
    routes = " ".join(after["api_http_request_duration_seconds_count"])
    assert "wp-admin" not in routes
    assert "no-such-node" not in routes
    assert node.pk not in routes


def test_statements_are_counted_by_their_kind(scrape: Scrape) -> None:
    before = scrape()["db_query_duration_seconds_count"]
    with connection.cursor() as cursor:
        cursor.execute("(SELECT 1)")
        cursor.execute("\n  with a AS (SELECT 1) SELECT * FROM a")
        cursor.execute("EXPLAIN SELECT 1")
    after = scrape()["db_query_duration_seconds_count"]
    ops = {"select", "insert", "update", "delete", "with", "commit", "other"}
    assert {label[5:-2] for label in after} <= ops
    for op in ("select", "with", "other"):
        label = f'{{op="{op}"}}'
        assert after[label] > before.get(label, 0)


def test_clickhouse_statements_are_counted_also_if_they_fail(scrape: Scrape, chdb_store: Store) -> None:
    def fail(*_: Any) -> None:
        raise MetricsUnavailable("down")

    before = scrape()["clickhouse_query_duration_seconds_count"].get('{op="insert"}', 0)
    with pytest.raises(MetricsUnavailable):
        Store(Intercepted(chdb_store, before=fail)).insert("node_uptime_minute", ["node_id"], [["n"]])
    assert scrape()["clickhouse_query_duration_seconds_count"]['{op="insert"}'] == before + 1


def test_outbox_says_how_far_behind_clickhouse_is(scrape: Scrape) -> None:
    empty = scrape()
    assert (empty["outbox_age_seconds"][""], empty["outbox_rows"]['{state="waiting"}']) == (0, 0)
    enqueue(receipt("r_1"), receipt("r_2"), receipt("r_3"))
    first, *_ = Outbox.objects.order_by("id")
    Outbox.objects.filter(pk=first.pk).update(created_at=timezone.now() - timedelta(minutes=5))
    Outbox.objects.order_by("-id").filter(body__request_id="r_3").update(poisoned="no")
    found = scrape()
    assert 290 <= found["outbox_age_seconds"][""] < 400
    assert found["outbox_rows"] == {'{state="waiting"}': 2, '{state="poisoned"}': 1}


def test_worker_says_that_it_lives_and_what_waits_for_it(scrape: Scrape) -> None:
    nothing = scrape()
    assert nothing["workers_alive"][""] == 0
    assert "worker_heartbeat_age_seconds" not in nothing
    app.configure_task("metrics.retention", queueing_lock=None).defer(timestamp=0)
    app.configure_task("accounts.purge_sessions", schedule_at=timezone.now() + timedelta(days=1)).defer(
        timestamp=0
    )
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '9 s')")
        cursor.execute("UPDATE procrastinate_events SET at = now() - interval '70 s'")
    found = scrape()
    assert found["workers_alive"][""] == 1
    assert 9 <= found["worker_heartbeat_age_seconds"][""] < 60
    assert found["worker_jobs"]['{status="todo"}'] == 1
    assert 60 <= found["worker_oldest_due_job_age_seconds"][""] < 120


def test_jobs_are_counted_by_task_and_outcome(scrape: Scrape) -> None:
    context: Any = SimpleNamespace(job=SimpleNamespace(task_name="metrics.retention", id=7))
    worker: Any = SimpleNamespace(app=app)

    async def work() -> str:
        return "done"

    label = '{outcome="succeeded",task="metrics.retention"}'
    before = scrape()["worker_job_duration_seconds_count"].get(label, 0)
    assert asyncio.run(observed(work, context, worker)) == "done"
    assert scrape()["worker_job_duration_seconds_count"][label] == before + 1


def test_breakers_show_when_a_store_does_not_answer(scrape: Scrape) -> None:
    CircuitBreaker("ClickHouse")
    breaker = CircuitBreaker("Trial")  # tests leave breakers of the stores open, and drop them
    assert scrape()["store_breaker_open"]['{store="Trial"}'] == 0
    before = scrape()["store_breaker_openings_total"]['{store="Trial"}']
    breaker.failed("gone")
    open_ = scrape()
    assert open_["store_breaker_open"]['{store="Trial"}'] == 1
    assert open_["store_breaker_openings_total"]['{store="Trial"}'] == before + 1
    breaker.succeeded()
    closed = scrape()["store_breaker_open"]
    assert closed['{store="Trial"}'] == 0
    assert {'{store="Redis"}', '{store="PostgreSQL"}', '{store="ClickHouse"}'} <= set(closed)


def test_strangers_see_no_metrics(settings: Settings) -> None:
    settings.METRICS_TOKEN = ""
    assert Client().get("/metrics").status_code == 404
    assert Client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404
