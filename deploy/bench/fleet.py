"""`python -m bench.fleet`: a fleet's heartbeats and receipts on services of this machine, while people watch the pages.

Measures once the worker is done with the receipts that were seeded.
Everything runs on this machine: the fleet, web, lane, worker and stores. Prints Markdown. Ends with 1 if a heartbeat
missed its deadline, a node went offline or a receipt is missing.
"""

import argparse
import asyncio
import base64
import json
import os
import platform
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import psycopg
from nacl.signing import SigningKey

from bench import consoles
from bench.accrual import DEFAULT_RATE
from bench.backlog import wait_until_accrued, wait_until_searchable
from bench.busy import Busy
from bench.cases import Case, yardstick
from bench.machines import Answer, Machine, Sender, heartbeat, receipt
from bench.measuring import RoleClients, Times, note, percentile
from bench.usage import Usage, part_of_console
from jatevo.local import stores
from jatevo.local.history.fleet import digest_of
from jatevo.local.lock import sole_console
from jatevo.local.steps import Steps
from nodes.rules.credentials import derive_secret

INTERVAL_SECONDS = 10.0  # between the heartbeats of a node, which are due this long after the one before
POLL_SECONDS = 5.0  # between the requests of an open page
SAMPLE_SECONDS = 5.0
BUSY_SAMPLE_SECONDS = 0.05
BUSIEST = 15  # statements that are printed
TICK_SECONDS = 0.01
READER_THREADS = 4
YARDSTICKS = 50
# The worker takes minutes for the receipts of ten thousand nodes.
ACCRUED_WITHIN_SECONDS = FILLED_WITHIN_SECONDS = 1800.0


@dataclass
class Samples:
    """What was seen every few seconds: the age of the oldest row in the outbox in seconds, and what each part uses."""

    outbox_seconds: list[float] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    busy: Busy = field(default_factory=Busy)


def main(words: Sequence[str] | None = None) -> int:
    options = _options(words)
    steps = Steps(sys.stderr)
    with tempfile.TemporaryDirectory(prefix="jatevo-fleet-") as temporary, ExitStack() as running:
        home = stores.make_home(Path(temporary) / "console")
        running.enter_context(sole_console(home))
        with steps.step("PostgreSQL and Valkey"):
            servers = stores.start(home)
            running.callback(servers.stop)
        env = _environment(servers)
        with steps.step("ClickHouse"):
            env["CLICKHOUSE_URL"] = running.enter_context(consoles.clickhouse(home))
        with steps.step("Migrations"):
            consoles.django_command("migrate", "-v0", env=env)
            consoles.django_command("metrics_migrate", env=env)
        with steps.step(f"Seeding {options.nodes:,} nodes"):
            words = ["--nodes", str(options.nodes), "--days", "1", "--seed", str(options.seed), "--i-know"]
            consoles.load(*words, env=env)
            with psycopg.connect(env["DATABASE_URL"], autocommit=True) as database:
                database.execute(DEFAULT_RATE)
        machines = _machines(env, options.seed)
        with steps.step("The console: web, worker and lane"):
            log = home / "logs" / "bench.log"
            base = running.enter_context(consoles.services(env, log, niceness=options.nice))
            lane = running.enter_context(
                consoles.lane(env, log, processes=options.lanes, niceness=options.nice)
            )
        with steps.step("Accruing what was seeded"):
            wait_until_accrued(env, steps, within_seconds=ACCRUED_WITHIN_SECONDS)
        with steps.step("The search of receipts is filled"):
            wait_until_searchable(env, steps, within_seconds=FILLED_WITHIN_SECONDS)
        logins = json.loads((home / "credentials.json").read_text())
        healthz = _healthz(base)
        facts, wrong = _measure(options, env, base, lane, machines, logins, steps)
        facts["/healthz before, ms"] = _spread(healthz)
        facts |= {f"log: {event}": str(count) for event, count in _warnings(log).most_common(BUSIEST)}
        print(
            "\n".join(
                ["| what | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in facts.items())]
            )
        )
        for line in wrong:
            print(f"WRONG: {line}")
    return 1 if wrong else 0


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.fleet", description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--receipts-per-second", type=float, default=200.0)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument(
        "--connections", type=int, default=128, help="requests to the lane at a time, as of a proxy"
    )
    parser.add_argument("--lanes", type=int, default=1, help="processes of the lane")
    parser.add_argument("--nice", type=int, default=0, help="how nice lane and worker are to web processes")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--warm-up-minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(words)


