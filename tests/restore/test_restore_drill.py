"""The drill of `make restore-drill`: a full backup, a mistake, the database as it was before it, and ClickHouse anew.

It runs what docs/runbooks/restore-from-backup.md says, and prints how long each part took.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from jatevo.local import checks
from tests.metrics import clickhouse_server
from tests.restore.archived_postgresql import ArchivedPostgreSQL, binaries
from tests.web.serving import BASE_DIR

WEB_SECONDS = 120.0
# What the books say: each row is compared at T and after the restore.
FIGURES = {
    "receipts": "SELECT count(*), sum(tokens_input), sum(tokens_output), max(id) FROM receipts_receipt",
    "identities": "SELECT count(*), max(accepted_at)::text FROM receipts_receiptidentity",
    "items": "SELECT count(*), sum(fee_usd)::text FROM earnings_item",
    "verdicts": "SELECT count(*), count(*) FILTER (WHERE state = 'payable') FROM earnings_verdict",
    "lines": "SELECT count(*), sum(payable_usd)::text, sum(held_usd)::text FROM earnings_line",
    "movements": "SELECT count(*), sum(amount_usd)::text FROM earnings_movement",
    "probes": "SELECT count(*), sum(p95_ms) FROM nodes_probe",
    "minutes": "SELECT count(*), sum(beats) FROM nodes_heartbeatminute",
    "audit": "SELECT count(*), max(id)::text FROM audit_auditevent",
    "outbox": "SELECT count(*) FROM metrics_outbox",
}


class Drill:
    """A console's commands on the archived PostgreSQL, with the seconds that they took."""

    def __init__(self, server: ArchivedPostgreSQL, environment: dict[str, str]) -> None:
        self.server = server
        self.seconds: dict[str, float] = {}
        self._environment = environment

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - began

    def manage(self, *words: str) -> str:
        return self._run("manage.py", *words)

    def load(self, *parts: str) -> None:
        for part in parts:
            self._run("-m", "tests.restore.loading", part)

    def figures(self) -> dict[str, Any]:
        with self.server.connect() as connection:
            return {name: connection.execute(sql).fetchone() for name, sql in FIGURES.items()}

    def serve_once(self) -> None:
        """A web process, until it says that it is ready."""
        with checks.claim_port(0) as claimed:
            port = claimed.getsockname()[1]
        words = [
            "--interface",
            "wsgi",
            "--host",
            checks.LOOPBACK,
            "--port",
            str(port),
            "jatevo.wsgi:application",
        ]
        with (self.server.home / "web.log").open("wb") as log:
            web = subprocess.Popen(
                [str(Path(sys.executable).with_name("granian")), *words],
                cwd=BASE_DIR, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + WEB_SECONDS
            while not _is_ready(port):
                assert web.poll() is None and time.monotonic() < deadline, (
                    self.server.home / "web.log"
                ).read_text()
                time.sleep(0.1)
        finally:
            web.terminate()
            web.wait(timeout=60)

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=BASE_DIR,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=800,
        )
        assert done.returncode == 0, f"{words}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


def _is_ready(port: int) -> bool:
    try:
        answer = httpx.get(f"http://{checks.LOOPBACK}:{port}/readyz", timeout=5, trust_env=False)
        return answer.status_code == 200 and answer.json()["status"] == "ready"
    except httpx.HTTPError:
        return False


@pytest.fixture
def drill() -> Iterator[Drill]:
    folder, clickhouse = binaries(), clickhouse_server.find_binary()
    if folder is None or clickhouse is None:
        pytest.skip("needs Debian's postgresql, pgbackrest and clickhouse-server")
    home = Path(tempfile.mkdtemp(prefix="jatevo-drill-"))  # a short path: the socket lies below it
    home.chmod(0o755)
    server = ArchivedPostgreSQL(home, folder)
    (home / "clickhouse").mkdir()
    store = clickhouse_server.start(clickhouse, home / "clickhouse")
    environment = {
        **os.environ,
        "DATABASE_URL": server.url,
        "CLICKHOUSE_URL": store.url(),
        "DJANGO_SETTINGS_MODULE": "jatevo.settings",
        "JATEVO_EMBEDDED": "",
        "JATEVO_LIMIT_RECEIPTS": "1000/second",
        "JATEVO_LOG_LEVEL": "WARNING",
    }
    try:
        server.create()
        yield Drill(server, environment)
    finally:
        server.stop()
        clickhouse_server.stop(store)
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.restore
@pytest.mark.timeout(1800)
def test_the_database_comes_back_as_it_was_before_a_mistake(
    drill: Drill, capsys: pytest.CaptureFixture[str]
) -> None:
    server = drill.server
    drill.manage("migrate", "-v0")
    drill.manage("metrics_migrate")
    drill.load("begin", "post", "accrue", "ship")
    with drill.timed("full backup"):
        server.backup("full")
    drill.load("post", "accrue")
    with drill.timed("incremental backup"):
        server.backup("incr")
    drill.load("post", "accrue", "ship")

    expected = drill.figures()
    with server.connect() as connection:
        ((moment,),) = connection.execute("SELECT clock_timestamp()").fetchall()
    drill.load("post", "accrue", "ship")  # which is lost: it came after the moment
    with server.connect() as connection:
        connection.execute("DELETE FROM receipts_receipt WHERE node_id < 'restored-3'")
        connection.execute("DROP TABLE earnings_linebalance CASCADE")
    with drill.timed("log archived"):
        server.archive_all()
    server.stop()

    began = time.monotonic()
    with drill.timed("restore"):
        server.restore(moment)
    with drill.timed("replay"):
        server.start()
    drill.manage("migrate", "-v0")
    drill.serve_once()
    to_serving = time.monotonic() - began

    assert drill.figures() == expected
    with drill.timed("earnings_fsck --full"):
        books = drill.manage("earnings_fsck", "--full")
    drill.load("verify")
    drill.manage("check", "--database", "default")
    with drill.timed("metrics_rebuild"):
        rebuilt = drill.manage("metrics_rebuild")
    drill.load("ship")
    search = drill.manage("receipt_search", "check")
    again = drill.manage("metrics_rebuild")

    with capsys.disabled():
        print(
            f"\n{expected['receipts'][0]:,} receipts at T, repository {server.repository_bytes() / 1e6:.0f} MB"
        )
        print(", ".join(f"{what} {seconds:.1f} s" for what, seconds in drill.seconds.items()))
        print(f"restore to serving {to_serving:.1f} s; {books.splitlines()[-1]}; {search.splitlines()[-1]}")
        print(rebuilt)
    assert expected["receipts"][0] > 0
    assert "No differences" in search
    assert f"latencies: {expected['probes'][0]:,}, done" in rebuilt
    assert f"heartbeat minutes: {expected['minutes'][0]:,}, done" in rebuilt
    assert f"receipts={expected['receipts'][0]}," in again
    server.archive_all()  # the new timeline is archived, too
    server.backup("full")
