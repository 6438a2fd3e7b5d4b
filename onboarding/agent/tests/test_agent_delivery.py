"""Delivery of receipts: the exact bytes, every possible answer of the console, the rate."""

from __future__ import annotations

import json
import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from fake_console import ConsoleForAgents, LoseAnswer, Reply, error
from jatevo_agent import delivery as delivery_module
from jatevo_agent.spool import Spool, SpoolCounts
from registered_node import NODE_ID, RegisteredNode


def test_one_receipt_is_sent_as_its_exact_bytes(node: RegisteredNode, console: ConsoleForAgents) -> None:
    (body,) = node.spool_receipts("r_1")
    node.deliver()
    assert console.bodies("receipts") == [body]
    assert console.receipts == {(NODE_ID, "r_1"): body}
    assert node.spool.counts() == SpoolCounts(spooled=0, refused=0, completed_total=1)


def test_a_batch_embeds_each_receipt_verbatim(node: RegisteredNode, console: ConsoleForAgents) -> None:
    bodies = node.spool_receipts("r_1", "r_2", "r_3", model_id="modèle 模型")
    node.deliver()
    assert console.bodies("receipts") == [b'{"receipts":[' + b",".join(bodies) + b"]}"]
    assert list(console.receipts.values()) == bodies
    assert node.spool.counts().spooled == 0


def test_a_batch_has_at_most_500_and_less_than_2_mib(node: RegisteredNode, console: ConsoleForAgents) -> None:
    node.spool_at_once(*(f"r_{number}" for number in range(501)))
    node.deliver()
    assert (len(console.receipts), node.spool.counts().spooled) == (500, 1)
    big = {"checkpoints": tuple([10_000_000] * 900)}
    node.spool_at_once(*(f"big_{number}" for number in range(300)), **big)
    while node.delivery.next_batch():
        node.deliver()
    assert len(console.receipts) == 801
    assert max(len(body) for body in console.bodies("receipts")) < 2 * 2**20


@pytest.mark.parametrize("count", [1, 3])
def test_a_lost_answer_costs_a_repeat_and_nothing_more(
    node: RegisteredNode, console: ConsoleForAgents, count: int
) -> None:
    bodies = node.spool_receipts(*(f"r_{number}" for number in range(count)))
    console.next("receipts", LoseAnswer())
    assert node.deliver() > 0
    assert node.spool.counts().spooled == count
    node.deliver()
    assert node.spool.counts() == SpoolCounts(spooled=0, refused=0, completed_total=count)
    assert list(console.receipts.values()) == bodies
    assert len(console.inserts) == len(console.duplicates) == count
    first, second = console.bodies("receipts")
    assert first == second


def test_a_conflict_is_set_aside_with_its_reason(node: RegisteredNode, console: ConsoleForAgents) -> None:
    console.receipts[NODE_ID, "r_1"] = b"something else"
    node.spool_receipts("r_1")
    node.deliver()
    assert node.spool.counts() == SpoolCounts(spooled=0, refused=1, completed_total=1)
    (refused,) = node.spool.refusals()
    assert (refused.status, refused.reason) == (409, "other content")


def test_one_bad_receipt_in_a_batch_does_not_hold_up_the_others(
    node: RegisteredNode, console: ConsoleForAgents
) -> None:
    console.judge = lambda receipt: (
        {"status": 422, "error": {"type": "invalid_request", "message": "too old"}}
        if receipt["request_id"] == "r_2"
        else None
    )
    node.spool_receipts("r_1", "r_2", "r_3")
    node.deliver()
    assert [request_id for _, request_id in console.receipts] == ["r_1", "r_3"]
    assert node.spool.counts() == SpoolCounts(spooled=0, refused=1, completed_total=3)
    assert [refusal.reason for refusal in node.spool.refusals()] == ["too old"]


@pytest.mark.parametrize("reply", [error(400, "invalid_json"), error(413, "too_large")])
def test_a_batch_refused_as_a_whole_is_halved_until_the_bad_receipt_is_alone(
    node: RegisteredNode, console: ConsoleForAgents, reply: Reply
) -> None:
    bodies = node.spool_receipts(*(f"r_{number}" for number in range(8)))

    def refuse_what_holds_the_third(raw: bytes) -> Reply | None:
        return reply if bodies[2] in raw else None

    console.refuse_body = refuse_what_holds_the_third
    for _ in range(20):
        if node.delivery.next_batch():
            node.deliver()
    assert set(console.inserts) == {f"r_{number}" for number in range(8)} - {"r_2"}
    assert node.spool.counts() == SpoolCounts(spooled=0, refused=1, completed_total=8)