def _environment(servers: stores.Stores) -> dict[str, str]:
    env = {**os.environ, **servers.environment(), **consoles.SETTINGS, "PORT": str(consoles.free_port())}
    del env["JATEVO_OFFLINE_AFTER_SECONDS"]  # here the nodes are heard
    env["PYTHONPATH"] = os.pathsep.join([str(consoles.BASE_DIR), str(consoles.BASE_DIR / "deploy")])
    env |= {"DJANGO_SETTINGS_MODULE": "jatevo.settings", "JATEVO_EMBEDDED": "0"}
    # the fleet has one address here
    return env | {
        "JATEVO_LIMIT_ADDRESS": "1000000/second",
        "JATEVO_STATIC_ROOT": str(servers.home / "static"),
    }


def _machines(env: dict[str, str], seed: int) -> list[Machine]:
    """All nodes of the fleet but those in quarantine, whose audits nobody answers here."""
    master_key = base64.b64decode(env["JATEVO_MASTER_KEY"])
    with psycopg.connect(env["DATABASE_URL"]) as database:
        rows = database.execute(
            "SELECT id, token_version, region, models_offered[1] FROM nodes_node WHERE status IN ('active', 'offline')"
            " ORDER BY md5(id)"
        ).fetchall()
    return [
        Machine(
            node_id,
            derive_secret(master_key, "node", node_id, version),
            SigningKey(digest_of("key", node_id, seed=seed)),
            region,
            model or "llama3.1-8b",
        )
        for node_id, version, region, model in rows
    ]


def _measure(
    options: argparse.Namespace,
    env: dict[str, str],
    base: str,
    lane: str,
    machines: Sequence[Machine],
    logins: dict[str, dict[str, str]],
    steps: Steps,
) -> tuple[dict[str, str], list[str]]:
    sender, over = Sender(lane, options.connections), threading.Event()
    samples, times = Samples(), [Times() for _ in range(READER_THREADS)]
    watched = _watched([machine.node_id for machine in machines[: options.readers]], options.readers)
    measuring = threading.Event()
    threads = [
        threading.Thread(
            target=_read, args=(base, logins, watched[number::READER_THREADS], each, measuring, over)
        )
        for number, each in enumerate(times)
    ]
    threads.append(threading.Thread(target=_sample, args=(env, samples, measuring, over)))
    with steps.step(f"{len(machines):,} nodes for {options.minutes:g} minutes"):
        for thread in threads:
            thread.start()
        try:
            begun, usage = asyncio.run(_drive(options, machines, sender, measuring))
        finally:
            over.set()
            for thread in threads:
                thread.join()
    seconds = time.monotonic() - begun
    used = _usage().since(usage)
    return _judged(options, env, machines, sender, samples, times, begun, seconds, used)


async def _drive(
    options: argparse.Namespace, machines: Sequence[Machine], sender: Sender, measuring: threading.Event
) -> tuple[float, Usage]:
    """Sends what is due, warms up, then measures. Returns when measuring began, and what was used until then."""
    draw = random.Random(options.seed)  # noqa: S311
    running = asyncio.create_task(sender.run())
    begun = time.monotonic()
    warm = begun + options.warm_up_minutes * 60
    until = warm + options.minutes * 60
    beats = receipts = 0
    usage = Usage()
    while (now := time.monotonic()) < until and not running.done():
        if now >= warm and not measuring.is_set():
            measuring.set()
            usage = _usage()
        while (due := begun + beats * INTERVAL_SECONDS / len(machines)) <= now:
            sender.send("/v1/nodes/heartbeat", machines[beats % len(machines)], heartbeat, due=due)
            beats += 1
        while (due := begun + receipts / options.receipts_per_second) <= now:
            sender.send("/v1/receipts", draw.choice(machines), receipt, due=due)
            receipts += 1
        await asyncio.sleep(TICK_SECONDS)
    while sender.waiting and time.monotonic() < until + INTERVAL_SECONDS and not running.done():
        await asyncio.sleep(TICK_SECONDS)
    await asyncio.sleep(1)  # for the last answers
    if running.done():
        running.result()
    running.cancel()
    return warm, usage


