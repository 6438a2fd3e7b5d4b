"""Web processes, lane and worker as they run on services: their metrics together, and their traces."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import orjson
import pytest

from jatevo.local import checks
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory
from tests.lane import beat
from tests.machines import SignedSender
from tests.telemetry.otlp_receiver import Receiver
from tests.telemetry.test_tracing import ASKED_FOR, TRACE
from tests.web.serving import BASE_DIR, ServerUnderTest, services_environment, serving

pytestmark = pytest.mark.django_db(transaction=True)

WAIT_SECONDS = 60.0
HEARTBEATS = 'api_http_request_duration_seconds_count{code="200",route="/v1/nodes/heartbeat"} '
PAGES = 'api_http_request_duration_seconds_count{code="200",route="/status/"} '
JOBS = "worker_job_duration_seconds_count{"


def eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_any_web_process_shows_what_all_processes_counted_and_the_lane_is_traced(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.forget()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "metrics"))
    monkeypatch.setenv("JATEVO_METRICS_TOKEN", "let-me-scrape")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    node = NodeFactory.create(status=Status.ACTIVE)
    machine = SignedSender.node(node)
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "worker"],
        cwd=BASE_DIR,
        env=services_environment(tmp_path) | {"OTEL_TRACES_SAMPLER_ARG": "1", "OTEL_SERVICE_NAME": "worker"},
        stderr=subprocess.DEVNULL,
    )
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100000")  # what is recorded is sent when they end
    try:
        with (
            serving(ServerUnderTest.GRANIAN, tmp_path) as web,
            serving(ServerUnderTest.LANE, tmp_path) as lane,
            httpx.Client(trust_env=False, timeout=20) as client,
        ):
            for port in (web, lane, lane):
                raw = orjson.dumps(beat(node))
                answer = client.post(
                    f"http://{checks.LOOPBACK}:{port}/v1/nodes/heartbeat",
                    content=raw,
                    headers={"Content-Type": "application/json", **machine.headers(raw), **ASKED_FOR},
                )
                assert answer.status_code == 200, answer.text
            assert client.get(f"http://{checks.LOOPBACK}:{web}/status/").status_code == 200

            def shown() -> str:
                address = f"http://{checks.LOOPBACK}:{web}/metrics"
                return client.get(address, headers={"Authorization": "Bearer let-me-scrape"}).text

            eventually(lambda: JOBS in shown())
            lines = shown().splitlines()
            assert f"{HEARTBEATS}3.0" in lines
            assert f"{PAGES}1.0" in lines
            assert "workers_alive 1.0" in lines
            assert 'store_breaker_open{store="PostgreSQL"} 0.0' in lines
            names = [line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")]
            assert "summary_active_nodes" in names
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(timeout=30)
    spans = receiver.spans()
    of_worker = [span for span in spans if span.service == "worker"]
    jobs = {span.span_id for span in of_worker if span.name.startswith("job ")}
    assert any(span.name.startswith("PostgreSQL ") and span.parent_id in jobs for span in of_worker)
    of_requests = [span for span in spans if span.service == "jatevo"]
    assert {span.trace_id for span in of_requests} == {TRACE}
    names = [span.name for span in of_requests]
    assert names.count("POST /v1/nodes/heartbeat") == names.count("answer /v1/nodes/heartbeat") == 3
    assert "Redis limits" in names
