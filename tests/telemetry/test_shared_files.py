"""Processes count together in one folder, and what they counted outlives them."""

import subprocess
import sys
from pathlib import Path

import pytest

from jatevo.telemetry import exposition, shared_files

COUNT = """
import sys, os, pathlib
from jatevo.telemetry import shared_files
shared_files.use(pathlib.Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
counter = Counter("things", "d", ["kind"])
counter.labels("a").inc()
Histogram("seconds", "d", buckets=(1, 5)).observe(2)
Gauge("open", "d", multiprocess_mode="livesum").set(1)
if sys.argv[1] == "fork":
    if os.fork() == 0:
        counter.labels("a").inc(10)
        os._exit(0)
    os.wait()
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
if sys.argv[1] == "waits":
    print("ready", flush=True)
    sys.stdin.read()
if sys.argv[1] == "shows":
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    print(generate_latest(registry).decode())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def run(what: str) -> str:
    return subprocess.run([sys.executable, "-c", COUNT, what], capture_output=True, text=True).stdout


def test_counters_go_on_after_their_processes_and_files_do_not_grow_in_number(folder: Path) -> None:
    lives = subprocess.Popen(
        [sys.executable, "-c", COUNT, "waits"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert lives.stdout is not None
    lives.stdout.readline()
    run("killed")
    run("fork")
    (folder / "counter_12-damaged.db").write_bytes(b"\xff\xff\xff\x7fdamaged")
    shown = run("shows").splitlines()
    files = {path.name for path in folder.glob("*.db")}
    lives.communicate()
    assert 'things_total{kind="a"} 14.0' in shown, "1 each, and 10 of the fork"
    assert 'seconds_bucket{le="5.0"} 4.0' in shown
    assert 'seconds_bucket{le="1.0"} 0.0' in shown
    assert "open 2.0" in shown, "of those that live"
    assert len(files) == 2 * 3 + 2, files
    assert {"counter_dead.db", "histogram_dead.db"} <= files
    assert len(list(folder.glob("*.alive"))) == 2


def test_damaged_file_does_not_hide_the_others(folder: Path) -> None:
    run("killed")
    (folder / "counter_12-damaged.db").write_bytes(b"\xff\xff\xff\x7fdamaged")
    (folder / "counter_13-new.db").write_bytes(b"")
    assert 'things_total{kind="a"} 1.0' in exposition.page_of(folder).decode()


def test_gauge_ends_with_its_process_before_another_starts(folder: Path) -> None:
    lives = subprocess.Popen(
        [sys.executable, "-c", COUNT, "waits"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert lives.stdout is not None
    lives.stdout.readline()
    assert "open 1.0" in exposition.page_of(folder).decode()
    lives.kill()
    lives.communicate()
    assert any(path.name.startswith("gauge_") for path in folder.iterdir())
    shown = exposition.page_of(folder).decode()
    assert "open " not in shown
    assert 'things_total{kind="a"} 1.0' in shown


def test_file_of_a_process_that_lives_is_left_alone(folder: Path) -> None:
    identity = shared_files._Identity(folder)
    own = identity()
    (folder / f"counter_{own}.db").write_bytes(b"")
    with shared_files.locked(folder, to_change=True):
        shared_files.add_up_the_dead(folder)
    assert (folder / f"counter_{own}.db").exists()
    assert identity() == own