def _watched(node_ids: Sequence[str], readers: int) -> list[Case]:
    """What each reader's open page asks for, time and again."""
    pages = [
        Case("pages", "Overview, anybody", "/", "nobody", target="overview-live"),
        Case("pages", "Overview, admin", "/", "admin", target="overview-live"),
        Case("pages", "nodes", "/nodes/?sort=-p95", "admin", target="nodes-list"),
        Case("pages", "nodes, operator", "/nodes/?mine=1", "operator", target="nodes-list"),
        Case("pages", "receipts", "/receipts/", "admin", target="receipts-list"),
        Case("pages", "receipts, operator", "/receipts/", "operator", target="receipts-list"),
        Case("pages", "earnings, operator", "/earnings/", "operator", target="earnings-summary"),
        *(
            Case("pages", "a node", f"/nodes/{node_id}/", "admin", target="node-status")
            for node_id in node_ids[:3]
        ),
    ]
    return [pages[number % len(pages)] for number in range(readers)]


def _read(
    base: str,
    logins: dict[str, dict[str, str]],
    cases: Sequence[Case],
    times: Times,
    measuring: threading.Event,
    over: threading.Event,
) -> None:
    """Several readers, one after the other, each every few seconds."""
    me = RoleClients(base, logins)
    due, number = time.monotonic(), 0
    while cases and not over.wait(max(0.0, due - time.monotonic())):
        case = cases[number % len(cases)]
        milliseconds, answer = me.ask(case)
        if measuring.is_set():
            note(times, case, milliseconds, answer)
        due, number = due + POLL_SECONDS / len(cases), number + 1
    me.close()


def _sample(env: dict[str, str], samples: Samples, measuring: threading.Event, over: threading.Event) -> None:
    age = "SELECT COALESCE(extract(epoch FROM now() - min(created_at)), 0) FROM metrics_outbox WHERE poisoned IS NULL"
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as database:
        due = time.monotonic()
        while not over.wait(BUSY_SAMPLE_SECONDS):
            if measuring.is_set():
                samples.busy.look(database)
            if measuring.is_set() and time.monotonic() >= due:
                due = time.monotonic() + SAMPLE_SECONDS
                ((seconds,),) = database.execute(age).fetchall()
                samples.outbox_seconds.append(float(seconds))
                samples.usage.append(_usage())


def _usage() -> Usage:
    return Usage.now("the fleet and the readers", part_of_console)


