import json
import signal
import sys
from importlib.util import find_spec

import httpx
import pytest

from jatevo.local import model_server
from tests.real_runtime import MODEL, RealRuntime, real_runtime

__all__ = ["real_runtime"]


def test_completion_streams_with_the_numbers_of_tokens(real_runtime: RealRuntime) -> None:
    wish = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Name a colour."}],
        "max_tokens": 8,
        "ignore_eos": True,  # of llama.cpp; otherwise the model may have said all it wants in fewer tokens
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    url = f"{real_runtime.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=wish, timeout=60, trust_env=False) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    pieces = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    assert len([piece for piece in pieces if piece]) > 1
    usage = chunks[-1]["usage"]
    assert usage["completion_tokens"] == 8
    assert usage["prompt_tokens"] > 0


def test_it_offers_the_one_model_on_the_loopback_interface_only(real_runtime: RealRuntime) -> None:
    offered = httpx.get(f"{real_runtime.url}/v1/models", trust_env=False).json()["data"]
    assert [model["id"] for model in offered] == [MODEL]
    assert f"listening on http://127.0.0.1:{real_runtime.port}" in real_runtime.program.log()


def test_it_ends_at_once_when_asked(real_runtime: RealRuntime) -> None:
    real_runtime.program.send(signal.SIGTERM)
    assert real_runtime.program.stop() == 0
    real_runtime.start()


def test_without_its_packages_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_xllamacpp(name: str) -> object:
        return None if name == "xllamacpp" else find_spec(name)

    monkeypatch.setattr(model_server, "find_spec", without_xllamacpp)
    monkeypatch.setattr(sys, "argv", ["model_server", "--port", "1"])
    assert model_server.main() == 2
    assert "dependency group `model`" in capsys.readouterr().err
