"""The spool's limit: at the bound nothing is taken, and nothing is dropped."""

from __future__ import annotations

import sqlite3
import tracemalloc
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from jatevo_agent import room as room_module
from jatevo_agent.room import Room
from jatevo_agent.spool import Spool

BODY = b"x" * 1000


def filled(spool: Spool, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        spool.add(f"r_{number}", BODY)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool.sqlite", limit_bytes=128 * 1024)


def test_a_full_spool_says_so_and_still_stores_what_was_taken(spool: Spool) -> None:
    assert spool.lack_of_room() is None
    filled(spool, 100)
    lack = spool.lack_of_room()
    assert lack is not None
    assert "(spool_limit_mb)" in lack
    filled(spool, 5, first=100)
    assert spool.counts().spooled == 105
    spool.close()


def test_there_is_room_again_when_receipts_were_delivered(spool: Spool, log: StringIO) -> None:
    filled(spool, 100)
    for _ in range(3):
        assert spool.lack_of_room()
    spool.settle([item.seq for item in spool.oldest(500, 10**6)], [])
    assert spool.lack_of_room() is None
    spool.close()
    lines = log.getvalue().splitlines()
    assert len(lines) == 2
    assert "no more requests are taken; receipts are kept" in lines[0]
    assert "there is room for receipts again" in lines[1]


def test_a_spool_that_was_full_before_a_restart_is_full_after_it(spool: Spool, tmp_path: Path) -> None:
    filled(spool, 100)
    spool.close()
    again = Spool(tmp_path / "spool.sqlite", limit_bytes=128 * 1024)
    assert again.lack_of_room()
    again.close()


def test_the_file_does_not_outgrow_its_limit_over_many_fillings(spool: Spool, tmp_path: Path) -> None:
    for time in range(5):
        first = time * 1000
        while spool.lack_of_room() is None:
            spool.add(f"r_{first}", BODY)
            first += 1
        spool.settle([item.seq for item in spool.oldest(500, 10**6)], [])
    spool.close()
    assert (tmp_path / "spool.sqlite").stat().st_size < 256 * 1024


def test_a_full_disk_stops_new_requests_before_a_write_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(tmp_path, 2**30)
    assert room.lack() is None
    monkeypatch.setattr(room_module, "free_bytes_at", lambda folder: room_module.LEAST_FREE_BYTES - 1)
    lack = room.lack()
    assert lack is not None
    assert lack.startswith("Only 63 MB are free on the disk of ")


def test_a_batch_does_not_read_more_than_it_sends(tmp_path: Path) -> None:
    """500 receipts of the largest size would take 128 MB."""
    spool = Spool(tmp_path / "spool.sqlite")
    with closing(sqlite3.connect(tmp_path / "spool.sqlite")) as connection, connection:
        connection.executemany(
            "INSERT INTO spooled (request_id, body, spooled_at) VALUES (?, ?, 0)",
            [(f"r_{number}", b"x" * 200_000) for number in range(50)],
        )
    tracemalloc.start()
    try:
        batch = spool.oldest(500, 1_000_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    spool.close()
    assert len(batch) == 4
    assert peak_bytes < 2_000_000