def test_part_of_a_batch_put_off_is_tried_again(node: RegisteredNode, console: ConsoleForAgents) -> None:
    console.judge = lambda receipt: {"status": 503} if receipt["request_id"] == "r_2" else None
    node.spool_receipts("r_1", "r_2")
    assert node.deliver() > 0
    assert [item.request_id for item in node.delivery.next_batch()] == ["r_2"]
    console.judge = lambda receipt: None
    node.deliver()
    assert console.inserts == ["r_1", "r_2"]


def test_retry_after_is_honoured(node: RegisteredNode, console: ConsoleForAgents) -> None:
    node.spool_receipts("r_1")
    console.next("receipts", error(429, "rate_limited", retry_after=7))
    assert 7 <= node.deliver() < 8
    assert node.spool.counts().spooled == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_can_pass_is_retried_with_growing_pauses(
    node: RegisteredNode, console: ConsoleForAgents, status: int
) -> None:
    node.spool_receipts("r_1")
    console.next("receipts", *[error(status, "unavailable")] * 8)
    pauses = [node.deliver() for _ in range(8)]
    assert node.spool.counts() == SpoolCounts(spooled=1, refused=0, completed_total=1)
    assert pauses[0] <= 0.5
    assert 7.5 <= pauses[7] <= 15
    node.deliver()
    assert console.inserts == ["r_1"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_console_whose_clock_was_set_back_gets_the_receipts_later(
    node: RegisteredNode, console: ConsoleForAgents, count: int
) -> None:
    """The console refuses receipts of requests that ended after its clock says. They are not lost."""

    def refuse_the_future(receipt: dict[str, Any]) -> dict[str, Any] | None:
        late = receipt["ts_end"] > console.now() + 300
        reply = {"status": 422, "error": {"type": "invalid_request", "message": "in the future"}}
        return reply if late else None

    console.judge = refuse_the_future
    names = [f"r_{number}" for number in range(count)]
    node.spool_receipts(*names, ended_at=console.now())
    console.clock_offset_seconds = -600.0
    for _ in range(3):
        assert node.deliver() > 0
    node.spool_receipts("r_new", ended_at=console.now())
    node.deliver()
    assert console.inserts == ["r_new"]
    assert node.spool.counts() == SpoolCounts(spooled=count, refused=0, completed_total=count + 1)
    console.clock_offset_seconds = 0.0
    node.deliver()  # refused, and the clock is corrected
    node.deliver()
    assert console.inserts == ["r_new", *names]
    assert node.spool.counts() == SpoolCounts(spooled=0, refused=0, completed_total=count + 1)


def test_a_refused_token_keeps_the_receipts_and_asks_rarely(
    node: RegisteredNode, console: ConsoleForAgents, log: StringIO
) -> None:
    node.spool_receipts("r_1")
    wrong = node.delivery_with("whsec_AAAA")
    assert wrong.deliver(wrong.next_batch()) == 60
    assert "does not accept this node's receipts" in log.getvalue()
    assert node.spool.counts().spooled == 1
    assert console.receipts == {}


def test_a_replayed_request_is_no_conflict(node: RegisteredNode, console: ConsoleForAgents) -> None:
    """A proxy may repeat a request. The receipt is valid and is sent again under a new id."""
    node.spool_receipts("r_1")
    console.next("receipts", error(409, "replayed_request"))
    node.deliver()
    assert node.spool.counts() == SpoolCounts(spooled=1, refused=0, completed_total=1)
    node.deliver()
    assert console.inserts == ["r_1"]


@pytest.mark.parametrize("offset_seconds", [4000.0, -4000.0])
def test_a_clock_that_is_off_is_corrected_by_the_answer(
    node: RegisteredNode, console: ConsoleForAgents, offset_seconds: float
) -> None:
    console.clock_offset_seconds = offset_seconds
    node.spool_receipts("r_1")
    node.deliver()
    assert console.receipts == {}
    node.deliver()
    assert console.inserts == ["r_1"]
    assert node.clock.offset_seconds == pytest.approx(offset_seconds, abs=5)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"results": None},
        {"results": []},
        {"results": [{"request_id": "r_1", "status": 201}]},
        {"results": ["r_1", "r_2"]},
        {"results": [{"request_id": "r_2", "status": 201}, {"request_id": "r_1", "status": 201}]},
    ],
)
def test_an_answer_that_makes_no_sense_settles_nothing(
    node: RegisteredNode, console: ConsoleForAgents, document: dict[str, object]
) -> None:
    node.spool_receipts("r_1", "r_2")
    console.next("receipts", Reply(200, document))
    assert node.deliver() > 0
    assert node.spool.counts() == SpoolCounts(spooled=2, refused=0, completed_total=2)


