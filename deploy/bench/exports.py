"""Measures a large export of receipts, and what memory the processes take meanwhile: `python -m bench.exports`.

A web process (granian) and a worker run on stores of their own, as in a deployment of services. The receipts are
written by PostgreSQL itself, unsigned. Nothing of an export needs ClickHouse, so there is none. Prints JSON.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from bench import consoles
from jatevo.local import stores

RANGE_BYTES = 7 * 2**20  # after so many, the download is interrupted and goes on
_NODES = """
from jatevo.accounts.models import Org
from nodes.models import Node
org = Org.objects.get()
Node.objects.bulk_create(
    Node(id=f"node-{n}", org=org, region="eu", runtime="ollama", status="active", status_since=org.created_at)
    for n in range(100)
)
"""
_MANY = """
INSERT INTO receipts_receipt (accepted_at, node_id, request_id, region, model_id, ts_start, ts_end, tokens_input,
    tokens_output, p95_ms, hedged, cache_hit, failed, node_status, node_status_at_end, org_id, concurrency, public_key,
    key_since, sha256, raw, payload)
SELECT now() - n * interval '1 second', 'node-' || n % 100, 'r_' || md5(n::text), 'eu', 'qwen3', now(), now(), n % 4000,
       n % 900, 300 + n % 77, n % 3 = 0, n % 5 = 0, n % 97 = 0, 'active', 'active', (SELECT id FROM accounts_org LIMIT 1),
       2, sha256('k'), now(), sha256(n::text::bytea), convert_to(repeat(md5(n::text), 22), 'UTF8'), '{}'
FROM generate_series(1, ROWS) AS n;
ANALYZE;
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.exports", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--format", choices=["csv", "jsonl"], default="csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jatevo-bench-") as temporary:
        home = stores.make_home(Path(temporary))
        servers = stores.start(home)
        try:
            print(json.dumps(_measure(home, servers, options), indent=1))
        finally:
            servers.stop()


def _measure(home: Path, servers: stores.Stores, options: argparse.Namespace) -> dict[str, Any]:
    env = {**os.environ, **servers.environment(), **consoles.SETTINGS, "PORT": str(consoles.free_port())}
    env |= {"JATEVO_EMBEDDED": "0", "JATEVO_STATIC_ROOT": str(home / "static")}
    env |= {"CLICKHOUSE_URL": "clickhouse://127.0.0.1:9/none", "DJANGO_SETTINGS_MODULE": "jatevo.settings"}
    consoles.django_command("migrate", "-v0", env=env)
    login = _make_person(env)
    consoles.django_command("shell", "--no-imports", "-c", _NODES, env=env)
    say(f"writing {options.rows:,} receipts")
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as database:
        database.execute(_MANY.replace("ROWS", str(options.rows)).encode())
    figures: dict[str, Any] = {"rows": options.rows}
    with consoles.services(env, home / "logs" / "bench.log", web_processes=1) as base:
        client = httpx.Client(base_url=base, timeout=60)
        client.post("/v1/auth/login", json=login).raise_for_status()
        page = client.get("/receipts/~export/").raise_for_status().text
        figures["MiB of the web process at rest"] = _mib(WEB)
        with watched() as peaks:
            figures["100,000 rows streamed, s"] = _stream(client, options.format)
        figures["MiB of the web process, streaming"] = peaks[WEB]
        with watched() as peaks:
            begun = time.perf_counter()
            _prepare(client, page, options.format)
            figures["written by the worker, s"] = round(time.perf_counter() - begun, 1)
        figures["MiB of the worker, writing"] = peaks[WORKER]
        with watched() as peaks:
            begun = time.perf_counter()
            data = _download(client)
            figures["downloaded, s"] = round(time.perf_counter() - begun, 1)
        figures["MiB of the web process, downloading"] = peaks[WEB]
        figures["MiB of the file"] = round(len(data) / 2**20, 1)
    lines = gzip.decompress(data).splitlines()[options.format == "csv" :]
    figures["rows in the file"] = len(lines)
    figures["different rows"] = len({hashlib.sha256(line).digest() for line in lines})
    return figures


def _make_person(env: dict[str, str]) -> dict[str, str]:
    words = ["create_user", "--email", "ada@example.org", "--role", "operator", "--org", "Bench"]
    said = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=consoles.BASE_DIR,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return {"email": said[0], "password": said[1]}


def _stream(client: httpx.Client, file_format: str) -> float:
    """Streams 100,000 rows: those of the last 99,999 seconds."""
    since = int(time.time()) - 99_990
    begun = time.perf_counter()
    with client.stream("GET", f"/receipts/~export.{file_format}", params={"from": str(since)}) as answer:
        answer.raise_for_status()
        for _ in answer.iter_raw():
            pass
    return round(time.perf_counter() - begun, 1)


def _prepare(client: httpx.Client, page: str, file_format: str) -> None:
    """Asks for all rows, and follows the page until the file is ready."""
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
    fields = {"csrfmiddlewaretoken": token, "format": file_format}
    client.post("/receipts/~export/", data=fields, headers={"Referer": str(client.base_url)})
    while True:
        part = client.get(
            "/receipts/~export/", headers={"HX-Request": "true", "HX-Target": "export-files"}
        ).text
        if "Download" in part:
            return
        say(re.sub(r"\s+", " ", " ".join(re.findall(r"Writing, \d+ %", part))))
        time.sleep(1)


def _download(client: httpx.Client) -> bytes:
    """Downloads the file. The first attempt breaks off, and the second asks for the rest."""
    part = client.get("/receipts/~export/", headers={"HX-Request": "true", "HX-Target": "export-files"}).text
    url = re.findall(r'href="(/receipts/~export/[^"]*/file/)"', part)[0]
    had = bytearray()
    with client.stream("GET", url) as answer:
        etag = answer.raise_for_status().headers["ETag"]
        for data in answer.iter_raw():
            had += data
            if len(had) > RANGE_BYTES:
                break
    with client.stream("GET", url, headers={"Range": f"bytes={len(had)}-", "If-Range": etag}) as answer:
        if answer.status_code != 206:
            raise RuntimeError(f"the download does not resume: {answer.status_code}")
        for data in answer.iter_raw():
            had += data
    return bytes(had)


WEB, WORKER = "granian", "worker"


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """The highest memory of each process meanwhile, in MiB, looked at twenty times a second."""
    peaks = {WEB: 0.0, WORKER: 0.0}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for name in peaks:
                peaks[name] = max(peaks[name], _mib(name))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        over.set()
        watcher.join()


def _mib(name: str) -> float:
    """The resident memory of our largest process of that name."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if name in " ".join(child.cmdline()):
                found.append(child.memory_info().rss / 2**20)
        except psutil.Error:
            continue
    return round(max(found, default=0.0), 1)


def say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
