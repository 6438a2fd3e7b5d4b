"""The worker's jobs for the network's history, and its retention."""

import logging
from datetime import timedelta

import pytest
from django.utils import timezone
from procrastinate.contrib.django import app

from jatevo.metrics import retention_policy
from jatevo.metrics.models import ChangedHour
from jatevo.metrics.store import MetricsError, MetricsUnavailable, QueryRefused, Store
from jatevo.metrics.transport import CircuitOpen
from jatevo.overview import summariser, tasks
from jatevo.overview.models import RegionHour
from nodes.models import Node
from tests.metrics.wrappers import NOON, Intercepted

HOUR = timedelta(hours=1)


def test_the_jobs_count_and_sum_up(fleet: list[Node], chdb_store: Store) -> None:
    tasks.count_nodes(timestamp=0)
    tasks.sum_up_hours(timestamp=0)
    network = RegionHour.objects.get(region="")
    assert (network.active_nodes, network.requests) == (7, 0)
    assert timezone.now() - network.hour < 2 * HOUR
    assert ChangedHour.objects.get().hour == network.hour, "it is summed up again until it is over"


@pytest.mark.django_db
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
    class Failing(Intercepted):
        def execute(self, *_: object) -> list[tuple[object, ...]]:
            raise error

    monkeypatch.setattr(summariser, "get_store", lambda: Failing(chdb_store))
    ChangedHour.objects.create(hour=NOON)
    with caplog.at_level(logging.INFO, logger="jatevo.overview.tasks"):
        tasks.sum_up_hours(timestamp=0)
    assert ChangedHour.objects.count() == 1
    assert len(caplog.records) == lines


@pytest.mark.parametrize(
    ("name", "cron", "queueing_lock"),
    [
        ("overview.take_census", "* * * * *", "take-census"),
        ("overview.summarise", "* * * * * */5", "summarise-hours"),
    ],
)
def test_the_jobs_are_periodic_and_never_queue_up(name: str, cron: str, queueing_lock: str) -> None:
    (periodic,) = (
        task for (task_name, _), task in app.periodic_registry.periodic_tasks.items() if task_name == name
    )
    assert periodic.cron == cron
    assert periodic.task.queueing_lock == queueing_lock
    assert periodic.task.lock is None


@pytest.mark.django_db
def test_hours_are_kept_for_a_year() -> None:
    for days in (1, 364, 366, 500):
        RegionHour.objects.create(hour=NOON - timedelta(days=days), region="eu")
    (rule,) = (rule for rule in retention_policy.rules() if rule.name == "overview_regionhour")
    assert rule.keep_days == 365
    assert [str(dropped) for dropped in rule.drop(rule.before(NOON), True)] == ["2 rows"]
    assert RegionHour.objects.count() == 4
    list(rule.drop(rule.before(NOON), False))
    assert sorted((NOON - row.hour).days for row in RegionHour.objects.all()) == [1, 364]
