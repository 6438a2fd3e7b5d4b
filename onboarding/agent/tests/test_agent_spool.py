"""The spool: order, sizes, durability, refused receipts."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from jatevo_agent import spool as spool_module
from jatevo_agent.spool import Refusal, Spool, SpoolClosed, SpoolCounts, read_counts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    opened = Spool(path)
    yield opened
    opened.close()


def test_oldest_first(spool: Spool) -> None:
    for name in ("c", "a", "b"):
        spool.add(name, name.encode())
    assert [item.request_id for item in spool.oldest(2, 1000)] == ["c", "a"]


def test_a_batch_stays_within_its_bytes_but_is_never_empty(spool: Spool) -> None:
    for name in ("a", "b", "c"):
        spool.add(name, b"x" * 100)
    assert len(spool.oldest(10, 202)) == 2
    assert len(spool.oldest(10, 201)) == 1
    assert len(spool.oldest(10, 1)) == 1


def test_settling_removes_and_sets_aside(spool: Spool) -> None:
    for name in ("a", "b", "c"):
        spool.add(name, name.encode())
    spool.settle([1], [Refusal(2, 422, "too old")])
    assert [item.request_id for item in spool.oldest(10, 1000)] == ["c"]
    assert spool.refusals() == [Refusal(2, 422, "too old")]
    assert spool.counts() == SpoolCounts(spooled=1, refused=1, completed_total=3)


def test_the_total_counts_on_after_everything_is_delivered(spool: Spool, path: Path) -> None:
    spool.add("a", b"a")
    spool.settle([1], [])
    spool.close()
    again = Spool(path)
    again.add("b", b"b")
    assert again.counts() == SpoolCounts(spooled=1, refused=0, completed_total=2)
    again.close()


def test_a_request_id_is_kept_once(spool: Spool) -> None:
    spool.add("a", b"first")
    with pytest.raises(sqlite3.IntegrityError):
        spool.add("a", b"second")
    assert [item.body for item in spool.oldest(10, 1000)] == [b"first"]


def test_an_answered_request_is_known_after_its_delivery_and_a_restart(spool: Spool, path: Path) -> None:
    spool.add("a", b"a")
    spool.settle([1], [])
    spool.close()
    again = Spool(path)
    assert again.has_answered("a")
    assert not again.has_answered("b")
    again.close()


def test_only_the_newest_answered_requests_are_known(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MOST_ANSWERED_KEPT", 3)
    monkeypatch.setattr(spool_module, "_FORGET_EVERY", 2)
    for number in range(1, 7):
        spool.add(f"r_{number}", b"x")
    assert [spool.has_answered(f"r_{number}") for number in range(1, 7)] == [False] * 3 + [True] * 3


def test_only_the_newest_refusals_are_kept(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MOST_REFUSED_KEPT", 3)
    for number in range(1, 6):
        spool.add(f"r_{number}", b"x")
        spool.settle([], [Refusal(number, 422, "no")])
    assert [refusal.seq for refusal in spool.refusals()] == [3, 4, 5]


def test_commits_are_synced_to_disk(spool: Spool, path: Path) -> None:
    with spool._transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_only_the_owner_can_read_it(spool: Spool, path: Path) -> None:
    spool.add("a", b"a")
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_counts_can_be_read_beside_a_running_agent(spool: Spool, path: Path) -> None:
    spool.add("a", b"a")
    assert read_counts(path) == SpoolCounts(spooled=1, refused=0, completed_total=1)
    assert read_counts(path.with_name("none")) is None


def test_a_closed_spool_says_so(spool: Spool) -> None:
    spool.close()
    with pytest.raises(SpoolClosed):
        spool.add("a", b"a")


def test_a_file_that_is_no_database_is_refused_untouched(path: Path) -> None:
    path.write_bytes(b"not a database, and long enough to have a header" * 20)
    with pytest.raises(sqlite3.DatabaseError):
        Spool(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_failed_write_leaves_no_transaction_open(spool: Spool, path: Path) -> None:
    spool.add("a", b"a")
    with pytest.raises(sqlite3.IntegrityError):
        spool.add("a", b"a")
    with closing(sqlite3.connect(path, timeout=0.1)) as other, other:
        other.execute("DELETE FROM spooled")
    assert spool.counts().spooled == 0
