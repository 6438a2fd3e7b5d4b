"""The private servers, run by the user of the tests, which may be root."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jatevo.local import postgres, stores, valkey
from jatevo.local.children import Children
from jatevo.local.problems import CannotStart

# Format 9, as Redis 6.2 writes it: database 0 with the one key k, no checksum.
DUMP_OF_REDIS_6 = b"REDIS0009\xfe\x00\xfb\x01\x00\x00\x01k\x01v\xff" + bytes(8)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a short path that is closed to other users, like /root."""
    folder = Path(tempfile.mkdtemp(prefix="jatevo-"))
    yield stores.make_home(folder)
    rmtree(folder)


@pytest.fixture
def children(home: Path) -> Iterator[Children]:
    made = Children(home / "run" / "children")
    yield made
    made.close()


def count_rows(server: postgres.Postgres) -> int:
    with psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def add_row(server: postgres.Postgres) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")


def test_committed_rows_survive_a_kill_of_the_server(home: Path, children: Children) -> None:
    first = postgres.start(home, children)
    add_row(first)
    first.child.process.send_signal(signal.SIGKILL)
    first.child.process.wait()
    children.stop(first.child, grace_seconds=1)
    again = postgres.start(home, children)
    assert count_rows(again) == 1


def test_server_of_a_killed_console_is_stopped_before_the_new_one_starts(
    home: Path, children: Children
) -> None:
    first = postgres.start(home, children)
    add_row(first)
    orphan = psutil.Process(first.child.process.pid)
    first.child.record.unlink()  # the worst case: neither guard nor record, only postmaster.pid
    again = postgres.start(home, children)
    first.child.process.wait(timeout=0)
    assert not orphan.is_running()
    assert count_rows(again) == 1


def test_pid_file_that_names_a_stranger_does_not_hinder(home: Path, children: Children) -> None:
    first = postgres.start(home, children, durable=False)
    postgres.stop(first, children)
    pid_file = first.data / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{first.data}\n0\n5432\n{first.socket_folder}\n\n 1 1\nready\n")
    pid_file.chmod(0o600)
    again = postgres.start(home, children, durable=False)
    assert pid_file.read_text().splitlines()[0] == str(again.child.process.pid)
    add_row(again)
    assert count_rows(again) == 1


def test_a_half_made_cluster_is_created_again(home: Path, children: Children) -> None:
    (home / "postgres.new").mkdir()
    (home / "postgres.new" / "PG_VERSION").write_text("18\n")
    postgres.start(home, children, durable=False)
    assert not (home / "postgres.new").exists()


def test_data_of_another_version_are_refused(home: Path, children: Children) -> None:
    (home / "postgres").mkdir()
    (home / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(CannotStart, match="version 16"):
        postgres.start(home, children)


def test_only_we_reach_the_socket_and_no_port_is_open(home: Path, children: Children) -> None:
    server = postgres.start(home, children, durable=False)
    assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_run_for_people_writes_to_disk_before_it_answers(home: Path, children: Children) -> None:
    server = postgres.start(home, children)
    with psycopg.connect(server.url) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)


def test_home_with_a_long_path_and_spaces_works(home: Path) -> None:
    long = stores.make_home(home / ("a folder, with a long name " * 5).strip())
    children = Children(long / "run" / "children")
    try:
        server = postgres.start(long, children, durable=False)
        add_row(server)
        assert not server.socket_folder.is_relative_to(home)
    finally:
        children.close()
        rmtree(server.socket_folder)


def test_valkey_asks_for_its_password(home: Path, children: Children) -> None:
    server = valkey.start(home, children)
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
        port = client.connection_pool.connection_kwargs["port"]
    with (
        redis.Redis(port=port, retry=Retry(NoBackoff(), retries=0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    assert server.url.split("@")[0].rsplit(":")[-1] not in " ".join(
        psutil.Process(server.child.process.pid).cmdline()
    )


@pytest.mark.parametrize("dump", [DUMP_OF_REDIS_6, b"REDIS0099 unreadable"], ids=["readable", "unreadable"])
def test_dump_that_an_older_run_left_is_not_loaded(dump: bytes, home: Path, children: Children) -> None:
    (children.run_dir / "dump.rdb").write_bytes(dump)
    server = valkey.start(home, children)
    with redis.Redis.from_url(server.url) as client:
        assert client.dbsize() == 0
        version = client.info("server")["valkey_version"]
    assert version.split(".")[0] == valkey.VERSION


def test_command_runs_in_temporary_stores_and_its_exit_code_counts() -> None:
    code = (
        "import os, sys, psycopg; "
        "sys.exit(7 if psycopg.connect(os.environ['DATABASE_URL']).info.dbname == 'jatevo' else 1)"
    )
    done = subprocess.run(
        [sys.executable, "-m", "jatevo.local", "stores", "--temporary", "--", sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
