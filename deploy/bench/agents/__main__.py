"""`python -m bench.agents`: a thousand agents from one process work on a console of this machine for ten minutes.

Prints what came of it as Markdown. Ends with 1 if a heartbeat missed its deadline, a node went offline, or a
receipt was lost or counted twice.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench import consoles
from bench.agents.answering import health_endpoints
from bench.agents.fleet import Schedule, SimulatedAgent
from bench.measuring import percentile
from bench.usage import Usage
from jatevo.local import stores
from jatevo.local.lock import sole_console
from jatevo.local.steps import Steps

INTERVAL_SECONDS = 10.0
DRAIN_SECONDS = 60.0
ACTIVE_WITHIN_SECONDS = 300.0


def main() -> int:
    options = _options()
    steps = Steps(sys.stderr)
    with tempfile.TemporaryDirectory(prefix="jatevo-agents-") as temporary, ExitStack() as running:
        home = stores.make_home(Path(temporary) / "console")
        running.enter_context(sole_console(home))
        with steps.step("PostgreSQL and Valkey"):
            servers = stores.start(home)
            running.callback(servers.stop)
        env = {
            **os.environ,
            **servers.environment(),
            "PORT": str(consoles.free_port()),
            "PYTHONPATH": os.pathsep.join([str(consoles.BASE_DIR), str(consoles.BASE_DIR / "deploy")]),
            "DJANGO_SETTINGS_MODULE": "jatevo.settings",
            "JATEVO_LOG_LEVEL": "WARNING",
        }
        with steps.step("Migrations"):
            consoles.django_command("migrate", "-v0", env=env)
            consoles.django_command("metrics_migrate", env=env)
        given = _inside(env, "before", str(options.agents))
        with steps.step("The console starts"):
            base = running.enter_context(consoles.one_machine(env, home / "logs" / "bench.log"))
        facts, wrong = _work(options, steps, base, given, Path(temporary), env)
    print(
        "\n".join(
            ["| what | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in facts.items())]
        )
    )
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.agents", description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--requests-per-second", type=float, default=20.0, help="completed by all agents together"
    )
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _work(
    options: argparse.Namespace,
    steps: Steps,
    base: str,
    given: dict[str, Any],
    folder: Path,
    env: dict[str, str],
) -> tuple[dict[str, str], list[str]]:
    draw = random.Random(options.seed)  # noqa: S311
    http = httpx.Client(
        base_url=base, timeout=10, trust_env=False,
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
    )  # fmt: skip
    schedule = Schedule()
    keys: dict[str, Any] = {}
    with ExitStack() as running:
        running.callback(http.close)
        endpoints = running.enter_context(health_endpoints(keys))
        with steps.step(f"{options.agents:,} agents register"):
            agents = []
            for number in range(options.agents):
                agent = SimulatedAgent(
                    number, folder / "agents", http,
                    console=base, endpoints=endpoints, enrolment=given["enrolment"],
                )  # fmt: skip
                agents.append(agent)
                running.callback(agent.close)
                keys[agent.node_id] = agent.signing_key
        validator = running.enter_context(_validator(base, given, folder))
        schedule.start()
        running.callback(schedule.stop)
        beating = threading.Event()
        beating.set()
        for agent in agents:
            schedule.at(
                time.monotonic() + draw.uniform(0, INTERVAL_SECONDS), _beating(schedule, agent, beating)
            )
        with steps.step("All nodes become active"):
            _wait_until_active(base, env, options.agents)
        for agent in agents:
            agent.record.beats.clear()
        usage, begun = _usage(validator), time.monotonic()
        with steps.step(f"{options.minutes:g} minutes of work"):
            _complete(agents, schedule, draw, options, until=begun + options.minutes * 60)
        seconds = time.monotonic() - begun
        used = _usage(validator).since(usage)
        beating.clear()
        with steps.step("The last receipts are delivered"):
            _drain(agents, schedule)
        waiting, refused = sum(a.waiting() for a in agents), sum(a.refused() for a in agents)
        after = _inside(env, "after")
    return _judged(options, agents, schedule, after, used, seconds, waiting=waiting, refused=refused)


def _beating(schedule: Schedule, agent: SimulatedAgent, going: threading.Event) -> Any:
    def beat(due: float) -> None:
        delay = agent.beat(due)
        if going.is_set():
            schedule.at(time.monotonic() + delay, beat)

    return beat


def _delivering(schedule: Schedule, agent: SimulatedAgent) -> Any:
    def deliver(due: float) -> None:
        delay = agent.deliver()
        if delay is not None:
            schedule.at(time.monotonic() + delay, deliver)

    return deliver


def _complete(
    agents: list[SimulatedAgent],
    schedule: Schedule,
    draw: random.Random,
    options: argparse.Namespace,
    *,
    until: float,
) -> None:
    """Requests end at random, until that time. Each receipt is delivered at once."""
    due = time.monotonic()
    while (due := due + draw.expovariate(options.requests_per_second)) < until:
        time.sleep(max(0.0, due - time.monotonic()))
        agent = draw.choice(agents)
        agent.complete(draw)
        schedule.at(time.monotonic(), _delivering(schedule, agent))
    time.sleep(max(0.0, until - time.monotonic()))


def _drain(agents: list[SimulatedAgent], schedule: Schedule) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    while any(agent.waiting() for agent in agents) and time.monotonic() < deadline:
        for agent in agents:
            if agent.waiting():
                schedule.at(time.monotonic(), _delivering(schedule, agent))
        time.sleep(1)


def _wait_until_active(base: str, env: dict[str, str], wanted: int) -> None:
    deadline = time.monotonic() + ACTIVE_WITHIN_SECONDS
    while time.monotonic() < deadline:
        answer = httpx.get(f"{base}/v1/summary", trust_env=False, timeout=10)
        if answer.status_code == 200 and answer.json()["active_nodes"] == wanted:
            return
        time.sleep(2)
    raise RuntimeError(f"not all nodes are active: {_inside(env, 'after')['statuses']}")


class _validator:
    """The reference validator, as a process of its own. Gives its pid."""

    def __init__(self, base: str, given: dict[str, Any], folder: Path) -> None:
        self._command = [sys.executable, "-m", "nodes.validator", "--console", base, "--allow-private"]
        self._command += ["--validator-id", given["validator_id"]]
        self._env = {**os.environ, "JATEVO_VALIDATOR_TOKEN": given["validator_token"]}
        self._log = folder / "validator.log"

    def __enter__(self) -> int:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=consoles.BASE_DIR, env=self._env, stdout=log, stderr=log
            )
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)


def _usage(validator_pid: int) -> Usage:
    def part_of(process: psutil.Process, words: str) -> str:
        if process.pid == validator_pid:
            return "the validator"
        known = {"bench.serve": "the console", "postgres": "PostgreSQL", "valkey": "Valkey"}
        return next((part for word, part in known.items() if word in words), "other")

    return Usage.now("the agents' process", part_of)


def _judged(
    options: argparse.Namespace,
    agents: list[SimulatedAgent],
    schedule: Schedule,
    after: dict[str, Any],
    used: Usage,
    seconds: float,
    *,
    waiting: int,
    refused: int,
) -> tuple[dict[str, str], list[str]]:
    beats = [beat for agent in agents for beat in agent.record.beats]
    late = sorted(beat.began - beat.due for beat in beats)
    took = sorted(beat.ended - beat.began for beat in beats)
    statuses = Counter(beat.status for beat in beats)
    # A heartbeat's deadline is the moment at which the next one is due.
    missed = [beat for beat in beats if beat.status != 200 or beat.ended - beat.due > INTERVAL_SECONDS]
    completed = sum(agent.record.completed for agent in agents)
    facts = {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}",
        "agents, seconds": f"{len(agents):,}, {seconds:.0f}",
        "heartbeats answered": f"{statuses[200]:,} ({statuses[200] / seconds:.0f} a second)",
        "heartbeats not answered by 200": str({s: n for s, n in statuses.items() if s != 200} or 0),
        "began after its time, ms": _spread(late),
        "answered after, ms": _spread(took),
        "deadlines missed": str(len(missed)),
        "nodes that went offline": str(after["went offline"]),
        "nodes that left active": str(after["left active"]),
        "nodes at the end": str(after["statuses"]),
        "receipts completed, on record, distinct": f"{completed:,}, {after['receipts']:,}, {after['distinct receipts']:,}",
        **{
            f"{part}: CPU, memory": f"{cpu / seconds:.2f} cores, {memory:.0f} MB"
            for part, (cpu, memory) in used.items()
        },
    }
    wrong = []
    if missed:
        wrong.append(f"{len(missed)} heartbeats missed their deadline")
    if after["went offline"]:
        wrong.append(f"{after['went offline']} nodes went offline")
    if len(beats) < len(agents) * int(seconds // INTERVAL_SECONDS - 1):
        wrong.append(f"only {len(beats)} heartbeats were sent")
    if not completed == after["receipts"] == after["distinct receipts"] or waiting or refused:
        wrong.append(f"receipts differ; {waiting} wait, {refused} were refused")
    wrong += [f"an agent failed: {error!r}" for error in schedule.errors[:5]]
    return facts, wrong


def _spread(ordered: list[float]) -> str:
    shares = ", ".join(
        f"p{round(share * 100)} {percentile([each * 1000 for each in ordered], share):.0f}"
        for share in (0.5, 0.95, 0.99)
    )
    return f"{shares}, most {ordered[-1] * 1000:.0f}" if ordered else "none"


def _inside(env: dict[str, str], *words: str) -> dict[str, Any]:
    said = subprocess.run(
        [sys.executable, "-m", "bench.agents.inside", *words],
        cwd=consoles.BASE_DIR, env=env, check=True, capture_output=True,
    ).stdout  # fmt: skip
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
