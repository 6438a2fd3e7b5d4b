"""`python -m bench --home DIR`: seeds a fleet if the home is empty, measures the console, prints Markdown."""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg
import redis

from bench import cases, consoles, fleet, ingest, searches
from bench.backlog import wait_until_searchable
from bench.measuring import RoleClients, Times, measure, measure_together, note
from bench.report import BenchReport
from bench.scrolling import scroll
from jatevo.local import stores
from jatevo.local.lock import sole_console
from jatevo.local.steps import Steps

CLIENTS = 4
EARNINGS_ROUNDS = 20  # the fewest of which a p95 leaves one out
SEARCH_ROUNDS = 3  # of some hundred searches each
FILLED_WITHIN_SECONDS = 4 * 3600.0  # with ten million receipts

START = {False: consoles.one_machine, True: consoles.services}


def main() -> int:
    for word, other in (("--ingest", ingest), ("--fleet", fleet)):
        if word in sys.argv:
            return other.main([each for each in sys.argv[1:] if each not in (word, "--home", "")])
    options = _options()
    with tempfile.TemporaryDirectory(prefix="jatevo-bench-") as temporary:
        # With services, ClickHouse's data is deleted after the run, so the home is not kept either.
        kept = options.home if not options.services else ""
        home = stores.make_home(Path(kept or temporary))
        with sole_console(home):
            steps = Steps(sys.stderr)  # only the report goes to standard output
            with steps.step("PostgreSQL and Valkey"):
                servers = stores.start(home)
            try:
                report = _bench(home, servers, options, steps)
            finally:
                servers.stop()
    print(report.markdown())
    report.write(Path(options.out))
    return 0 if report.passed else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--home", default="", help="keep the seeded stores here for the next run (default: temporary)"
    )
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--services", action="store_true", help="use granian and a ClickHouse server; always seeds again"
    )
    parser.add_argument(
        "--quick", action="store_true", help="send a tenth of the requests, to check that it works"
    )
    parser.add_argument(
        "--earnings",
        type=int,
        default=0,
        metavar="RECEIPTS",
        help="instead: accrue so many invented receipts from nothing, then measure the pages of earnings over them",
    )
    parser.add_argument(
        "--only-pages",
        action="store_true",
        help="with --earnings: measure over what an earlier run has accrued",
    )
    parser.add_argument(
        "--searches",
        action="store_true",
        help="instead: measure the searches of receipts over those of the home (bench.load --signed-days)",
    )
    parser.add_argument(
        "--scroll",
        type=int,
        default=0,
        metavar="ROWS",
        help="with --earnings or --searches: afterwards scroll so many rows of the list of receipts in chromium",
    )
    parser.add_argument(
        "--ingest",
        action="store_true",
        help="instead: load what machines post, beside a peer (bench.ingest, which has options of its own)",
    )
    parser.add_argument(
        "--fleet",
        action="store_true",
        help="instead: ten thousand nodes and twenty readers at once (bench.fleet, which has options of its own)",
    )
    parser.add_argument("--out", default="build/bench.json", help="where the figures go as JSON")
    return parser.parse_args()


def _bench(home: Path, servers: stores.Stores, options: argparse.Namespace, steps: Steps) -> BenchReport:
    env = {**os.environ, **servers.environment(), **consoles.SETTINGS, "PORT": str(consoles.free_port())}
    env["PYTHONPATH"] = os.pathsep.join([str(consoles.BASE_DIR), str(consoles.BASE_DIR / "deploy")])
    env["DJANGO_SETTINGS_MODULE"] = "jatevo.settings"
    mode = "services" if options.services else "one machine"
    report = BenchReport(
        f"{options.nodes:,} nodes, {options.days} days, {mode}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        facts={
            "machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GB, "
            f"Python {platform.python_version()}",
            "load average at the start": f"{os.getloadavg()[0]:.1f}",
        },
    )
    with ExitStack() as running:
        steps.say(report.title)
        if options.services:
            url = running.enter_context(consoles.clickhouse(home))
            env |= {"CLICKHOUSE_URL": url, "JATEVO_EMBEDDED": "0", "JATEVO_STATIC_ROOT": str(home / "static")}
        _fill(env, options, report, steps)
        if options.searches:
            report.facts["receipts"] = "those of the home"
        elif options.earnings and options.only_pages:
            report.facts["receipts"] = "as an earlier run accrued them"
        elif options.earnings:
            _accrue(env, options, report, steps)
        else:
            inside = [sys.executable, "-m", "bench.inside"]
            with steps.step("The worker's jobs over all nodes"):
                said = subprocess.run(
                    inside, cwd=consoles.BASE_DIR, env=env, check=True, capture_output=True
                ).stdout
            report.facts |= json.loads(said.splitlines()[-1])
        with steps.step("The console starts"):
            base = running.enter_context(START[options.services](env, home / "logs" / "bench.log"))
        logins = json.loads((home / "credentials.json").read_text())
        measured = (
            _measure_searches if options.searches else _measure_earnings if options.earnings else _measure
        )
        measured(base, logins, env, options, report, steps)
        if options.scroll:
            with steps.step(f"Scrolling over {options.scroll:,} receipts"):
                report.facts |= scroll(base, logins["admin"], options.scroll, say=steps.say)
        report.facts["load average at the end"] = f"{os.getloadavg()[0]:.1f}"
    return report


