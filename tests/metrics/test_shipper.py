"""Facts take effect in ClickHouse exactly once, whatever fails on the way."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs

from jatevo.metrics import sources
from jatevo.metrics.facts import FactKind
from jatevo.metrics.models import ChangedHour, Outbox
from jatevo.metrics.queries import receipt_presence, receipt_totals, requests_count
from jatevo.metrics.shipper import Shipped, ship
from jatevo.metrics.store import MetricsUnavailable, QueryRefused, Store
from jatevo.metrics.transport import TYPE_MISMATCH, Cell, Transport
from tests.metrics.wrappers import (
    NOON,
    NOON_SECONDS,
    Intercepted,
    enqueue,
    enqueue_body,
    latency,
    receipt,
    uptime,
)

pytestmark = pytest.mark.django_db(transaction=True)

AT = datetime(2026, 3, 4, 12, 1, tzinfo=UTC)
DAY = (NOON - timedelta(hours=12), NOON + timedelta(hours=12))
Rows = Sequence[Sequence[Cell]]


class CrashInShipper(BaseException):
    """Represents the end of the process, so nothing may catch it."""


def stored_counts(store: Transport) -> tuple[int, ...]:
    """The rows of each table, without repeats."""
    statements = (
        "SELECT count() FROM receipt_facts FINAL",
        "SELECT count() FROM requests_minute FINAL",
        "SELECT count() FROM node_latency_minute FINAL",
        "SELECT count() FROM node_uptime_minute FINAL",
    )
    return tuple(store.execute(statement)[0][0] for statement in statements)


def test_every_kind_of_fact_arrives_and_the_outbox_is_empty(store: Store) -> None:
    enqueue(
        receipt("r_1"), receipt("r_2", cache_hit=False, failed=True, region="eu-west"), latency(), uptime()
    )
    assert ship(at=AT, store=store) == Shipped(receipts=2, latencies=1, uptimes=1)
    assert not Outbox.objects.exists()
    assert store.execute(
        "SELECT node_id, request_id, region, model_id, ts_start, ts_end, accepted_at"
        " FROM receipt_facts WHERE request_id = 'r_1'"
    ) == [
        (
            *("macbook-001", "r_1", "ap-southeast", "llama3.1-8b"),
            *(NOON - timedelta(seconds=16), NOON, NOON + timedelta(seconds=1)),
        )
    ]
    assert store.execute(
        "SELECT tokens_input, tokens_output, p95_ms, hedged, cache_hit, failed"
        " FROM receipt_facts WHERE request_id = 'r_1'"
    ) == [(128, 92, 310.0, 0, 1, 0)]
    assert store.execute(
        "SELECT ts, region, count, tokens_in, tokens_out, cache_hits, errors FROM requests_minute"
        " ORDER BY region"
    ) == [(NOON, "ap-southeast", 1, 128, 92, 1, 0), (NOON, "eu-west", 1, 128, 92, 0, 1)]
    assert store.execute("SELECT ts, node_id, region, p50, p95, p99, tps FROM node_latency_minute") == [
        (NOON, "macbook-001", "ap-southeast", 100.0, 200.5, None, 30.0)
    ]
    assert store.execute("SELECT ts, node_id, up, beats FROM node_uptime_minute") == [
        (NOON, "macbook-001", 1, 6)
    ]


def test_nothing_to_ship_is_nothing_shipped(store: Store) -> None:
    assert ship(at=AT, store=store).rows == 0


@pytest.mark.parametrize(
    "last_table", ["receipt_facts", "requests_minute", "node_latency_minute", "node_uptime_minute"]
)
def test_a_crash_after_any_write_loses_nothing_and_counts_nothing_twice(
    store: Store, last_table: str
) -> None:
    enqueue(*[receipt(f"r_{number}") for number in range(10)], latency(), uptime())

    def crash(table: str, rows: Rows) -> None:
        if table == last_table:
            raise CrashInShipper

    with pytest.raises(CrashInShipper):
        ship(at=AT, store=Intercepted(store, after=crash))
    assert Outbox.objects.filter(batch__isnull=False).count() == 12
    # What comes in meanwhile goes into a batch of its own and leaves the old one as it was.
    enqueue(receipt("r_10"))
    assert ship(at=AT, store=store).rows == 13
    assert not Outbox.objects.exists()
    assert stored_counts(store) == (11, 2, 1, 1)
    assert requests_count(store, *DAY) == 11
    assert receipt_totals(store, *DAY).tokens_input == 11 * 128


def test_an_outage_keeps_the_rows_and_claims_no_more_of_them(store: Store) -> None:
    def fail(table: str, rows: Rows) -> None:
        raise MetricsUnavailable("down")

    down = Intercepted(store, before=fail)
    enqueue(*[receipt(f"r_{number}") for number in range(6)])
    for _ in range(3):
        with pytest.raises(MetricsUnavailable):
            ship(at=AT, store=down, limit=2)
    assert Outbox.objects.count() == 6
    assert Outbox.objects.filter(batch=None).count() == 4
    while ship(at=AT, store=store, limit=2).rows:
        pass
    assert requests_count(store, *DAY) == 6
    assert stored_counts(store)[:2] == (6, 3)


def test_a_row_that_commits_late_with_an_early_id_is_not_lost(chdb_store: Store) -> None:
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as late:
        late.execute(
            "INSERT INTO metrics_outbox (kind, body) VALUES ('receipt', %s)",
            [Jsonb(receipt("late").to_body())],
        )
        enqueue(receipt("early"))
        assert ship(at=AT, store=chdb_store).receipts == 1
        late.commit()
    assert ship(at=AT, store=chdb_store).receipts == 1
    assert receipt_presence(chdb_store, "macbook-001", "late")


def test_rows_that_another_shipper_is_claiming_are_passed_by(chdb_store: Store) -> None:
    enqueue(*[receipt(f"r_{number}") for number in range(4)])
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as other:
        other.execute("SELECT id FROM metrics_outbox ORDER BY id LIMIT 3 FOR UPDATE")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '3s'")
        try:
            assert ship(at=AT, store=chdb_store).receipts == 1
        finally:
            connection.close()
        other.rollback()
    assert ship(at=AT, store=chdb_store).receipts == 3


def test_a_batch_takes_no_more_than_its_limit(chdb_store: Store) -> None:
    enqueue(*[receipt(f"r_{number}") for number in range(5)])
    assert [ship(at=AT, store=chdb_store, limit=2).receipts for _ in range(4)] == [2, 2, 1, 0]


class Stalling:
    """Holds the first shipper in the middle of its batch until it is released."""

    def __init__(self) -> None:
        self.is_in_the_middle = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, table: str, rows: Rows) -> None:
        self.is_in_the_middle.set()
        assert self.may_go_on.wait(timeout=30)


def in_own_connection(store: Transport, limit: int = 5000) -> Shipped:
    try:
        return ship(at=AT, store=store, limit=limit)
    finally:
        connection.close()


def test_a_second_shipper_passes_by_a_batch_at_work(store: Store) -> None:
    enqueue(*[receipt(f"r_{number}") for number in range(3)])
    stalling = Stalling()
    with ThreadPoolExecutor() as threads:
        first = threads.submit(in_own_connection, Intercepted(store, before=stalling))
        try:
            assert stalling.is_in_the_middle.wait(timeout=30)
            # It neither waits for the first nor touches its rows.
            assert ship(at=AT, store=store).rows == 0
            assert stored_counts(store) == (0, 0, 0, 0)
            enqueue(receipt("r_3"))
            assert ship(at=AT, store=store).rows == 1
        finally:
            stalling.may_go_on.set()
        assert first.result(timeout=30).rows == 3
    assert requests_count(store, *DAY) == 4


def test_many_shippers_deliver_each_row_once(store: Store) -> None:
    enqueue(*[receipt(f"r_{number}") for number in range(200)])
    delivered: list[object] = []
    batches: list[object] = []

    def note(table: str, rows: Rows) -> None:
        if table == "receipt_facts":
            delivered.extend(row[1] for row in rows)
        else:
            batches.extend(row[2] for row in rows)

    counting = Intercepted(store, after=note)

    def drain() -> int:
        total = 0
        while rows := in_own_connection(counting, limit=7).rows:
            total += rows
        return total

    with ThreadPoolExecutor(4) as threads:
        drained = [threads.submit(drain) for _ in range(4)]
        moved = sum(future.result(timeout=60) for future in drained)
    # A shipper may have returned while another still held the last batch, but no work is left undone.
    assert moved == 200
    assert sorted(map(str, delivered)) == sorted(f"r_{number}" for number in range(200))
    assert len(batches) == len(set(batches))
    assert requests_count(store, *DAY) == 200


BAD_BODIES = [
    ("receipt", {}),
    ("receipt", "text"),
    ("receipt", None),
    ("receipt", [1]),
    ("receipt", {**receipt("r_bad").to_body(), "ts_end": "noon"}),
    ("latency", receipt("r_bad").to_body()),
    ("uptime", {**uptime().to_body(), "beats": -1}),
]


def test_poison_is_set_aside_with_its_reason_and_blocks_nothing(store: Store) -> None:
    enqueue(receipt("r_1"))
    for kind, body in BAD_BODIES:
        enqueue_body(kind, body)
    enqueue_body("latency", {**latency().to_body(), "p95": 10**400})
    enqueue(receipt("r_2"))
    assert ship(at=AT, store=store) == Shipped(receipts=2, poisoned=len(BAD_BODIES) + 1)
    assert Outbox.objects.set_aside().count() == len(BAD_BODIES) + 1
    assert not Outbox.objects.waiting().exists()
    assert all(Outbox.objects.values_list("poisoned", flat=True))
    assert "ts_end" in (Outbox.objects.get(body__ts_end="noon").poisoned or "")
    assert ship(at=AT, store=store).rows == 0
    assert requests_count(store, *DAY) == 2


def test_a_row_that_only_clickhouse_refuses_is_found_and_set_aside(store: Store) -> None:
    def refuse(table: str, rows: Rows) -> None:
        if table == "receipt_facts" and any(row[1] == "r_13" for row in rows):
            raise QueryRefused("no thirteens", TYPE_MISMATCH)

    enqueue(*[receipt(f"r_{number}") for number in range(20)], uptime())
    shipped = ship(at=AT, store=Intercepted(store, before=refuse))
    assert shipped == Shipped(receipts=19, uptimes=1, poisoned=1)
    set_aside = Outbox.objects.get()
    assert set_aside.body["request_id"] == "r_13"
    assert set_aside.poisoned == "receipt_facts: no thirteens"
    assert (receipt_totals(store, *DAY).count, requests_count(store, *DAY)) == (19, 19)


def test_a_refused_statement_sets_nothing_aside(chdb_store: Store) -> None:
    def refuse(table: str, rows: Rows) -> None:
        raise QueryRefused("no such column", 16)

    enqueue(receipt())
    with pytest.raises(QueryRefused):
        ship(at=AT, store=Intercepted(chdb_store, before=refuse))
    assert Outbox.objects.filter(poisoned=None).count() == 1
    assert ship(at=AT, store=chdb_store).receipts == 1


def test_a_batch_that_is_refused_as_a_whole_keeps_no_other_waiting(chdb_store: Store) -> None:
    def refuse(table: str, rows: Rows) -> None:
        if table == "receipt_facts":
            raise QueryRefused("no such function", 46)

    enqueue(receipt())
    with pytest.raises(QueryRefused):
        ship(at=AT, store=Intercepted(chdb_store, before=refuse))
    enqueue(uptime())
    with pytest.raises(QueryRefused):
        ship(at=AT, store=Intercepted(chdb_store, before=refuse))
    assert list(Outbox.objects.values_list("kind", "poisoned")) == [("receipt", None)]
    assert chdb_store.execute("SELECT count() FROM node_uptime_minute") == [(1,)]
    assert ship(at=AT, store=chdb_store).receipts == 1


def test_receipts_of_absurd_sizes_do_not_stop_the_sums(store: Store) -> None:
    """3,000 times 2^53 - 1 tokens exceed a sum's type."""
    enqueue(*[receipt(f"r_{number}", tokens_input=2**53 - 1) for number in range(3000)])
    assert ship(at=AT, store=store) == Shipped(receipts=3000)
    assert store.execute("SELECT count, tokens_in FROM requests_minute FINAL") == [(3000, 2**64 - 1)]


