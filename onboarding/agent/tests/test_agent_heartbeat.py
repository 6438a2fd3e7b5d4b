"""Heartbeats: increasing times, the console's clock, refusals, the interval."""

import json
import time
from io import StringIO

import pytest
from fake_console import ConsoleForAgents, Reply, error
from jatevo_agent.clock import ConsoleClock
from registered_node import RegisteredNode


class StoppedClock(ConsoleClock):
    def now(self) -> float:
        return 1_000_000.0


def test_times_increase_even_when_the_clock_does_not(node: RegisteredNode, console: ConsoleForAgents) -> None:
    node.clock = StoppedClock()
    heartbeat = node.heartbeat()
    for _ in range(3):
        heartbeat.beat()
    assert [beat["ts"] for beat in console.heartbeats] == [1_000_000.0, 1_000_000.001, 1_000_000.002]


def test_times_rise_over_a_restart_with_a_clock_set_back(
    node: RegisteredNode, console: ConsoleForAgents
) -> None:
    last_ts = console.now() + 20
    node.heartbeat(last_ts=last_ts).beat()
    assert console.heartbeats[0]["ts"] > last_ts


def test_a_remembered_time_that_is_too_far_ahead_is_forgotten(
    node: RegisteredNode, console: ConsoleForAgents
) -> None:
    heartbeat = node.heartbeat(last_ts=console.now() + 120)
    assert heartbeat.beat() == 0
    assert heartbeat.beat() > 0
    assert console.heartbeats[0]["ts"] == pytest.approx(console.now(), abs=5)


def test_a_refused_time_is_replaced_by_the_consoles(node: RegisteredNode, console: ConsoleForAgents) -> None:
    console.heartbeats.append({"ts": console.now() + 20})  # this agent's memory of it is gone
    console.clock_offset_seconds = 25
    heartbeat = node.heartbeat()
    assert heartbeat.beat() == 0
    assert heartbeat.beat() > 0
    assert len(console.heartbeats) == 2


@pytest.mark.parametrize("offset_seconds", [3600.0, -3600.0])
def test_a_clock_that_is_off_is_corrected_by_the_answer(
    node: RegisteredNode, console: ConsoleForAgents, offset_seconds: float
) -> None:
    console.clock_offset_seconds = offset_seconds
    heartbeat = node.heartbeat()
    assert heartbeat.beat() == 0  # refused; tries again at once, with the console's time
    assert heartbeat.beat() > 0
    assert len(console.heartbeats) == 1
    assert console.heartbeats[0]["ts"] == pytest.approx(console.now(), abs=5)


def test_clock_skew_without_a_time_does_not_spin(node: RegisteredNode, console: ConsoleForAgents) -> None:
    console.next("heartbeat", *[error(401, "clock_skew")] * 3)
    heartbeat = node.heartbeat()
    assert all(heartbeat.beat() > 0 for _ in range(3))


def test_a_clock_just_beyond_the_tolerated_lead_is_corrected(
    node: RegisteredNode, console: ConsoleForAgents
) -> None:
    console.clock_offset_seconds = -31
    heartbeat = node.heartbeat()
    assert heartbeat.beat() == 0
    assert heartbeat.beat() > 0
    assert console.heartbeats[0]["ts"] == pytest.approx(console.now(), abs=5)


def test_the_nodes_statement_is_sent_until_one_is_accepted(
    node: RegisteredNode, console: ConsoleForAgents, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.statement = {"agent_version": "1.1.0", "attest": {"driver_version": "550"}, "concurrency": 8}
    console.next("heartbeat", error(503, "unavailable"))
    heartbeat = node.heartbeat()
    for _ in range(3):
        heartbeat.beat()
    sent = [json.loads(body) for body in console.bodies("heartbeat")]
    assert [{key: each.get(key) for key in node.statement} for each in sent[:2]] == [node.statement] * 2
    assert not sent[2].keys() & node.statement.keys()
    # an hour later it is told again, as it is then
    hour_later = time.monotonic() + 3601
    monkeypatch.setattr("jatevo_agent.heartbeat.time.monotonic", lambda: hour_later)
    node.statement = {"attest": {"driver_version": "560"}}
    heartbeat.beat()
    assert console.heartbeats[-1]["attest"] == {"driver_version": "560"}


def test_what_the_console_ignored_is_one_line(
    node: RegisteredNode, console: ConsoleForAgents, log: StringIO
) -> None:
    heartbeat = node.heartbeat()
    for ignored in (["a\u202eb"], ["a\u202eb"], None):
        reply = {"status": "active", "heartbeat_interval_s": 10, "ignored": ignored}
        console.next("heartbeat", Reply(200, reply))
        heartbeat.beat()
    lines = [line for line in log.getvalue().splitlines() if "ignored" in line]
    assert len(lines) == 1
    assert "202eb" in lines[0]
    assert "\u202e" not in lines[0]


def test_the_console_sets_the_interval(node: RegisteredNode, console: ConsoleForAgents) -> None:
    console.heartbeat_interval_seconds = 30
    assert 29 < node.heartbeat().beat() <= 30


@pytest.mark.parametrize(
    ("given", "used"), [(0.01, 1.0), (10**9, 300.0), (-5, 10.0), ("x", 10.0), (True, 10.0)]
)
def test_a_senseless_interval_is_bounded(
    node: RegisteredNode, console: ConsoleForAgents, given: object, used: float
) -> None:
    console.next("heartbeat", Reply(200, {"status": "active", "heartbeat_interval_s": given}))
    heartbeat = node.heartbeat()
    heartbeat.beat()
    assert heartbeat.interval_seconds == used


def test_an_outage_is_retried_within_the_interval(node: RegisteredNode, console: ConsoleForAgents) -> None:
    heartbeat = node.heartbeat()
    heartbeat.beat()
    console.stop()
    assert all(0 < heartbeat.beat() <= 10 for _ in range(8))
    console.start()
    heartbeat.beat()
    assert len(console.heartbeats) == 2


def test_retry_after_is_honoured(node: RegisteredNode, console: ConsoleForAgents) -> None:
    console.next("heartbeat", error(429, "rate_limited", retry_after=20))
    assert 20 <= node.heartbeat().beat() < 21


def test_a_refused_token_gets_advice_and_a_slow_pace(
    node: RegisteredNode, console: ConsoleForAgents, log: StringIO
) -> None:
    heartbeat = node.heartbeat(token="whsec_AAAA")
    assert [heartbeat.beat(), heartbeat.beat()] == [60, 60]
    lines = log.getvalue().splitlines()
    assert len(lines) == 1
    assert "get a new one there" in lines[0]
    assert "AAAA" not in lines[0]


def test_each_answer_is_noted_for_status(node: RegisteredNode, console: ConsoleForAgents) -> None:
    console.node_status = "active"
    heartbeat = node.heartbeat()
    heartbeat.beat()
    console.next("heartbeat", error(503, "unavailable", "no database"))
    heartbeat.beat()
    assert [(note["http_status"], note["outcome"], note["node_status"]) for note in node.noted] == [
        (200, "accepted", "active"),
        (503, "no database", None),
    ]


def test_a_change_of_status_is_one_line(
    node: RegisteredNode, console: ConsoleForAgents, log: StringIO
) -> None:
    heartbeat = node.heartbeat()
    for status in ["pending", "pending", "active", "active", "quarantine"]:
        console.node_status = status
        heartbeat.beat()
    lines = log.getvalue().splitlines()
    assert [line.rsplit("=", 1)[1] for line in lines] == ["pending", "active", "quarantine"]
