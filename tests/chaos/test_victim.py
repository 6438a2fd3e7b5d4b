"""Ten thousand forged posts in a node's name change nothing of it, and use up none of what it may send.

They go through the lane, from several connections at once, each with another webhook-id and a wrong HMAC.
JATEVO_CHAOS_FORGED is their number.
"""

import base64
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.chaos.insistent_node import InsistentNode
from tests.chaos.person import Person
from tests.chaos.supervised import SupervisedConsole

FORGED = int(os.environ.get("JATEVO_CHAOS_FORGED", "10000"))
CONNECTIONS = 8
WHILE_THE_VICTIM_POSTS = FORGED // 10
SECONDS_BETWEEN_ITS_POSTS = 0.25  # of ten heartbeats and five receipts a second that it may send
FIGURES = """
    SELECT status, status_since, reputation, last_heartbeat_at, last_heartbeat_ts, last_metrics, beats, token_version,
           (SELECT count(*) FROM nodes_nodetransition t WHERE t.node_id = n.id),
           (SELECT count(*) FROM receipts_refusedreceipt f WHERE f.node_id = n.id)
    FROM nodes_node n WHERE id = %s
"""


@pytest.fixture(scope="module")
def console() -> Iterator[SupervisedConsole]:
    made = SupervisedConsole()
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def victim(console: SupervisedConsole) -> Iterator[InsistentNode]:
    with closing(Person(console, "operator")) as operator, closing(Person(console, "admin")) as admin:
        org = operator.request("GET", "/v1/users/me")["org"]["id"]
        enrolment = admin.request("POST", "/v1/enrollments", json={"uses": 1, "org": org})
    node = InsistentNode(console.url, "victim", enrolment["token"], lane=console.lane)
    assert node.beat().status_code == 200
    console.put_in_service()
    with console.database() as connection:
        connection.execute("UPDATE nodes_node SET reputation = 71.25")
    yield node
    node.abandon()


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_forged_posts_harm_no_node(
    console: SupervisedConsole, victim: InsistentNode, capsys: pytest.CaptureFixture[str]
) -> None:
    receipt = victim.receipt()
    before = figures(console)
    began = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as forgers:
        answers = sum(forgers.map(forge(console, receipt), shares(FORGED)), Counter[int]())
        seconds = time.monotonic() - began
        assert figures(console) == before
        assert victim.beat().status_code == 200
        assert victim.send("/v1/receipts", receipt).status_code == 201

        underway = [
            forgers.submit(forge(console, receipt), share) for share in shares(WHILE_THE_VICTIM_POSTS)
        ]
        own: Counter[int] = Counter()
        while not all(each.done() for each in underway):
            own[victim.beat().status_code] += 1
            own[victim.send("/v1/receipts", victim.receipt()).status_code] += 1
            time.sleep(SECONDS_BETWEEN_ITS_POSTS)
        answers += sum((each.result() for each in underway), Counter[int]())
    with capsys.disabled():
        print(
            f"\n{answers.total()} forged posts {dict(answers)}, {FORGED / seconds:.0f} a second; "
            f"the victim's own meanwhile {dict(own)}"
        )
    assert set(answers) == {401}
    assert set(own) == {200, 201}
    status, _, reputation, *_, refused = figures(console)
    assert (status, float(reputation), refused) == ("active", 71.25, 0)


def shares(count: int) -> list[range]:
    return [range(number, count, CONNECTIONS) for number in range(CONNECTIONS)]


def forge(console: SupervisedConsole, receipt: bytes) -> Callable[[range], Counter[int]]:
    """Posts heartbeats and receipts by turns, as the victim but for the key of the HMAC."""

    def post(numbers: range) -> Counter[int]:
        answers: Counter[int] = Counter()
        with httpx.Client(base_url=console.lane, timeout=30, trust_env=False) as client:
            for number in numbers:
                now = time.time()
                beat = json.dumps({"node_id": "victim", "ts": now, "metrics": {"uptime": 0}}).encode()
                path, body = (("/v1/nodes/heartbeat", beat), ("/v1/receipts", receipt))[
                    number // CONNECTIONS % 2
                ]
                headers = {
                    "Content-Type": "application/json",
                    "X-Node-Id": "victim",
                    "webhook-id": f"msg_{number}",
                    "webhook-timestamp": str(int(now)),
                    "webhook-signature": "v1," + base64.b64encode(os.urandom(32)).decode(),
                }
                answers[client.post(path, content=body, headers=headers).status_code] += 1
        return answers

    return post


def figures(console: SupervisedConsole) -> tuple[Any, ...]:
    with console.database() as connection:
        found = connection.execute(FIGURES, ["victim"]).fetchone()
    assert found is not None
    return found
