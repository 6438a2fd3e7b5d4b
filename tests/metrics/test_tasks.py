"""The periodic job that empties the outbox."""

import logging

import pytest
from procrastinate.contrib.django import app
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.periodic import PeriodicDeferrer

from jatevo.metrics import tasks
from jatevo.metrics.models import Outbox
from jatevo.metrics.queries import receipt_presence
from jatevo.metrics.store import MetricsError, MetricsUnavailable, QueryRefused, Store
from jatevo.metrics.transport import CircuitOpen
from tests.metrics.wrappers import Intercepted, enqueue, receipt


@pytest.mark.django_db(transaction=True)
def test_the_job_empties_the_outbox(chdb_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AT_ONCE", 2)
    enqueue(*[receipt(f"r_{number}") for number in range(5)])
    tasks.ship_outbox(timestamp=0)
    assert not Outbox.objects.exists()
    assert receipt_presence(chdb_store, "macbook-001", "r_4")


@pytest.mark.django_db(transaction=True)
def test_facts_that_come_while_others_are_shipped_wait_for_the_next_job(
    chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []

    def come(table: str, rows: object) -> None:
        if table == "receipt_facts":
            batches.append(rows)
            enqueue(receipt(f"r_{len(batches)}"))

    monkeypatch.setattr("jatevo.metrics.shipper.get_store", lambda: Intercepted(chdb_store, before=come))
    enqueue(receipt("r_0"))
    tasks.ship_outbox(timestamp=0)
    assert len(batches) == Outbox.objects.count() == 1
    tasks.ship_outbox(timestamp=3)
    assert len(batches) == 2
    assert receipt_presence(chdb_store, "macbook-001", "r_1")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("error", "lines"),
    [(MetricsUnavailable("down"), 1), (CircuitOpen("open"), 0), (QueryRefused("no such function", 46), 1)],
)
def test_an_outage_is_no_failed_job_and_one_line_in_the_log(
    chdb_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: MetricsError,
    lines: int,
) -> None:
    def fail(table: str, rows: object) -> None:
        raise error

    monkeypatch.setattr("jatevo.metrics.shipper.get_store", lambda: Intercepted(chdb_store, before=fail))
    enqueue(receipt())
    with caplog.at_level(logging.INFO, logger="jatevo.metrics.tasks"):
        tasks.ship_outbox(timestamp=0)
    assert Outbox.objects.count() == 1
    assert len(caplog.records) == lines


def test_the_job_is_due_every_three_seconds() -> None:
    deferrer = PeriodicDeferrer(app.periodic_registry)
    due = [
        second
        for now in (1000.5, 1002.5, 1003.5, 1008.5)
        for task, second in deferrer.get_previous_tasks(at=now)
        if task.task.name == tasks.ship_outbox.name
    ]
    assert due == [999, 1002, 1005, 1008]


@pytest.mark.django_db
def test_a_job_that_waits_already_is_not_queued_again() -> None:
    tasks.ship_outbox.configure(task_kwargs={"timestamp": 1000}).defer()
    with pytest.raises(AlreadyEnqueued):
        tasks.ship_outbox.configure(task_kwargs={"timestamp": 1001}).defer()
