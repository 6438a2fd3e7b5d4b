"""While thousands of requests run, agent, console and runtime are killed and every link is cut, delayed and corrupted.

Afterwards every completion that an agent wrote to a client's socket to its end has exactly one receipt, and no
receipt states more than was written. JATEVO_CHAOS_REQUESTS is the number of requests (default 5,000).
JATEVO_CHAOS_SEED repeats the moments of a run.
"""

import json
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from blake3 import blake3

from tests.browser.processes import free_port
from tests.chaos.agent.agent_process import KEY, NODE_ID, AgentProcess
from tests.chaos.agent.clients import Clients
from tests.chaos.agent.delivered import Delivery, read_delivery
from tests.chaos.agent.token_runtime import TokenRuntime
from tests.chaos.agent.unreliable_link import Trouble, UnreliableLink
from tests.chaos.console_process import ConsoleProcess
from tests.chaos.person import Person

REQUESTS = int(os.environ.get("JATEVO_CHAOS_REQUESTS", "5000"))
AT_ONCE = 24
SECONDS_BETWEEN_FAULTS = (1.0, 5.0)
# Most faults are the agent's: it has the most to lose.
FAULTS = ("agent", "agent", "agent", "runtime", "agent", "agent", "console", "runtime")
DELIVERED_WITHIN_SECONDS = 300.0
BETWEEN_CLIENT_AND_AGENT = Trouble(cut=0.1, corrupt=0.002, delay=0.02)
BETWEEN_AGENT_AND_RUNTIME = Trouble(cut=0.05, corrupt=0.0, delay=0.01)
BETWEEN_AGENT_AND_CONSOLE = Trouble(cut=0.1, corrupt=0.02, delay=0.1)


@pytest.fixture
def console() -> Iterator[ConsoleProcess]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = ConsoleProcess(port)
    process.start()
    yield process
    process.remove()