def test_posts_keep_their_distance(node: RegisteredNode) -> None:
    node.spool_receipts("r_1")
    assert 0 < node.deliver() <= delivery_module.SECONDS_BETWEEN_POSTS


def test_a_new_receipt_is_delivered_at_once(node: RegisteredNode, console: ConsoleForAgents) -> None:
    thread = threading.Thread(target=node.delivery.run)
    thread.start()
    try:
        for number in range(3):
            node.spool_receipts(f"r_{number}")
            node.delivery.wake()
            console.wait_for_receipt(f"r_{number}", timeout_seconds=0.5)
    finally:
        node.stopping.set()
        node.delivery.wake()
        thread.join(2)
    assert not thread.is_alive()


def test_what_is_spooled_outlives_the_process(
    node: RegisteredNode, console: ConsoleForAgents, tmp_path: Path
) -> None:
    bodies = node.spool_receipts("r_1", "r_2")
    node.spool.close()
    node.spool = Spool(tmp_path / "spool.sqlite")
    node.delivery = node.delivery_with(node.token)
    node.deliver()
    assert list(console.receipts.values()) == bodies


def test_the_log_says_once_that_the_console_is_away(
    node: RegisteredNode, console: ConsoleForAgents, log: StringIO
) -> None:
    node.spool_receipts("r_1")
    console.stop()
    for _ in range(5):
        node.deliver()
    console.start()
    node.deliver()
    lines = log.getvalue().splitlines()
    assert len([line for line in lines if "cannot be reached" in line]) == 1
    assert len([line for line in lines if "delivered again" in line]) == 1
    assert console.inserts == ["r_1"]


def test_a_backlog_of_hours_arrives_once_each_through_every_kind_of_failure(
    node: RegisteredNode, console: ConsoleForAgents
) -> None:
    """1,200 receipts, a clock that is off, and an agent that is restarted between any two posts."""
    names = [f"r_{number}" for number in range(1200)]
    node.spool_at_once(*names)
    console.clock_offset_seconds = -4000.0
    node.deliver()  # refused, and the clock is corrected
    console.next(
        "receipts",
        error(503, "unavailable"),
        LoseAnswer(),
        error(429, "rate_limited", retry_after=0),
        LoseAnswer(),
        error(502, ""),
        Reply(200, {"results": []}),
        error(409, "replayed_request"),
    )
    for _ in range(30):
        if not node.delivery.next_batch():
            break
        node.deliver()
        node.delivery = node.delivery_with(node.token)
    assert node.spool.counts() == SpoolCounts(spooled=0, refused=0, completed_total=1200)
    assert sorted(console.inserts) == sorted(names)
    assert console.duplicates  # what a lost answer had already delivered


def test_a_receipts_log_line_cannot_be_forged(
    node: RegisteredNode, console: ConsoleForAgents, log: StringIO
) -> None:
    node.spool_receipts("r_1")
    console.next("receipts", error(422, "invalid_request", "bad\n2030-01-01T00:00:00Z error forged"))
    node.deliver()
    assert len(log.getvalue().splitlines()) == 1


def test_receipts_are_what_the_schema_asks(node: RegisteredNode) -> None:
    document = json.loads(node.receipt("r_1", ended_at=1736538502.1))
    assert document["ts_start"] == 1736538502
    assert document["ts_end"] == 1736538502
    assert "outcome" not in document
