"""The agent's gateway in front of a real runtime: what llama.cpp's own server streams, and what it says of it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from blake3 import blake3
from jatevo_agent.agent import Recorder
from jatevo_agent.clock import ConsoleClock
from jatevo_agent.config import load_config
from jatevo_agent.gateway.gateway import Gateway
from jatevo_agent.gateway.serving import Books
from jatevo_agent.key_change import CurrentKey
from jatevo_agent.spool import Spool
from jatevo_agent.wire.schema import check_fields
from nacl.signing import SigningKey

from tests.browser.processes import free_port, wait_until
from tests.real_runtime import MODEL, RealRuntime, real_runtime

__all__ = ["real_runtime"]

KEY = "a-key-of-a-gateway-of-the-test"
MESSAGES = [{"role": "user", "content": "Count from one to five."}]
MOST_TOKENS = 24


class GatewayOfTest:
    """A gateway that serves the runtime, with a spool and a client."""

    def __init__(self, folder: Path, runtime_url: str) -> None:
        port = free_port()
        path = folder / "agent.yaml"
        document = {
            "console": "https://console.example",
            "node_id": "gpu-7",
            "region": "eu-west",
            "runtime": "vllm",
            "runtime_url": runtime_url,
            "listen": f"127.0.0.1:{port}",
        }
        path.write_text(yaml.safe_dump(document))
        config, key = load_config(path, {}), CurrentKey(SigningKey.generate())
        self.spool = Spool(folder / "spool.sqlite")
        self.gateway = Gateway(config, "gpu-7", key, ConsoleClock())
        recorder = Recorder(config, key, self.spool, lambda: None)
        self.gateway.start()
        self.gateway.wait_for_models(20)
        books = Books(recorder.store, self.spool.has_answered, lambda: None)
        self.gateway.open(keys=[KEY], books=books, journal_path=folder / "in_flight")
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/v1",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=100,
            trust_env=False,
        )

    def body(self, **members: Any) -> dict[str, Any]:
        return {"model": MODEL, "messages": MESSAGES, "max_tokens": MOST_TOKENS, "temperature": 0, **members}

    def receipts(self) -> list[dict[str, Any]]:
        return [json.loads(each.body) for each in self.spool.oldest(100, 10_000_000)]

    def close(self) -> None:
        self.client.close()
        self.gateway.close()
        self.spool.close()


@pytest.fixture
def node(real_runtime: RealRuntime, tmp_path: Path) -> Iterator[GatewayOfTest]:
    serving = GatewayOfTest(tmp_path, real_runtime.url)
    yield serving
    serving.close()


def blake3_of(text: str) -> str:
    return "blake3:" + blake3(text.encode()).hexdigest()


def test_a_stream_and_a_plain_answer_have_receipts_that_agree_with_the_runtime(node: GatewayOfTest) -> None:
    assert node.gateway.models() == [MODEL]
    plain = node.client.post("/chat/completions", json=node.body()).json()
    streamed = node.client.post(
        "/chat/completions", json=node.body(stream=True, stream_options={"include_usage": True})
    ).text
    chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    assert streamed.rstrip().endswith("data: [DONE]")
    text = "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks if each["choices"])
    (usage,) = (each["usage"] for each in chunks if each.get("usage"))
    first, second = node.receipts()
    for receipt, tokens, said in (
        (first, plain["usage"], plain["choices"][0]["message"]["content"]),
        (second, usage, text),
    ):
        assert check_fields(receipt, now=receipt["ts_end"]) == []
        assert receipt["tokens_input"] == tokens["prompt_tokens"] > 0
        assert receipt["tokens_output"] == tokens["completion_tokens"] > 0
        assert receipt["usage_source"] == "runtime"
        assert receipt["output_hash"] == blake3_of(said)
        assert receipt["model_id"] == MODEL


def test_without_asking_the_client_sees_no_usage(node: GatewayOfTest) -> None:
    streamed = node.client.post("/chat/completions", json=node.body(stream=True)).text
    assert '"choices":[]' not in streamed
    assert node.receipts()[0]["usage_source"] == "runtime"


def test_a_client_that_leaves_ends_the_generation(node: GatewayOfTest, real_runtime: RealRuntime) -> None:
    """A long answer is left after a few tokens. The runtime's slot is free again soon, and the receipt is short."""
    text = ""
    body = node.body(stream=True, max_tokens=1500, ignore_eos=True)
    with node.client.stream("POST", "/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
            if len(text) > 10:
                break
    wait_until(lambda: bool(node.receipts()), within_seconds=20, what="the receipt")
    wait_until(lambda: not _busy(real_runtime), within_seconds=20, what="the runtime is idle")
    (receipt,) = node.receipts()
    assert (receipt["outcome"], receipt["usage_source"]) == ("cancelled", "counted")
    assert 0 < receipt["tokens_output"] < 1500
    # counted by the runtime's own tokeniser, without the chat template
    assert 0 < receipt["tokens_input"] < 20


def _busy(runtime: RealRuntime) -> bool:
    slots = httpx.get(f"{runtime.url}/slots", trust_env=False, timeout=20)
    if slots.status_code != httpx.codes.OK:
        pytest.skip(f"this llama.cpp does not say what it is doing ({slots.status_code}, {sys.platform})")
    return any(slot["is_processing"] for slot in slots.json())