def test_what_is_set_aside_is_in_the_log(chdb_store: Store) -> None:
    enqueue_body("uptime", {**uptime().to_body(), "beats": -1})
    with capture_logs() as said:
        assert ship(at=AT, store=chdb_store).poisoned == 1
    (line,) = said
    assert (line["log_level"], line["outbox_id"]) == ("error", Outbox.objects.get().pk)
    assert "beats" in line["reason"]


def test_a_batch_across_more_days_than_one_insert_may_touch_is_taken(store: Store) -> None:
    enqueue(*[uptime(NOON - timedelta(days=day)) for day in range(101)])
    assert ship(at=AT, store=store).uptimes == 101
    assert store.execute("SELECT count() FROM node_uptime_minute FINAL") == [(101,)]


def test_the_fact_with_most_beats_counts_in_any_order(store: Store) -> None:
    for beats in (1, 6, 3):
        enqueue(uptime(NOON + timedelta(seconds=beats), beats=beats))
        ship(at=AT, store=store)
    enqueue(uptime(up=False, beats=0))
    ship(at=AT, store=store)
    assert store.execute("SELECT ts, up, beats FROM node_uptime_minute FINAL") == [(NOON, 1, 6)]


def test_rows_that_are_given_back_count_beside_what_was_shipped_of_their_batch(store: Store) -> None:
    def refuse(table: str, rows: Rows) -> None:
        if table == "receipt_facts" and any(row[1] == "r_3" for row in rows):
            raise QueryRefused("no threes", TYPE_MISMATCH)

    enqueue(*[receipt(f"r_{number}") for number in range(8)])
    assert ship(at=AT, store=Intercepted(store, before=refuse)) == Shipped(receipts=7, poisoned=1)
    assert requests_count(store, *DAY) == 7
    Outbox.objects.update(poisoned=None)
    assert ship(at=AT, store=store) == Shipped(receipts=1)
    assert requests_count(store, *DAY) == 8