def _judged(
    options: argparse.Namespace,
    env: dict[str, str],
    machines: Sequence[Machine],
    sender: Sender,
    samples: Samples,
    times: Sequence[Times],
    begun: float,
    seconds: float,
    used: Usage,
) -> tuple[dict[str, str], list[str]]:
    beats, receipts = (
        [answer for answer in sender.answers.get(path, []) if answer.due >= begun]
        for path in ("/v1/nodes/heartbeat", "/v1/receipts")
    )
    # A heartbeat's deadline is the moment at which the node's next one is due.
    missed = [each for each in beats if each.status != 200 or each.ended - each.due > INTERVAL_SECONDS]
    acknowledged = sum(each.status == 201 for each in sender.answers.get("/v1/receipts", []))
    offline, stored = _afterwards(env)
    pages = [value for each in times for value in each.of(each.by_case)]
    failures = [line for each in times for line in each.failures]
    facts = {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "nodes, seconds": f"{len(machines):,}, {seconds:.0f}",
        "heartbeats a second, answered after ms": _stream(beats, seconds),
        "p95 of heartbeats in each minute, ms": _by_minute(beats, begun),
        "receipts a second, answered after ms": _stream(receipts, seconds),
        "deadlines missed": f"{len(missed):,}",
        "nodes that went offline": str(offline),
        "receipts acknowledged, on record": f"{acknowledged:,}, {stored:,}",
        f"pages for {options.readers} readers, ms": f"{_spread(pages)} ({len(pages):,} requests)",
        "age of the outbox, s": f"p50 {percentile(samples.outbox_seconds, 0.5):.1f}, most {max(samples.outbox_seconds):.1f}",
        **{
            f"{part}, cores": f"{cpu / seconds:.2f}"
            for part, (cpu, _) in sorted(used.items())
            if cpu / seconds > 0.005
        },
        **{
            f"{part}, MB at the start, at the end": ", ".join(
                f"{each[part][1]:.0f}" for each in (samples.usage[0], samples.usage[-1])
            )
            for part in ("lane", "web", "worker")
        },
    }
    named = {name: [v for each in times for case, vs in each.by_case.items() if case.name == name for v in vs]
             for name in sorted({case.name for each in times for case in each.by_case})}  # fmt: skip
    facts |= {f"{name}, ms": _spread(values) for name, values in named.items()}
    facts |= {
        f"PostgreSQL: `{statement}`": f"{at_work:.2f} at a time, {on_cpu:.2f} on a processor"
        for statement, at_work, on_cpu in samples.busy.most(BUSIEST)
    }
    wrong = [f"a page: {line}" for line in failures[:5]]
    if missed:
        wrong.append(
            f"{len(missed):,} heartbeats missed their deadline: {Counter(each.status for each in missed)}"
        )
    if offline:
        wrong.append(f"{offline} nodes went offline")
    if acknowledged > stored:
        wrong.append(f"{acknowledged - stored} acknowledged receipts are not on record")
    return facts, wrong


def _afterwards(env: dict[str, str]) -> tuple[int, int]:
    """How many nodes went offline, and how many receipts of the run are on record."""
    with psycopg.connect(env["DATABASE_URL"]) as database:
        (counts,) = database.execute(
            "SELECT (SELECT count(*) FROM nodes_nodetransition WHERE to_status = 'offline' AND actor_kind = 'system'"
            " AND at > (SELECT min(accepted_at) FROM receipts_receipt WHERE request_id LIKE 'fleet%')),"
            " (SELECT count(*) FROM receipts_receipt WHERE request_id LIKE 'fleet%')"
        ).fetchall()
    return counts


def _healthz(base: str) -> list[float]:
    """Milliseconds of the server's cheapest answer, to compare machines."""
    visitors = RoleClients(base, {})
    found = [visitors.ask(yardstick())[0] for _ in range(YARDSTICKS)]
    visitors.close()
    return found


def _warnings(log: Path) -> Counter[str]:
    """What the console's processes have warned of, and how often."""
    found: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        if line.startswith("{") and (said := orjson.loads(line)).get("level") in (
            "warning",
            "error",
            "critical",
        ):
            found[f"{said['event'][:100]} {str(said.get('error', ''))[:100]}".strip()] += 1
    return found


def _by_minute(answers: Sequence[Answer], begun: float) -> str:
    minutes: dict[int, list[float]] = {}
    for each in answers:
        minutes.setdefault(int((each.due - begun) // 60), []).append((each.ended - each.due) * 1000)
    return ", ".join(f"{percentile(minutes[minute], 0.95):.0f}" for minute in sorted(minutes))


def _stream(answers: Sequence[Answer], seconds: float) -> str:
    took = [(each.ended - each.due) * 1000 for each in answers]
    statuses = Counter(each.status for each in answers if each.status not in (200, 201))
    return f"{len(answers) / seconds:,.0f}; {_spread(took)}" + (f"; {dict(statuses)}" if statuses else "")


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "none"
    return ", ".join(f"p{round(share * 100)} {percentile(values, share):.1f}" for share in (0.5, 0.95, 0.99))


if __name__ == "__main__":
    sys.exit(main())
