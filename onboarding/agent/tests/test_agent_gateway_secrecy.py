"""Prompts and outputs are never stored or logged, whatever goes wrong."""

from __future__ import annotations

import logging
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from fake_runtime import FakeRuntime, Script
from jatevo_agent.gateway.asked import Kind, parse
from jatevo_agent.gateway.exchange import Exchange
from serving_node import CHAT, KEY, ServingNode

PROMPT = "canary-prompt-5f1c"
OUTPUT = "canary-output-9e7a"
CANARIES = (PROMPT, OUTPUT, KEY)

WENT_WRONG: list[tuple[str, Script]] = [
    ("nothing", Script(pieces=[OUTPUT, OUTPUT])),
    ("no usage", Script(pieces=[OUTPUT], usage=None)),
    ("malformed", Script(pieces=[OUTPUT], raw_before={0: f"data: {{{OUTPUT}\n\n".encode()})),
    ("malformed choice", Script(pieces=[], prefix=f'data: {{"choices": ["{OUTPUT}"]}}\n\n'.encode())),
    ("error event", Script(pieces=[], prefix=f'data: {{"error": "{OUTPUT}"}}\n\n'.encode())),
    ("not utf-8", Script(pieces=[OUTPUT], raw_before={0: b"data: \xff" + OUTPUT.encode() + b"\n\n"})),
    ("status 500", Script(status=500, error={"error": {"message": OUTPUT}})),
    ("status 400", Script(status=400, error={"error": {"message": PROMPT}})),
    ("hangs up", Script(hang_up=True)),
    ("malformed body", Script(raw_body=OUTPUT.encode())),
    ("finish is no word", Script(pieces=[OUTPUT], finish=OUTPUT)),
]


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Also what libraries log at their most talkative, such as asyncio and aiohttp."""
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.parametrize(("what", "script"), WENT_WRONG)
@pytest.mark.parametrize("stream", [True, False])
def test_no_canary_is_logged_or_stored(
    serving: ServingNode,
    runtime: FakeRuntime,
    log: StringIO,
    everything_logged: pytest.LogCaptureFixture,
    tmp_path: Path,
    what: str,
    script: Script,
    stream: bool,
) -> None:
    runtime.script = script
    serving.ask(messages=[{"role": "user", "content": PROMPT}], stream=stream, user=PROMPT)
    serving.client.post("/v1/completions", json={"model": "llama3.1", "prompt": PROMPT, "stream": stream})
    serving.client.post(CHAT, content=f'{{"{PROMPT}')
    serving.client.post(CHAT, json={"model": PROMPT, "messages": []})
    assert_no_canary(serving, log, everything_logged, tmp_path)


@pytest.mark.parametrize("stream", [True, False])
def test_no_canary_in_what_a_bug_leaves_behind(
    serving: ServingNode,
    runtime: FakeRuntime,
    log: StringIO,
    everything_logged: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
) -> None:
    async def fail(exchange: Exchange) -> None:
        raise RuntimeError(f"{exchange.served.asked.prompt_text} {OUTPUT}")

    monkeypatch.setattr(Exchange, "run", fail)
    answer = serving.ask(messages=[{"role": "user", "content": PROMPT}], stream=stream)
    assert answer.status_code == 500
    assert not any(canary in answer.text for canary in CANARIES)
    assert "RuntimeError" in log.getvalue()
    assert_no_canary(serving, log, everything_logged, tmp_path)


def test_a_request_does_not_print_its_prompt() -> None:
    asked = parse(Kind.CHAT, f'{{"model": "a", "messages": ["{PROMPT}"]}}'.encode())
    assert PROMPT not in repr(asked)
    assert PROMPT not in str(asked)


def assert_no_canary(
    serving: ServingNode, log: StringIO, caplog: pytest.LogCaptureFixture, folder: Path
) -> None:
    serving.wait_until_idle()
    assert_absent("the log", log.getvalue().encode())
    for record in caplog.records:
        if not record.name.startswith(("httpx", "httpcore")):  # the test's own client
            assert_absent(f"the log of {record.name}", record.getMessage().encode())
            assert_absent(f"the traceback of {record.name}", str(record.exc_info).encode())
    stored = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "spool.sqlite" for path in stored)
    for path in stored:
        assert_absent(path.name, path.read_bytes())
    assert_absent("metrics", serving.client.get("/metrics").content)


def assert_absent(where: str, content: bytes) -> None:
    found: list[Any] = [canary for canary in CANARIES if canary.encode() in content]
    assert not found, f"{found} in {where}"