def test_a_kind_without_a_source_holds_its_batch_back(
    chdb_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process lacks something, and not the rows."""
    monkeypatch.setattr(sources, "_sources", {})
    Outbox.objects.create(kind=FactKind.RECEIPT, body={}, source_at=AT, source_id=1)
    with pytest.raises(KeyError):
        ship(at=AT, store=chdb_store)
    assert Outbox.objects.waiting().count() == 1


def test_ship_refuses_to_run_inside_a_transaction(chdb_store: Store) -> None:
    enqueue(receipt())
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        ship(at=AT, store=chdb_store)


def test_the_database_refuses_an_unknown_kind() -> None:
    with pytest.raises(IntegrityError, match="metrics_outbox_kind_known"):
        enqueue_body("invoice", {})


def test_the_orm_writes_the_same_rows_as_raw_sql(chdb_store: Store) -> None:
    row = Outbox.objects.create(kind=FactKind.RECEIPT, body=receipt().to_body())
    row.refresh_from_db()
    assert row.created_at.tzinfo is not None
    assert (row.batch, row.claimed_at, row.poisoned) == (None, None, None)
    assert ship(at=AT, store=chdb_store).receipts == 1


def changed_hours() -> list[datetime]:
    return sorted(ChangedHour.objects.values_list("hour", flat=True))


def test_the_hours_that_facts_count_in_are_noted(store: Store) -> None:
    enqueue(
        receipt("r_1", ts_end=NOON_SECONDS - 1, accepted_at=NOON_SECONDS + 7200),
        receipt("r_2", ts_end=NOON_SECONDS + 5 * 3600),
        latency(ts=NOON_SECONDS + 3 * 3600 + 3599),
        uptime(NOON - timedelta(hours=8)),
        uptime(NOON - timedelta(hours=8, minutes=-59)),
    )
    ship(at=AT, store=store)
    assert changed_hours() == [NOON + timedelta(hours=hours) for hours in (-8, -1, 3, 5)]
    assert ship(at=AT, store=store).rows == 0
    assert len(changed_hours()) == 4


def test_a_poisoned_row_changes_no_hour(chdb_store: Store) -> None:
    enqueue_body("latency", {**latency().to_body(), "p95": 10**400})
    assert ship(at=AT, store=chdb_store).poisoned == 1
    assert changed_hours() == []


def test_an_hour_noted_again_gets_a_new_time(chdb_store: Store) -> None:
    enqueue(uptime())
    ship(at=AT, store=chdb_store)
    first = ChangedHour.objects.get()
    enqueue(uptime(beats=7))
    ship(at=AT, store=chdb_store)
    again = ChangedHour.objects.get()
    assert again.hour == first.hour
    assert again.noted_at > first.noted_at
    # so a reader of the first one does not remove the second
    assert not ChangedHour.objects.filter(hour=first.hour, noted_at=first.noted_at).delete()[0]


def test_no_hour_is_noted_before_clickhouse_has_its_facts(chdb_store: Store) -> None:
    def fail(table: str, rows: Rows) -> None:
        raise MetricsUnavailable("down")

    enqueue(uptime())
    with pytest.raises(MetricsUnavailable):
        ship(at=AT, store=Intercepted(chdb_store, before=fail))
    assert changed_hours() == []


def test_an_hour_is_noted_although_it_is_being_summed_up(chdb_store: Store) -> None:
    """A reader that deletes the row may have queried ClickHouse too early. The shipper waits and notes it."""
    ChangedHour.objects.create(hour=NOON)
    enqueue(uptime())
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as summing_up:
        summing_up.execute("DELETE FROM metrics_changedhour")
        with ThreadPoolExecutor() as threads:
            shipping = threads.submit(in_own_connection, chdb_store)
            while not somebody_waits_for_a_lock():
                assert not shipping.done()
            summing_up.commit()
            assert shipping.result(timeout=30).uptimes == 1
    assert changed_hours() == [NOON]


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])
