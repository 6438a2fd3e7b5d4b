"""The validator's loop: what it probes and when, what it posts, and how it handles failures."""

import asyncio
import base64
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from nacl.signing import SigningKey

from nodes.rules.probes import ProbeKind
from nodes.validator.__main__ import main
from nodes.validator.console import Assignment, ValidatorClient
from nodes.validator.loop import (
    FIRST_BACKOFF_SECONDS,
    LONGEST_BACKOFF_SECONDS,
    Loop,
    backoff_seconds,
)
from nodes.validator.probe import AUDIT_CHALLENGES, Target
from nodes.validator.spacing import LEAST_SECONDS, PENDING_LEAST_SECONDS, Spacing
from tests.nodes.validator.fake_console import TOKEN, VALIDATOR_ID, ConsoleForValidators, assignment, console
from tests.nodes.validator.loopback_node import (
    PUBLIC_KEY,
    NodeRequestHandler,
    closed_port,
    honest,
    prober,
    serving,
)

DEADLINE_SECONDS = 10
OTHER_PUBLIC_KEY = bytes(SigningKey(bytes(range(1, 33))).verify_key)


def node(status: str, *due: ProbeKind, node_id: str = "n") -> Assignment:
    return Assignment(Target(node_id, "http://1.1.1.1", PUBLIC_KEY), status, frozenset(due))


def taken(spacing: Spacing, at: float, *nodes: Assignment) -> list[tuple[str, ProbeKind]]:
    return [(wish.target.node_id, kind) for wish, kind in spacing.take(nodes, at=at)]


def run_until(server: ConsoleForValidators, settled: Callable[[], bool], concurrency: int = 2) -> None:
    """Runs the loop until the console has received enough. Fails after the deadline."""

    async def run() -> None:
        client = ValidatorClient(url=server.url, validator_id=VALIDATOR_ID, token=TOKEN)
        loop = Loop(client, prober(), interval_seconds=0.01, concurrency=concurrency)
        running = asyncio.create_task(loop.run())
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not settled():
                    assert await asyncio.to_thread(server.heard.wait, DEADLINE_SECONDS)
                    server.heard.clear()
        finally:
            loop.stop()
            await running
            await client.aclose()

    asyncio.run(run())


