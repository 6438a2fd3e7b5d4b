"""Measures what machines post, beside a peer: `python -m bench.ingest`, or `make bench ARGS=--ingest`.

The peer is what one would build instead: FastAPI, asyncpg and Redis, in a folder with its load generator (`--peer`). All
run on this machine at the same time, on one PostgreSQL server that is durable, and are loaded in turn by wrk from the
same cores. What counts is the ratio of the medians in one run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from nacl.signing import SigningKey

from bench import consoles
from bench.usage import Usage, part_of_console
from jatevo.local import stores
from jatevo.local.steps import Steps

LIFTED = {
    f"JATEVO_LIMIT_{name}": "1000000/second"
    for name in ("NODE", "RECEIPTS", "ADDRESS", "REGISTER", "LOGIN_ADDRESS")
}
PEER_PROCESSES = 2
BATCH = 100
ENROLMENT_USES = 100_000
OWN_PART = "the generator"
NOTICED_SECONDS = 0.05
PEER, LANE, ENDPOINTS, ONE_MACHINE = "peer", "lane", "DRF endpoints", "one machine"


@dataclass
class Target:
    """Where to send the load. Its nodes are registered at `register`."""

    name: str
    base: str
    register: str
    token: str = "none"  # noqa: S105 - the peer asks for none


@dataclass
class Figures:
    """What each run printed, by kind and connections, and by target."""

    runs: dict[str, dict[str, list[dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def median(self, case: str, target: str, name: str) -> float | None:
        found = [run[name] for run in self.runs[case].get(target, ())]
        return statistics.median(found) if found else None


def main(words: Sequence[str] | None = None) -> int:
    options = _options(words)
    peer = Path(options.peer).resolve()
    steps = Steps(sys.stderr)
    if not (peer / "load.py").is_file():
        print(f"There is no load.py in {peer}. Name the folder of the peer with --peer.", file=sys.stderr)
        return 2
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="jatevo-bench-") as temporary:
        home = stores.make_home(Path(temporary))
        with steps.step("PostgreSQL and Valkey"):
            servers = stores.start(home)
        try:
            with ExitStack() as running:
                targets = _start(home, servers, peer, options, running, steps)
                _load(targets, peer, options, figures, steps)
        finally:
            servers.stop()
    with steps.step("What the cores can verify"):
        limit = verify_limit()
    print(_markdown(figures, limit, options))
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"verify_per_second": limit, "runs": figures.runs}, indent=1))
    return 0


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.ingest", description=__doc__)
    parser.add_argument("--peer", default=os.environ.get("BENCH_PEER", "../shared/bench"))
    parser.add_argument("--nodes", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--kinds", nargs="+", choices=["heartbeats", "receipts", "batches"],
                        default=["heartbeats", "receipts", "batches"])  # fmt: skip
    parser.add_argument("--targets", nargs="+", choices=[PEER, LANE, ENDPOINTS, ONE_MACHINE],
                        default=[PEER, LANE, ONE_MACHINE])  # fmt: skip
    parser.add_argument("--lanes", type=int, default=2, help="processes of the lane")
    parser.add_argument("--out", default="build/ingest.json", help="where the figures go as JSON")
    return parser.parse_args(words)


def _start(
    home: Path,
    servers: stores.Stores,
    peer: Path,
    options: argparse.Namespace,
    running: ExitStack,
    steps: Steps,
) -> list[Target]:
    """Starts what is measured. The console's parts share a database; the peer has its own."""
    env = {**os.environ, **servers.environment(), **consoles.SETTINGS, **LIFTED}
    env["PYTHONPATH"] = os.pathsep.join([str(consoles.BASE_DIR), str(consoles.BASE_DIR / "deploy")])
    env |= {"DJANGO_SETTINGS_MODULE": "jatevo.settings", "JATEVO_EMBEDDED": "0"}
    env |= {"JATEVO_STATIC_ROOT": str(home / "static"), "PORT": str(consoles.free_port())}
    log = home / "logs" / "bench.log"
    with steps.step("ClickHouse"):
        env["CLICKHOUSE_URL"] = running.enter_context(consoles.clickhouse(home))
    with steps.step("Migrations"):
        consoles.django_command("migrate", "-v0", env=env)
        consoles.django_command("metrics_migrate", env=env)
    with steps.step("The console: web, worker and lane"):
        web = running.enter_context(consoles.services(env, log))
        lane = running.enter_context(consoles.lane(env, log, processes=options.lanes))
        token = _enrolment(web, env)
    found = {LANE: Target(LANE, lane, web, token), ENDPOINTS: Target(ENDPOINTS, web, web, token)}
    if PEER in options.targets:
        with steps.step("The peer"):
            base = running.enter_context(_peer(peer, env, log))
            found[PEER] = Target(PEER, base, base)
    if ONE_MACHINE in options.targets:
        with steps.step("The console on one machine"):
            alone = env | {"PORT": str(consoles.free_port()), "JATEVO_EMBEDDED": "1"}
            base = running.enter_context(consoles.one_machine(alone, log))
            found[ONE_MACHINE] = Target(ONE_MACHINE, base, web, token)
    return [found[name] for name in options.targets]


