"""The network's hours are summed up completely, as often as needed, with late facts included."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jatevo.metrics import queries, shipper
from jatevo.metrics.facts import Fact
from jatevo.metrics.models import ChangedHour, Outbox
from jatevo.metrics.store import MetricsUnavailable, QueryRefused, Store
from jatevo.metrics.writer import write
from jatevo.overview import summariser
from jatevo.overview.models import RegionHour
from jatevo.overview.summariser import summarise, take_census
from nodes.actions.exemptions import note_outage
from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory
from tests.metrics.wrappers import Intercepted, enqueue, latency, receipt, uptime
from tests.overview.conftest import NOON, DownStore

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ELEVEN = NOON - HOUR
SETTLED = NOON + 2 * MINUTE  # when all that was heard from eleven to noon must have come in
FIGURES = ("p95_ms", "probes", "requests", "tokens_input", "tokens_output", "errors")


def ship(store: Store, *facts: Fact) -> None:
    write(store, uuid4(), list(enumerate(facts)))


def changed(*hours: datetime) -> None:
    ChangedHour.objects.bulk_create([ChangedHour(hour=hour) for hour in hours], ignore_conflicts=True)


def noted() -> list[datetime]:
    return list(ChangedHour.objects.order_by("hour").values_list("hour", flat=True))


def hours() -> dict[tuple[datetime, str], RegionHour]:
    return {(row.hour, row.region): row for row in RegionHour.objects.all()}


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def probes(region: str, p95_ms: float, *, at: datetime = ELEVEN, count: int = 5) -> list[Fact]:
    return [
        latency(
            f"{region}-{at:%H}-{number}",
            node_id=f"{region}-{number}",
            region=region,
            p95=p95_ms,
            ts=seconds(at) + 60 * number,
        )
        for number in range(count)
    ]


def served(request_id: str, region: str, *, at: datetime = ELEVEN, **values: Any) -> Fact:
    return receipt(
        request_id,
        region=region,
        ts_start=seconds(at) + 1,
        ts_end=seconds(at) + 9,
        accepted_at=seconds(at) + 9,
        **values,
    )


def heard(node: Node, *moments: datetime) -> list[Fact]:
    return [uptime(moment, node_id=node.pk) for moment in moments]


def known_node(region: str, *, since: datetime = ELEVEN - timedelta(days=9), **values: Any) -> Node:
    """A node that was created at `since` and is still heard."""
    return NodeFactory.create(region=region, **{"first_heard_at": since, "last_heartbeat_at": NOON, **values})


# --- sums


def test_an_hour_is_summed_up_for_each_region_and_the_network(chdb_store: Store) -> None:
    ship(
        chdb_store,
        *probes("eu", 100.0),
        *probes("us", 300.0, count=2),
        served("r_1", "eu", tokens_input=10, tokens_output=20),
        served("r_2", "eu", tokens_input=1, tokens_output=2, failed=True),
        served("r_3", "ap", tokens_input=5, tokens_output=6),
        served("r_next", "eu", at=NOON),
    )
    changed(ELEVEN)
    assert summarise(at=NOON + 5 * MINUTE, store=chdb_store) == [ELEVEN]
    found = hours()
    assert {region for _, region in found} == {"", "ap", "eu", "us"}
    assert [getattr(found[ELEVEN, ""], name) for name in FIGURES[1:]] == [7, 3, 16, 28, 1]
    assert [getattr(found[ELEVEN, "eu"], name) for name in FIGURES] == [100.0, 5, 2, 11, 22, 1]
    assert [getattr(found[ELEVEN, "us"], name) for name in FIGURES] == [None, 2, 0, 0, 0, 0]
    assert [getattr(found[ELEVEN, "ap"], name) for name in FIGURES] == [None, 0, 1, 5, 6, 0]
    assert found[ELEVEN, ""].computed_at == NOON + 5 * MINUTE
    assert noted() == []


def test_summing_up_again_replaces_and_never_adds(chdb_store: Store) -> None:
    facts = [*probes("eu", 100.0), served("r_1", "eu")]
    ship(chdb_store, *facts)
    changed(ELEVEN)
    summarise(at=SETTLED, store=chdb_store)
    before = [getattr(hours()[ELEVEN, "eu"], name) for name in FIGURES]
    changed(ELEVEN)
    summarise(at=SETTLED + MINUTE, store=chdb_store)
    assert [getattr(hours()[ELEVEN, "eu"], name) for name in FIGURES] == before
    ship(chdb_store, served("r_2", "eu"))
    changed(ELEVEN)
    summarise(at=SETTLED + 2 * MINUTE, store=chdb_store)
    assert hours()[ELEVEN, "eu"].requests == 2


def test_the_running_hour_comes_first_then_newer_ones_and_a_run_ends(chdb_store: Store) -> None:
    past = [ELEVEN - back * HOUR for back in range(5)]
    for hour in [*past, NOON]:
        changed(hour)
    assert summarise(at=SETTLED, store=chdb_store, limit=2) == [NOON, past[0]]
    assert summarise(at=SETTLED, store=chdb_store) == [NOON, *past[1:]]
    assert summarise(at=SETTLED, store=chdb_store) == [NOON]


def test_hours_that_change_all_the_time_do_not_keep_others_waiting(chdb_store: Store) -> None:
    past = [ELEVEN - back * HOUR for back in range(9)]
    done = set()
    for _ in range(3):
        for hour in past:
            enqueue(served(f"r_{hour:%H}", "eu", at=hour))
        shipper.ship(at=SETTLED, store=chdb_store)
        done |= set(summarise(at=SETTLED, store=chdb_store))
    assert done == set(past)


def test_an_hour_is_summed_up_until_all_its_minutes_are_known(chdb_store: Store) -> None:
    node = known_node("eu")
    ship(chdb_store, *heard(node, *(ELEVEN + minute * MINUTE for minute in range(50))))
    changed(ELEVEN)
    summarise(at=NOON - MINUTE, store=chdb_store)
    assert (hours()[ELEVEN, "eu"].minutes_up, hours()[ELEVEN, "eu"].minutes_expected) == (50, 57)
    assert noted() == [ELEVEN], "silence brings no fact that would note it again"
    summarise(at=SETTLED, store=chdb_store)
    assert (hours()[ELEVEN, "eu"].minutes_up, hours()[ELEVEN, "eu"].minutes_expected) == (50, 60)
    assert noted() == []


def test_of_a_large_fleet_the_running_hours_traffic_is_summed_up_in_each_run_and_the_rest_once_a_minute(
    chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summariser, "SMALL_FLEET", -1)
    ten_past = NOON + 10 * MINUTE

    def figures(seconds_later: int) -> tuple[int | None, int | None, float | None]:
        changed(NOON)
        at = ten_past + timedelta(seconds=seconds_later)
        summarise(at=at, store=chdb_store)
        row = hours()[NOON, ""]
        assert row.computed_at == at
        return row.requests, row.probes, row.p95_ms

    ship(chdb_store, *probes("eu", 100.0, at=NOON), served("r_1", "eu", at=NOON))
    assert figures(0) == (1, 5, 100.0)
    ship(chdb_store, *probes("us", 100.0, at=NOON), served("r_2", "eu", at=NOON))
    assert figures(5) == (2, 5, 100.0)
    assert hours()[NOON, "eu"].requests == 2
    assert figures(59) == (2, 5, 100.0)
    assert figures(60) == (2, 10, 100.0)
    assert noted() == [NOON]


def test_what_is_still_on_its_way_is_not_missed(chdb_store: Store) -> None:
    node = known_node("eu")
    ship(chdb_store, *heard(node, *(NOON + minute * MINUTE for minute in range(10))))
    enqueue(*heard(node, NOON + 10 * MINUTE))
    Outbox.objects.update(created_at=NOON + 11 * MINUTE)
    changed(NOON)
    summarise(at=NOON + 40 * MINUTE, store=chdb_store)
    row = hours()[NOON, "eu"]
    assert (row.minutes_up, row.minutes_expected) == (10, 10)
    assert row.computed_at == NOON + 11 * MINUTE


def test_minutes_of_the_consoles_own_outage_are_not_expected(chdb_store: Store) -> None:
    node = known_node("eu")
    ship(chdb_store, *heard(node, *(ELEVEN + minute * MINUTE for minute in range(30))))
    note_outage(starts_at=ELEVEN + 30 * MINUTE, ends_at=NOON + 5 * MINUTE, at=NOON + 5 * MINUTE)
    changed(ELEVEN, NOON)
    summarise(at=NOON + 12 * MINUTE, store=chdb_store)
    assert (hours()[ELEVEN, "eu"].minutes_up, hours()[ELEVEN, "eu"].minutes_expected) == (30, 30)
    assert (hours()[NOON, "eu"].minutes_up, hours()[NOON, "eu"].minutes_expected) == (0, 5)


def test_without_clickhouse_the_hours_stay_noted(chdb_store: Store) -> None:
    changed(ELEVEN)
    with pytest.raises(MetricsUnavailable):
        summarise(at=SETTLED, store=DownStore())  # type: ignore[arg-type]
    assert noted() == [ELEVEN]
    assert hours() == {}
    assert summarise(at=SETTLED, store=chdb_store) == [ELEVEN]


# --- several at once


class Interrupted(Intercepted):
    """A store that runs a function after its first answer about requests."""

    def __init__(self, store: Store, happens: Callable[[], object]) -> None:
        super().__init__(store)
        self._happens: Callable[[], object] | None = happens

    def execute(self, sql: str, params: Any = None) -> Any:
        answer = super().execute(sql, params)
        if self._happens is not None and "requests_hour" in sql:
            happens, self._happens = self._happens, None
            elsewhere(happens)
        return answer


def elsewhere(act: Callable[[], object]) -> None:
    """Runs a function to its end in a thread with its own database connection."""

    def work() -> None:
        try:
            act()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result(20)


def test_facts_that_come_while_their_hour_is_summed_up_are_not_lost(chdb_store: Store) -> None:
    ship(chdb_store, served("r_1", "eu"))
    changed(ELEVEN)

    def shipped_late() -> None:
        enqueue(served("r_2", "eu"))
        assert shipper.ship(at=SETTLED, store=chdb_store).rows == 1

    summarise(at=SETTLED, store=Interrupted(chdb_store, shipped_late))
    assert hours()[ELEVEN, "eu"].requests == 1
    assert noted() == [ELEVEN], "it is to be summed up again"
    summarise(at=SETTLED, store=chdb_store)
    assert hours()[ELEVEN, "eu"].requests == 2
    assert noted() == []


def test_who_is_late_does_not_overwrite_later_sums(chdb_store: Store) -> None:
    ship(chdb_store, served("r_1", "eu"))
    changed(ELEVEN)

    def another_worker() -> None:
        enqueue(served("r_2", "eu"))
        shipper.ship(at=SETTLED, store=chdb_store)
        assert summarise(at=SETTLED + MINUTE, store=chdb_store) == [ELEVEN]

    summarise(at=SETTLED, store=Interrupted(chdb_store, another_worker))
    assert hours()[ELEVEN, "eu"].requests == 2
    assert hours()[ELEVEN, "eu"].computed_at == SETTLED + MINUTE


def test_an_hour_that_never_stops_changing_is_stored_all_the_same(chdb_store: Store) -> None:
    changed(NOON)

    def touched() -> None:
        enqueue(served("r_1", "eu", at=NOON))
        shipper.ship(at=NOON, store=chdb_store)

    summarise(at=NOON + 5 * MINUTE, store=Interrupted(chdb_store, touched))
    assert hours()[NOON, ""].computed_at == NOON + 5 * MINUTE
    assert noted() == [NOON]


def test_workers_may_overlap(chdb_store: Store) -> None:
    ship(chdb_store, served("r_1", "eu"))
    changed(*(ELEVEN - back * HOUR for back in range(5)))
    ready = threading.Barrier(3)

    def work(_: int) -> None:
        ready.wait()
        try:
            summarise(at=SETTLED, store=chdb_store)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert noted() == []
    assert {hour for hour, _ in hours()} == {ELEVEN - back * HOUR for back in range(5)}
    assert hours()[ELEVEN, "eu"].requests == 1


# --- minutes


def test_minutes_are_summed_over_the_regions_nodes(chdb_store: Store) -> None:
    one, two, far = known_node("eu"), known_node("eu"), known_node("us")
    ship(
        chdb_store,
        *heard(one, *(ELEVEN + minute * MINUTE for minute in range(60))),
        *heard(two, ELEVEN, ELEVEN + 59 * MINUTE, NOON),
        *heard(far, ELEVEN - MINUTE),
    )
    changed(ELEVEN)
    summarise(at=NOON + 10 * MINUTE, store=chdb_store)
    found = {region: (row.minutes_up, row.minutes_expected) for (_, region), row in hours().items()}
    assert found == {"": (62, 180), "eu": (62, 120), "us": (0, 60)}


def test_a_node_is_expected_from_the_minute_it_was_made_in(chdb_store: Store) -> None:
    node = known_node("eu", since=ELEVEN + 45 * MINUTE + timedelta(seconds=30))
    known_node("eu", since=NOON)
    ship(chdb_store, *heard(node, *(ELEVEN + minute * MINUTE for minute in range(45, 60))))
    changed(ELEVEN)
    summarise(at=NOON + 10 * MINUTE, store=chdb_store)
    assert (hours()[ELEVEN, "eu"].minutes_up, hours()[ELEVEN, "eu"].minutes_expected) == (15, 15)


def test_nodes_never_heard_or_long_gone_are_not_missed(chdb_store: Store) -> None:
    known_node("eu", last_heartbeat_at=None)
    known_node(
        "eu", last_heartbeat_at=ELEVEN - timedelta(days=7, minutes=1), since=ELEVEN - timedelta(days=30)
    )
    known_node("eu", last_heartbeat_at=ELEVEN - timedelta(days=6))
    changed(ELEVEN)
    summarise(at=NOON, store=chdb_store)
    assert hours()[ELEVEN, "eu"].minutes_expected == 58  # the last two minutes may yet come in


def test_of_the_running_hour_only_minutes_that_can_be_known_are_expected(chdb_store: Store) -> None:
    node = known_node("eu")
    ship(chdb_store, *heard(node, *(NOON + minute * MINUTE for minute in range(19))))
    changed(NOON)
    summarise(at=NOON + 20 * MINUTE + timedelta(seconds=10), store=chdb_store)
    assert (hours()[NOON, "eu"].minutes_up, hours()[NOON, "eu"].minutes_expected) == (19, 19)


def test_at_the_start_of_an_hour_nothing_is_expected(chdb_store: Store) -> None:
    known_node("eu")
    changed(NOON)
    summarise(at=NOON + MINUTE, store=chdb_store)
    assert (hours()[NOON, "eu"].minutes_up, hours()[NOON, "eu"].minutes_expected) == (0, 0)


# --- the census


def test_the_last_count_of_an_hour_wins(fleet: list[Node]) -> None:
    take_census(at=NOON + MINUTE)
    found = hours()
    assert found[NOON, ""].active_nodes == 7
    assert found[NOON, ""].models_cached == 3
    assert {region: row.active_nodes for (_, region), row in found.items() if region} == {
        "ap-southeast": 5,
        "us-west": 2,
        "sa-east": 0,
    }
    Node.objects.filter(pk=fleet[0].pk).update(status=Status.OFFLINE)
    take_census(at=NOON + 59 * MINUTE)
    take_census(at=NOON + 61 * MINUTE)
    assert [hours()[hour, ""].active_nodes for hour in (NOON, NOON + HOUR)] == [6, 6]
    assert found[NOON, "us-west"].models_cached is None


def test_counts_and_sums_do_not_overwrite_each_other(fleet: list[Node], chdb_store: Store) -> None:
    ship(chdb_store, served("r_1", "us-west", at=NOON))
    take_census(at=NOON + MINUTE)
    assert hours()[NOON, "us-west"].requests is None, "nobody has asked ClickHouse yet"
    summarise(at=NOON + 2 * MINUTE, store=chdb_store)
    take_census(at=NOON + 3 * MINUTE)
    west = hours()[NOON, "us-west"]
    assert (west.active_nodes, west.requests) == (2, 1)


def test_an_hour_without_any_fact_is_a_known_zero(chdb_store: Store) -> None:
    take_census(at=NOON + MINUTE)
    summarise(at=NOON + MINUTE, store=chdb_store)
    assert (hours()[NOON, ""].requests, hours()[NOON, ""].active_nodes) == (0, 0)


def test_the_queries_of_a_run_do_not_depend_on_the_number_of_nodes(
    fleet: list[Node], chdb_store: Store
) -> None:
    def queries_of_a_run() -> int:
        Node.objects.update(first_heard_at=ELEVEN - HOUR, last_heartbeat_at=NOON)
        changed(ELEVEN)
        with CaptureQueriesContext(connection) as asked:
            take_census(at=NOON)
            summarise(at=NOON, store=chdb_store)
        return len(asked)

    queries_of_a_run()  # the first has no earlier sums to look at
    few = queries_of_a_run()
    NodeFactory.create_batch(12, status=Status.ACTIVE)
    assert queries_of_a_run() == few < 34  # a savepoint around each write among them


def test_an_hour_that_cannot_be_summed_up_keeps_none_waiting(
    chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(chdb_store, served("r_1", "eu"))
    bad = [ELEVEN - (number + 1) * HOUR for number in range(3)]
    changed(ELEVEN, *bad)
    minutes_up = queries.minutes_up_in_hour

    def fail_for_the_bad(store: Store, hour: datetime) -> dict[str, int]:
        if hour in bad:
            raise QueryRefused("nonsense", 43)
        return minutes_up(store, hour)

    monkeypatch.setattr(queries, "minutes_up_in_hour", fail_for_the_bad)
    assert summarise(at=SETTLED, store=chdb_store, limit=1) == [ELEVEN]
    assert hours()[ELEVEN, ""].requests == 1
    assert noted() == sorted(bad)


def test_a_region_that_cannot_be_stored_keeps_no_other_out(chdb_store: Store) -> None:
    ship(chdb_store, served("r_1", "eu"), served("r_2", "x" * 200), served("r_3", "us"))
    changed(ELEVEN)
    assert summarise(at=SETTLED, store=chdb_store) == [ELEVEN]
    found = {region: row.requests for (_, region), row in hours().items()}
    assert found == {"": 3, "eu": 1, "us": 1}