@contextmanager
def process(url: str, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """The validator as a process, as its users start it."""
    command = [sys.executable, "-m", "nodes.validator", "--console", url, "--validator-id", VALIDATOR_ID]
    with subprocess.Popen(
        [*command, "--interval", "0.05", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JATEVO_VALIDATOR_TOKEN": TOKEN},
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


def test_wish_is_followed_at_once_and_then_not_before_the_least_time() -> None:
    for status, seconds in (("pending", PENDING_LEAST_SECONDS), ("active", LEAST_SECONDS)):
        spacing = Spacing()
        wish = node(status, ProbeKind.HEALTH)
        assert taken(spacing, 0, wish) == [("n", ProbeKind.HEALTH)]
        assert taken(spacing, seconds - 0.1, wish) == []
        assert taken(spacing, seconds, wish) == [("n", ProbeKind.HEALTH)]


def test_node_that_is_not_named_for_a_while_keeps_its_spacing() -> None:
    spacing = Spacing()
    assert taken(spacing, 0, node("active", ProbeKind.AUDIT))
    assert taken(spacing, 2) == []
    assert taken(spacing, 4, node("active", ProbeKind.AUDIT)) == []


def test_kinds_and_nodes_are_spaced_each_by_itself() -> None:
    spacing = Spacing()
    assert taken(spacing, 0, node("active", ProbeKind.AUDIT))
    assert taken(spacing, 1, node("active", ProbeKind.AUDIT, ProbeKind.LATENCY)) == [("n", ProbeKind.LATENCY)]
    assert taken(spacing, 1, node("active", ProbeKind.AUDIT, node_id="m")) == [("m", ProbeKind.AUDIT)]


def test_change_of_status_makes_a_wish_worth_following_at_once() -> None:
    spacing = Spacing()
    assert taken(spacing, 0, node("active", ProbeKind.HEALTH))
    assert taken(spacing, 1, node("active", ProbeKind.HEALTH)) == []
    assert taken(spacing, 2, node("pending", ProbeKind.HEALTH)) == [("n", ProbeKind.HEALTH)]


def test_only_what_the_console_wants_is_probed() -> None:
    assert taken(Spacing(), 0, node("active", ProbeKind.LATENCY)) == [("n", ProbeKind.LATENCY)]
    assert taken(Spacing(), 0, node("active")) == []


def test_pending_nodes_come_first() -> None:
    nodes = [node(status, ProbeKind.HEALTH, node_id=status) for status in ("active", "quarantine", "pending")]
    assert [node_id for node_id, _ in taken(Spacing(), 0, *nodes)] == ["pending", "quarantine", "active"]


def test_backoff_doubles_with_jitter_up_to_a_bound() -> None:
    assert backoff_seconds(1, spread=lambda: 1.0) == FIRST_BACKOFF_SECONDS
    assert backoff_seconds(1, spread=lambda: 0.0) == FIRST_BACKOFF_SECONDS / 2
    assert backoff_seconds(2, spread=lambda: 1.0) == FIRST_BACKOFF_SECONDS * 2
    assert backoff_seconds(500, spread=lambda: 1.0) == LONGEST_BACKOFF_SECONDS


def test_each_kind_is_probed_and_posted() -> None:
    with serving() as endpoint, console() as server:
        server.assignments = [assignment(endpoint.url, status="active", due=("health", "latency", "audit"))]
        run_until(server, lambda: len(server.probes) >= 3)
    assert {(probe["kind"], probe["ok"]) for probe in server.probes} == {
        ("health", True),
        ("latency", True),
        ("audit", True),
    }
    assert len(server.probes) == 3


def test_an_audit_that_did_not_reach_its_node_says_so() -> None:
    with console() as server:
        server.assignments = [
            assignment(f"http://127.0.0.1:{closed_port()}", status="active", due=("audit",))
        ]
        run_until(server, lambda: bool(server.probes))
    told = server.probes[0]
    assert (told["kind"], told["ok"], told["fault"]) == ("audit", False, "refused")
    assert told["detail"] == "connection refused"


def with_key(assigned: dict[str, object], public_key: bytes) -> dict[str, object]:
    return {**assigned, "public_key": "ed25519:" + base64.b64encode(public_key).decode()}


def test_node_that_has_just_changed_its_key_passes_its_audit() -> None:
    with console() as server:

        def respond(handler: NodeRequestHandler, nonce: str) -> None:
            server.assignments = [new]  # by the time of the audit, the console knows of the change
            honest(handler, nonce)

        with serving(respond) as endpoint:
            new = assignment(endpoint.url, status="active", due=("audit",))
            server.assignments = [with_key(new, OTHER_PUBLIC_KEY)]
            run_until(server, lambda: bool(server.probes))
    assert [(probe["kind"], probe["ok"]) for probe in server.probes] == [("audit", True)]


def test_node_that_signs_with_a_key_that_is_not_its_own_fails_its_audit() -> None:
    with serving() as endpoint, console() as server:
        assigned = assignment(endpoint.url, status="active", due=("audit",))
        server.assignments = [with_key(assigned, OTHER_PUBLIC_KEY)]
        run_until(server, lambda: bool(server.probes))
    (probe,) = server.probes
    assert (probe["kind"], probe["ok"], probe["fault"]) == ("audit", False, "bad_signature")
    assert len(endpoint.seen.paths) == 2 * AUDIT_CHALLENGES


def test_probe_survives_a_console_that_is_busy_for_a_moment() -> None:
    with serving() as endpoint, console() as server:
        server.assignments = [assignment(endpoint.url)]
        server.troubles["GET"] = [(429, "rate_limited", {})]
        server.troubles["POST"] = [(503, "unavailable", {}), (429, "rate_limited", {"Retry-After": "1"})]
        run_until(server, lambda: bool(server.probes))
    assert server.probes[0]["ok"] is True
    # Three posts, and one message to the console: repeats cannot be counted as three probes.
    assert len(server.message_ids["POST"]) == 3
    assert len(set(server.message_ids["POST"])) == 1


def test_probe_that_cannot_be_posted_is_dropped_and_work_goes_on() -> None:
    with serving() as endpoint, console() as server:
        server.assignments = [assignment(endpoint.url, due=("health", "latency"))]
        server.troubles["POST"] = [(500, "internal", {})] * 3
        run_until(server, lambda: bool(server.probes), concurrency=1)
    assert [probe["kind"] for probe in server.probes] == ["latency"]


def test_probe_that_the_console_refuses_is_not_repeated() -> None:
    with serving() as endpoint, console() as server:
        server.assignments = [assignment(endpoint.url, due=("health", "latency"))]
        server.troubles["POST"] = [(404, "not_found", {})]
        run_until(server, lambda: bool(server.probes), concurrency=1)
    assert [probe["kind"] for probe in server.probes] == ["latency"]
    assert len(server.message_ids["POST"]) == 2


def test_the_log_has_changes_and_not_probes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="jatevo.validator")
    with serving() as endpoint, console() as server:
        server.assignments = [assignment(endpoint.url, due=("health", "latency", "audit"))]
        run_until(server, lambda: len(server.probes) >= 3)
    assert sorted(caplog.messages) == [
        "console: connected",
        "macbook-001: pending, answers",
        "posts: delivered",
    ]


def test_program_probes_a_pending_node_and_stops_on_sigterm() -> None:
    started = time.monotonic()
    with serving() as endpoint, console() as server:
        server.assignments = [assignment(endpoint.url)]
        with process(server.url, "--allow-private") as running:
            assert server.heard.wait(DEADLINE_SECONDS)
            found_seconds = time.monotonic() - started
            running.send_signal(signal.SIGTERM)
            assert running.wait(timeout=30) == 0
    assert server.probes[0]["ok"] is True
    assert found_seconds < 5


def test_program_refuses_loopback_by_default() -> None:
    with serving() as endpoint, console() as server:
        server.assignments = [assignment(endpoint.url)]
        with process(server.url):
            assert server.heard.wait(DEADLINE_SECONDS)
    assert (server.probes[0]["ok"], server.probes[0]["detail"]) == (False, "endpoint address is not allowed")
    assert endpoint.seen.paths == []


def test_program_stops_in_time_while_a_node_hangs() -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(handler: object, nonce: str) -> None:
        asked.set()
        release.wait(DEADLINE_SECONDS)

    with serving(hang) as endpoint, console() as server:
        server.assignments = [assignment(endpoint.url)]
        with process(server.url, "--allow-network", "127.0.0.0/8") as running:
            assert asked.wait(DEADLINE_SECONDS)
            running.send_signal(signal.SIGTERM)
            assert running.wait(timeout=4) == 0  # the node itself would be waited for five seconds
        release.set()


def test_program_waits_for_a_console_that_comes_up_later() -> None:
    port = closed_port()
    with process(f"http://127.0.0.1:{port}", "--allow-private") as running:
        assert running.stderr is not None
        assert "cannot be reached" in running.stderr.readline()
        with serving() as endpoint, console(port) as server:
            server.assignments = [assignment(endpoint.url)]
            assert server.heard.wait(DEADLINE_SECONDS)


def test_missing_token_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JATEVO_VALIDATOR_TOKEN", raising=False)
    assert main(["--console", "http://127.0.0.1:1", "--validator-id", "v"]) == 2
    assert "JATEVO_VALIDATOR_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--console", "ftp://x"],
        ["--interval", "0"],
        ["--interval", "inf"],
        ["--concurrency", "0"],
        ["--allow-network", "10.0.0.1/8"],
    ],
)
def test_nonsense_on_the_command_line_is_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--console", "http://127.0.0.1:1", "--validator-id", "v", *options])
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_validator_does_not_load_django() -> None:
    code = "import sys, nodes.validator.__main__; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