def _enrolment(web: str, env: dict[str, str]) -> str:
    """A token with which the load generator registers its nodes."""
    words = ["create_user", "--email", "bench@example.org", "--role", "admin", "--org", "Bench"]
    said = subprocess.run(
        [sys.executable, "manage.py", *words], cwd=consoles.BASE_DIR, env=env, check=True,
        capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    with httpx.Client(base_url=web, timeout=60) as client:
        login = client.post("/v1/auth/login", json={"email": said[0], "password": said[1]}).raise_for_status()
        headers = {"Authorization": f"Bearer {login.json()['access']}"}
        made = client.post("/v1/enrollments", json={"uses": ENROLMENT_USES}, headers=headers)
        return str(made.raise_for_status().json()["token"])


@contextmanager
def _peer(folder: Path, env: dict[str, str], log: Path) -> Iterator[str]:
    """Runs the peer with its own packages and its own database on the same server. Yields its base URL."""
    venv = consoles.BASE_DIR / "build" / "peer-venv"
    uv = Path(sys.executable).with_name("uv")
    if not venv.exists():
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, venv], check=True)
    packages = ["-r", str(folder / "peer" / "requirements.txt"), "blake3"]
    subprocess.run([uv, "pip", "install", "-q", "--python", venv / "bin" / "python", *packages], check=True)
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as database:
        database.execute("CREATE DATABASE peer")
        info = database.info
        url = f"postgresql://{info.user}:{info.password}@/peer?host={info.host}&port={info.port}"
    port = str(consoles.free_port())
    words = ["app:app", "--workers", str(PEER_PROCESSES), "--port", port, "--log-level", "warning"]
    with log.open("ab") as out:
        child = subprocess.Popen(
            [venv / "bin" / "uvicorn", *words], cwd=folder / "peer", stdout=out, stderr=out,
            env=os.environ | {"PEER_DATABASE": url, "PEER_REDIS": env["REDIS_URL"]},
        )  # fmt: skip
        try:
            _wait(f"http://127.0.0.1:{port}/v1/receipts", child)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()
            child.wait(timeout=15)


def _wait(url: str, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + consoles.START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        try:
            httpx.get(url, timeout=5).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer.")


def _load(
    targets: Sequence[Target], peer: Path, options: argparse.Namespace, figures: Figures, steps: Steps
) -> None:
    cases = [(kind, connections) for kind in options.kinds for connections in options.connections]
    for kind, connections in cases:
        case = f"{kind}, {connections} connections"
        asked = [each for each in targets if kind != "batches" or each.name != PEER]
        for number in range(options.rounds):
            for target in asked:
                with steps.step(f"{case}: {target.name}, {number + 1} of {options.rounds}"):
                    run = _run(target, peer, kind, connections, options)
                    figures.runs[case][target.name].append(run)
                steps.say(
                    f"{run['per_second']:,.0f} a second, p50 {run['p50_ms']} ms, p99 {run['p99_ms']} ms; "
                    f"processor time of one, µs: {', '.join(f'{part} {us}' for part, us in run['cpu_us'].items())}"
                )


def _run(
    target: Target, peer: Path, kind: str, connections: int, options: argparse.Namespace
) -> dict[str, Any]:
    """One run of the load generator. Receipts in batches count singly."""
    batch = BATCH if kind == "batches" else 1
    words = ["--base", target.base, "--register", target.register, "--token", target.token]
    words += ["--kind", "receipts" if kind == "batches" else kind, "--batch", str(batch)]
    words += ["--nodes", str(options.nodes), "--seconds", str(options.seconds)]
    words += ["--connections", str(connections)]
    if kind != "receipts":  # its own 4,000 a second would run out
        words += ["--requests", str(10_000 * options.seconds // batch)]
    with subprocess.Popen(
        [sys.executable, peer / "load.py", *words], stdout=subprocess.PIPE, text=True
    ) as generator:
        _wait_for_wrk(generator)
        before = Usage.now(OWN_PART, _part_of)
        said, _ = generator.communicate()
    if generator.returncode:
        raise RuntimeError("The load generator failed.")
    used = Usage.now(OWN_PART, _part_of).since(before)
    run: dict[str, Any] = json.loads(said)
    run["per_second"] *= batch
    taken = max(1, run["acknowledged"] * batch)
    run["cpu_us"] = {
        part: round(cpu / taken * 1e6) for part, (cpu, _) in sorted(used.items()) if cpu >= NOTICED_SECONDS
    }
    return run


def _wait_for_wrk(generator: "subprocess.Popen[str]") -> None:
    """Until the generator has registered its nodes and signed its requests, or has ended."""
    process = psutil.Process(generator.pid)
    while generator.poll() is None and not process.children():
        time.sleep(0.05)


def _part_of(process: psutil.Process, words: str) -> str:
    if "app:app" in words:
        return "peer"
    return "the peer's PostgreSQL" if " peer " in words else part_of_console(process, words)


def verify_limit() -> float:
    """How many signatures a second all cores verify together, with PyNaCl."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores) as pool:
        return sum(pool.map(_verified_per_second, range(cores)))


def _verified_per_second(_: int, seconds: float = 3.0) -> float:
    key = SigningKey.generate()
    message = b"x" * 600
    signature = key.sign(message).signature
    count, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        for _ in range(100):
            key.verify_key.verify(message, signature)
        count += 100
    return count / seconds


def _markdown(figures: Figures, limit: float, options: argparse.Namespace) -> str:
    lines = [
        f"{options.nodes:,} nodes, medians of {options.rounds} runs of {options.seconds} s in turn; the cores verify "
        f"{limit:,.0f} signatures a second",
        "",
        "| what | target | a second | of the peer | p50 ms | p99 ms |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for case, by_target in figures.runs.items():
        of_peer = figures.median(case, PEER, "per_second")
        for target in by_target:
            rate = figures.median(case, target, "per_second") or 0.0
            share = f"{rate / limit:.0%} of the limit" if case.startswith("batches") else "—"
            ratio = f"{rate / of_peer:.2f}" if of_peer else share
            p50, p99 = (figures.median(case, target, name) for name in ("p50_ms", "p99_ms"))
            lines.append(f"| {case} | {target} | {rate:,.0f} | {ratio} | {p50:.1f} | {p99:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
