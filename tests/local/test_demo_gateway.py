"""The demo's gateway: it decides which request a node gets, and the console knows of it first."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jatevo.local import checks, demo_gateway
from jatevo.local.demo_gateway import HEDGE_WITHIN_SECONDS, USAGE_ERROR, Gateway
from nodes.tokens import sender_token
from receipts.models import Dispatch, DispatchConflict, DispatchWinner
from tests.factories import GatewayFactory
from tests.web.serving import BASE_DIR, ServerUnderTest, serving

AT = 1_790_000_000.0


class Console:
    """Takes what a gateway reports, or not."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.takes = True

    def __call__(self, statement: dict[str, Any]) -> bool:
        self.said.append(statement)
        return self.takes


@pytest.fixture
def always_hedged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_gateway, "HEDGED_SHARE", 1.0)


def test_the_console_hears_of_a_request_before_the_node_does() -> None:
    console = Console()
    request = Gateway(console).request_for("a", ["qwen3"], at=AT)
    assert request is not None
    assert console.said == [{**request, "node_id": "a", "ts": AT}]
    console.takes = False
    assert Gateway(console).request_for("a", ["qwen3"], at=AT) is None


def test_a_node_without_models_gets_nothing() -> None:
    console = Console()
    assert Gateway(console).request_for("a", [], at=AT) is None
    assert console.said == []


@pytest.mark.usefixtures("always_hedged")
def test_a_hedged_request_goes_to_two_nodes_with_the_model_and_the_first_answer_wins() -> None:
    console = Console()
    gateway = Gateway(console)
    first = gateway.request_for("a", ["qwen3"], at=AT)
    assert first is not None and first["hedged"] is True
    again = gateway.request_for("a", ["qwen3"], at=AT + 1)
    other = gateway.request_for("b", ["mistral"], at=AT + 2)
    assert again != first and other != first
    assert gateway.request_for("b", ["qwen3"], at=AT + 3) == first
    third = gateway.request_for("c", ["qwen3"], at=AT + 4)
    assert third not in (None, first)
    console.said.clear()
    gateway.answered("c", first["request_id"])
    gateway.answered("b", first["request_id"])
    gateway.answered("a", first["request_id"])
    assert console.said == [{"request_id": first["request_id"], "winner": "b"}]


@pytest.mark.usefixtures("always_hedged")
def test_a_hedged_request_does_not_wait_for_ever() -> None:
    gateway = Gateway(Console())
    first = gateway.request_for("a", ["qwen3"], at=AT)
    assert gateway.request_for("b", ["qwen3"], at=AT + HEDGE_WITHIN_SECONDS + 1) != first


@pytest.fixture
def console_port(transactional_db: None, tmp_path: Path) -> Iterator[int]:
    with serving(ServerUnderTest.WAITRESS, tmp_path) as port:
        yield port


@pytest.mark.timeout(900)
def test_the_process_reports_to_the_console_with_its_own_credentials(console_port: int) -> None:
    row = GatewayFactory.create(id="demo-gateway")
    with checks.claim_port(0) as claimed:
        port = claimed.getsockname()[1]
    command = [sys.executable, "-m", "jatevo.local.demo_gateway", "--gateway-id", row.pk]
    command += ["--console", f"http://127.0.0.1:{console_port}", "--listen", str(port)]
    env = {"PATH": os.environ["PATH"], "JATEVO_GATEWAY_TOKEN": sender_token(row)}
    process = subprocess.Popen(command, cwd=BASE_DIR, env=env)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            trust_env=False,
            timeout=20,
            transport=httpx.HTTPTransport(retries=8),
        ) as client:
            given = [
                client.post("/requests", json={"node_id": f"n-{number % 2}", "models": ["Qwen3:latest"]})
                for number in range(40)
            ]
            assert {answer.status_code for answer in given} == {200}
            requests = [answer.json() for answer in given]
            for request in requests:
                for node_id in ("n-0", "n-1"):
                    body = {"node_id": node_id, "request_id": request["request_id"]}
                    assert client.post("/answers", json=body).status_code == 204
            for wrong in ("/requests", "/answers", "/other"):
                assert client.post(wrong, json=[1]).status_code == 400
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
    dispatched = Dispatch.objects.all()
    assert {row.request_id for row in dispatched} == {request["request_id"] for request in requests}
    assert {(row.model, row.gateway_id) for row in dispatched} == {("qwen3", "demo-gateway")}
    assert all(abs(row.ts.timestamp() - time.time()) < 120 for row in dispatched)
    hedged = {request["request_id"] for request in requests if request["hedged"]}
    assert {winner.request_id for winner in DispatchWinner.objects.all()} == hedged
    assert not DispatchConflict.objects.exists()


def test_without_a_token_it_says_what_is_missing() -> None:
    command = [sys.executable, "-m", "jatevo.local.demo_gateway", "--gateway-id", "g", "--listen", "1"]
    ended = subprocess.run(
        [*command, "--console", "http://127.0.0.1:1"],
        cwd=BASE_DIR,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == USAGE_ERROR
    assert "JATEVO_GATEWAY_TOKEN" in ended.stderr