def _accrue(env: dict[str, str], options: argparse.Namespace, report: BenchReport, steps: Steps) -> None:
    """Invents receipts and times their accrual. What it says as it goes, goes to the terminal."""
    with steps.step(f"Accruing {options.earnings:,} receipts"):
        said = subprocess.run(
            [
                sys.executable,
                "-m",
                "bench.accrual",
                "--receipts",
                str(options.earnings),
                "--days",
                str(options.days),
            ],
            cwd=consoles.BASE_DIR,
            env=env,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
    report.facts |= {name: str(value) for name, value in json.loads(said.splitlines()[-1]).items()}


def _measure_searches(
    base: str,
    logins: dict[str, dict[str, str]],
    env: dict[str, str],
    options: argparse.Namespace,
    report: BenchReport,
    steps: Steps,
) -> None:
    draw = random.Random(options.seed)  # noqa: S311
    me = RoleClients(base, logins)
    rounds = 2 if options.quick else SEARCH_ROUNDS
    with psycopg.connect(env["DATABASE_URL"]) as database:
        ((org, nodes),) = database.execute(
            "SELECT org_id::text, (SELECT count(*) FROM nodes_node n WHERE n.org_id = u.org_id) FROM accounts_user u"
            " WHERE email = %s",
            [logins["operator"]["email"]],
        ).fetchall()
        report.facts["nodes of the operator"] = str(nodes)
        values = {"admin": searches.values_of(database, None), "operator": searches.values_of(database, org)}
        lookups = searches.lookups(database)
    begun = time.monotonic()
    with steps.step("The search of receipts is filled"):
        wait_until_searchable(env, steps, within_seconds=FILLED_WITHIN_SECONDS)
    report.facts["the search of receipts was filled in, s"] = f"{time.monotonic() - begun:.0f}"
    with steps.step("Finding the hundredth pages"):
        far = 6 if options.quick else 30
        pages = [
            case
            for role in values
            for case in searches.pages(me, values[role], role, draw, steps.say, far=far)
        ]
    with steps.step("First and hundredth pages, lookups"):
        measure(me, [cases.yardstick(), *lookups, *pages], rounds=1, draw=draw)
        asked = [*pages, *lookups, *[cases.yardstick()] * 20]
        report.add(measure(me, asked, rounds=rounds, draw=draw, say=steps.say))
    for group, limit_ms in (
        ("totals, cold", searches.TOTALS_COLD_MS),
        ("totals, warm", searches.TOTALS_WARM_MS),
    ):
        asked = [
            case
            for role in values
            for case in searches.totals(values[role], role, draw, limit_ms=limit_ms, group=group)
        ]
        with steps.step(group.capitalize()), redis.Redis.from_url(env["REDIS_URL"]) as cache:
            report.add(_totals(me, asked, rounds, cache if "cold" in group else None))
    me.close()


def _totals(visitors: RoleClients, asked: list[cases.Case], rounds: int, cache: redis.Redis | None) -> Times:
    """Each of the totals several times: with an empty cache, or straight after the same question."""
    times = Times()
    for case in asked * rounds:
        if cache is not None:
            cache.flushall()
        else:
            visitors.ask(case)
        milliseconds, answer = visitors.ask(case)
        note(times, case, milliseconds, answer)
        if not searches.is_whole(answer.text):
            times.failures.append(f"{case.path} as {case.role}: no figures in time")
    return times


def _measure_earnings(
    base: str,
    logins: dict[str, dict[str, str]],
    env: dict[str, str],
    options: argparse.Namespace,
    report: BenchReport,
    steps: Steps,
) -> None:
    draw = random.Random(options.seed)  # noqa: S311
    me = RoleClients(base, logins)
    asked = [*cases.earnings(_some_nodes(env, 4, draw)), cases.yardstick()]
    with steps.step("Warming up"):
        measure(me, asked, rounds=2, draw=draw, say=steps.say)
    with steps.step("Pages and API of earnings"):
        rounds = 4 if options.quick else EARNINGS_ROUNDS
        report.add(measure(me, asked, rounds=rounds, draw=draw, say=steps.say))
    me.close()


def _fill(env: dict[str, str], options: argparse.Namespace, report: BenchReport, steps: Steps) -> None:
    """Loads a fleet into an empty home. If the home has a fleet, adds measurements until now."""
    with steps.step("Migrations"):
        consoles.django_command("migrate", "-v0", env=env)
        consoles.django_command("metrics_migrate", env=env)
    wish = ["--days", str(options.days), "--seed", str(options.seed), "--ahead-hours", "1", "--i-know"]
    if options.earnings:  # the receipts that count are written by bench.accrual
        wish += ["--receipts-per-node-day", "1"]
    with psycopg.connect(env["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT count(*) FROM nodes_node").fetchone()
    begun = time.perf_counter()
    if row is not None and row[0]:
        with steps.step("The seeded fleet goes on until now"):
            consoles.load("--extend", *wish, env=env)
        return
    with steps.step(f"Seeding {options.nodes:,} nodes, {options.days} days"):
        consoles.load("--nodes", str(options.nodes), *wish, env=env)
    report.facts["seeding, s"] = f"{time.perf_counter() - begun:.0f}"


def _measure(
    base: str,
    logins: dict[str, dict[str, str]],
    env: dict[str, str],
    options: argparse.Namespace,
    report: BenchReport,
    steps: Steps,
) -> None:
    draw = random.Random(options.seed)  # noqa: S311
    requests = 10 if options.quick else 1
    everybody = [RoleClients(base, logins) for _ in range(CLIENTS)]
    me = everybody[0]
    warm = [*cases.summaries(cases.WARM_MS, "warm"), cases.yardstick()]
    cold = cases.summaries(cases.COLD_MS, "cold")
    nodes = _some_nodes(env, 10 if options.quick else 50, draw)
    pages = [*cases.lists(), *cases.others()]
    with steps.step("Warming up"):  # imports, plans and templates of the first requests
        measure(me, [*warm, *pages], rounds=2, draw=draw)

    with steps.step("Summaries from the cache"):
        report.add(measure(me, warm, rounds=200 // requests, draw=draw))
    with steps.step("Summaries without a cache"), redis.Redis.from_url(env["REDIS_URL"]) as cache:
        report.add(measure(me, cold, rounds=max(3, 30 // requests), draw=draw, before_each=cache.flushall))
    with steps.step("Lists and pages"):
        report.add(measure(me, [*pages, cases.yardstick()], rounds=40 // requests, draw=draw))
    with steps.step(f"Drawers of {len(nodes)} nodes"):
        report.add(measure(me, cases.drawers(nodes), rounds=1, draw=draw))
    with steps.step("CSV of all nodes"):
        report.facts["CSV of all nodes, s"] = f"{_export_seconds(me, report):.2f}"
    # On two cores, several clients measure the queue as much as the pages, so no limit applies.
    with steps.step(f"Pages by {CLIENTS} clients at once"):
        busy = measure_together(
            everybody, [*warm, *pages], rounds=max(1, 5 // requests), seed=str(options.seed)
        )
    report.add(busy, suffix=f", {CLIENTS} clients", judged=False)
    for visitors in everybody:
        visitors.close()


def _some_nodes(env: dict[str, str], count: int, draw: random.Random) -> list[str]:
    with psycopg.connect(env["DATABASE_URL"]) as connection:
        rows = connection.execute("SELECT id FROM nodes_node ORDER BY id").fetchall()
    return draw.sample([row[0] for row in rows], min(count, len(rows)))


def _export_seconds(visitors: RoleClients, report: BenchReport) -> float:
    """The median of three exports."""
    times = Times()
    case = cases.Case("export", "CSV", "/nodes/~export.csv")
    for _ in range(3):
        milliseconds, answer = visitors.ask(case)
        note(times, case, milliseconds, answer)
    report.failures += times.failures
    return sorted(times.by_case[case])[1] / 1000


if __name__ == "__main__":
    sys.exit(main())