@pytest.mark.chaos
@pytest.mark.timeout(REQUESTS / 4 + 900)
def test_each_delivered_completion_has_one_receipt_that_states_no_more(
    console: ConsoleProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = os.environ.get("JATEVO_CHAOS_SEED") or str(random.SystemRandom().randrange(10**6))
    with closing(Person(console, "operator")) as operator:
        enrolment = operator.request("POST", "/v1/enrollments", json={"node_id": NODE_ID})["token"]
    with ExitStack() as running:

        def link(target_port: int, trouble: Trouble) -> UnreliableLink:
            made = UnreliableLink(target_port, trouble, f"{seed}/{target_port}")
            running.callback(made.close)
            return made

        runtime = TokenRuntime(free_port(), seed)
        running.callback(runtime.close)
        to_runtime = link(runtime.port, BETWEEN_AGENT_AND_RUNTIME)
        to_console = link(int(console.url.rpartition(":")[2]), BETWEEN_AGENT_AND_CONSOLE)
        agent = AgentProcess(
            tmp_path,
            console=f"http://127.0.0.1:{to_console.port}",
            runtime_port=to_runtime.port,
            enrolment=enrolment,
        )
        running.callback(agent.program.kill)
        to_agent = link(agent.port, BETWEEN_CLIENT_AND_AGENT)
        agent.start()
        agent.wait_until_it_serves(60)
        clients = Clients(to_agent.port, KEY, wanted=REQUESTS, at_once=AT_ONCE, seed=seed)
        clients.start()
        begun, faults = (
            time.monotonic(),
            _faults_until_done(clients, agent, runtime, console, random.Random(seed)),
        )
        seconds = time.monotonic() - begun
        to_console.trouble = to_runtime.trouble = None
        _wait_for_the_spool(agent)
        refused = agent.refused()
        agent.kill()
        deliveries = [read_delivery(bytes(each.written)) for each in to_agent.connections]
        receipts = _receipts(console)
        links = {"client": to_agent, "console": to_console, "runtime": to_runtime}

    delivered = {each.request_id: each for each in deliveries if each is not None and each.request_id}
    complete = {name for name, each in delivered.items() if each.is_completion}
    wrong = _wrong(delivered, receipts, clients.sent)
    with capsys.disabled():
        print(  # the figures are the point of this run
            f"\nseed {seed}: {clients.begun} requests in {seconds:.0f} s, {dict(clients.outcomes)}; "
            f"faults {dict(faults)}; "
            + "; ".join(
                f"{name} link {each.cuts} cuts, {each.corruptions} corruptions, {each.delays} delays"
                for name, each in links.items()
            )
            + f"; delivered to the end {len(complete)}, receipts {sum(map(len, receipts.values()))} "
            f"({dict(Counter(each.get('outcome', 'ok') for found in receipts.values() for each in found))}), wrong {len(wrong)}"
        )
    assert refused == []
    assert wrong == []
    assert len(complete) > REQUESTS / 3
    assert min(faults.values()) > 0


def _faults_until_done(
    clients: Clients, agent: AgentProcess, runtime: TokenRuntime, console: ConsoleProcess, dice: random.Random
) -> Counter[str]:
    """Kills, in turn, and starts again what was killed. Returns how often."""
    faults: Counter[str] = Counter(dict.fromkeys(FAULTS, 0))
    number = 0
    while not clients.are_done():
        time.sleep(dice.uniform(*SECONDS_BETWEEN_FAULTS))
        victim = FAULTS[number % len(FAULTS)]
        number += 1
        faults[victim] += 1
        if victim == "agent":
            agent.kill()
            agent.start()
        elif victim == "runtime":
            runtime.stop()
            time.sleep(dice.uniform(0.0, 1.0))
            runtime.start()
        else:
            console.kill(with_postgres=dice.random() < 0.5)
            console.start()
    return faults


def _wait_for_the_spool(agent: AgentProcess) -> None:
    deadline = time.monotonic() + DELIVERED_WITHIN_SECONDS
    while agent.waiting():
        assert agent.program.running(), f"the agent ended:\n{agent.program.last_words()}"
        assert time.monotonic() < deadline, f"{agent.waiting()} receipts wait:\n{agent.program.last_words()}"
        time.sleep(0.5)


def _receipts(console: ConsoleProcess) -> dict[str, list[dict[str, Any]]]:
    """The receipts on record, as they were signed, by request id."""
    found: dict[str, list[dict[str, Any]]] = {}
    with psycopg.connect(f"postgres://jatevo@/jatevo?host={console.home}/run/pg") as connection:
        for (raw,) in connection.execute("SELECT raw FROM receipts_receipt"):
            receipt = json.loads(bytes(raw))
            found.setdefault(receipt["request_id"], []).append(receipt)
    return found


def _wrong(
    delivered: dict[str, Delivery], receipts: dict[str, list[dict[str, Any]]], sent: dict[str, int]
) -> list[str]:
    wrong = []
    for request_id, delivery in delivered.items():
        found = receipts.get(request_id, [])
        if delivery.is_completion and [each.get("outcome", "ok") for each in found] != ["ok"]:
            wrong.append(f"{request_id}: delivered to its end, but its receipts are {found}")
    for request_id, found in receipts.items():
        if len(found) > 1:
            wrong.append(f"{request_id}: {len(found)} receipts")
        written = delivered.get(request_id)
        tokens = written.tokens if written else ()
        for receipt in found:
            stated = receipt["tokens_output"]
            if stated > len(tokens):
                wrong.append(f"{request_id}: {stated} tokens stated, {len(tokens)} delivered: {receipt}")
            elif receipt["output_hash"] != _hash(tokens[:stated]):
                wrong.append(f"{request_id}: its hash is not that of what was delivered: {receipt}")
            if receipt.get("outcome", "ok") == "ok" and stated != sent.get(request_id, stated):
                wrong.append(f"{request_id}: {stated} tokens stated, {sent[request_id]} generated")
    return wrong


def _hash(tokens: tuple[str, ...]) -> str:
    return "blake3:" + blake3("".join(tokens).encode()).hexdigest()
