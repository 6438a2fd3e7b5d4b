"""What the agent finds out about each kind of runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from fake_runtime import DIGEST, FakeRuntime, Script
from jatevo_agent.runtimes.found import FoundModel, found_model
from serving_node import ServingNode


@contextmanager
def node_of(runtime: FakeRuntime, folder: Path, kind: str, **keys: Any) -> Iterator[ServingNode]:
    node = ServingNode(folder, runtime.url, runtime=kind, **keys)
    node.start()
    try:
        yield node
    finally:
        node.close()


def sha256(phrase: str) -> str:
    return "sha256:" + hashlib.sha256(phrase.encode()).hexdigest()


@pytest.mark.parametrize(
    ("kind", "shape", "models", "model_hash"),
    [
        ("ollama", "ollama", ["llama3.1", "qwen3:8b"], f"sha256:{DIGEST}"),
        ("vllm", "vllm", ["llama3.1"], sha256("jatevo-model:llama3.1")),
        ("tensorrtllm", "vllm", ["llama3.1"], sha256("jatevo-model:llama3.1")),
        ("tgi", "tgi", ["llama3.1"], sha256("jatevo-model:llama3.1@" + "0f" * 20)),
        ("ollama", "vllm", ["llama3.1"], sha256("jatevo-model:llama3.1")),  # what imitates Ollama
        ("tgi", "vllm", ["llama3.1"], sha256("jatevo-model:llama3.1")),  # before /info, or without it
    ],
)
def test_models_and_digests(
    tmp_path: Path, kind: str, shape: str, models: list[str], model_hash: str
) -> None:
    with FakeRuntime(shape) as runtime, node_of(runtime, tmp_path, kind) as node:
        assert node.gateway.models() == models
        node.ask(stream=True)
        receipt = node.receipt()
        assert (receipt["model_id"], receipt["model_hash"]) == ("llama3.1", model_hash)
        assert runtime.requests[0]["model"] == runtime.models[0]


@pytest.mark.parametrize(
    ("kind", "shape", "tokens"), [("vllm", "vllm", 5), ("tgi", "tgi", 5), ("ollama", "ollama", 22 // 4)]
)
def test_tokens_are_counted_as_the_runtime_can(tmp_path: Path, kind: str, shape: str, tokens: int) -> None:
    with FakeRuntime(shape) as runtime, node_of(runtime, tmp_path, kind) as node:
        runtime.script = Script(usage=None)
        node.ask(stream=True)
        assert node.receipt()["tokens_input"] == tokens


def test_only_the_models_that_the_configuration_names_are_offered(tmp_path: Path, log: StringIO) -> None:
    with (
        FakeRuntime("ollama") as runtime,
        node_of(runtime, tmp_path, "ollama", models=["QWEN3:8b", "phi4"]) as node,
    ):
        assert node.gateway.models() == ["qwen3:8b"]
        assert node.ask(model="llama3.1").status_code == 404
        assert node.ask(model="qwen3:8b").status_code == 200
    assert "the runtime lacks models that agent.yaml names models=phi4" in log.getvalue()


def test_a_model_that_is_added_later_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jatevo_agent.runtimes.watch.SECONDS_BETWEEN_LOOKS", 0.05)
    with FakeRuntime() as runtime, node_of(runtime, tmp_path, "vllm") as node:
        runtime.models = ["llama3.1", "phi4"]
        node.wait_until(lambda: node.gateway.models() == ["llama3.1", "phi4"])
        runtime.models = ["phi4"]
        node.wait_until(lambda: node.gateway.models() == ["phi4"])


def test_a_runtime_that_starts_after_the_agent_is_found(tmp_path: Path, log: StringIO) -> None:
    with FakeRuntime() as runtime:
        runtime.stop()
        with node_of(runtime, tmp_path, "vllm") as node:
            assert node.gateway.figures() == {"runtime_up": False, "requests_running": 0}
            assert node.ask().status_code == 503
            runtime.start()
            node.wait_until(lambda: node.gateway.models() == ["llama3.1"])
            assert node.ask().status_code == 200
    assert log.getvalue().count("the runtime does not answer") == 1


@pytest.mark.parametrize("path", ["/v1", "/v1/"])
def test_the_address_of_the_api_works_as_the_runtimes_address(tmp_path: Path, path: str) -> None:
    with FakeRuntime() as runtime:
        node = ServingNode(tmp_path, runtime.url + path)
        node.start()
        try:
            assert node.ask().status_code == 200
        finally:
            node.close()


@pytest.mark.parametrize(
    ("served_as", "name"),
    [
        ("llama3.1:latest", "llama3.1"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/llama-3.1-8b"),
        ("/home/ann/models/SmolLM2.Q4.gguf", "smollm2.q4"),
        ("./weights/", "weights"),
    ],
)
def test_names_as_others_see_them(served_as: str, name: str) -> None:
    model = found_model(served_as)
    assert isinstance(model, FoundModel)
    assert (model.name, model.served_as) == (name, served_as)


@pytest.mark.parametrize("served_as", [None, 7, "", "a\u202eb", " a", "x" * 129, "/"])
def test_a_name_that_no_receipt_could_have_is_left_out(served_as: object) -> None:
    assert found_model(served_as) is None


@pytest.mark.parametrize("digest", ["", None, "sha256:xyz", "AB" * 32, 7])
def test_a_digest_that_is_none_is_replaced(digest: object) -> None:
    model = found_model("llama3.1:latest", digest)
    assert model is not None
    assert f"sha256:{model.sha256}" == sha256("jatevo-model:llama3.1")
