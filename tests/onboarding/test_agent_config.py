"""The console's agent.yaml, read back by YAML and by the agent."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jatevo_agent.config import DEFAULT_RUNTIME_PORTS, load_config

from onboarding.agent_config import RUNTIME_URLS, AgentConfig, listen_for, quoted, render

FULL = AgentConfig(
    console="https://console.example.org",
    enrollment_token="jve_abcDEF-123_x",
    node_id="macbook-001",
    region="ap-southeast",
    runtime="ollama",
    endpoint="http://203.0.113.7:11435",
    models=("llama3.1-8b", "qwen2.5:7b"),
    wallet_chain="solana",
    wallet_address="7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU",
)


def test_the_agent_accepts_the_file_and_reads_what_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(render(FULL))
    config = load_config(path, environment={})
    assert config.console == FULL.console
    assert config.enrollment_token == FULL.enrollment_token
    assert (config.node_id, config.region, config.runtime) == ("macbook-001", "ap-southeast", "ollama")
    assert ip_address(config.listen_host).is_unspecified
    assert config.listen_port == 11435
    assert config.endpoint == FULL.endpoint
    assert config.models == FULL.models
    assert config.wallet is not None
    assert (config.wallet.chain, config.wallet.address) == ("solana", FULL.wallet_address)
    assert config.runtime_url == "http://127.0.0.1:11434"
    assert config.simulate_per_second == 0


def test_a_runtime_at_another_address_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(render(replace(FULL, runtime_url="http://10.0.0.7:9000")))
    assert load_config(path, environment={}).runtime_url == "http://10.0.0.7:9000"


@pytest.mark.parametrize("runtime", ["ollama", "vllm", "tensorrtllm", "tgi"])
def test_the_console_and_the_agent_agree_where_a_runtime_listens(runtime: str) -> None:
    assert RUNTIME_URLS[runtime].endswith(f":{DEFAULT_RUNTIME_PORTS[runtime]}")


def test_the_agent_accepts_the_shortest_file_too(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    short = replace(FULL, node_id="", endpoint="", models=(), wallet_chain="", wallet_address="")
    path.write_text(render(short))
    config = load_config(path, environment={})
    assert config.endpoint == "http://127.0.0.1:11435"
    assert config.wallet is None
    assert config.simulate_per_second == 0


def test_without_the_token_the_file_says_where_to_get_one() -> None:
    text = render(replace(FULL, enrollment_token=""))
    assert "enrollment_token" not in yaml.safe_load(text)
    assert "shown once" in text


@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        return  # a lone surrogate is no text: no form and no JSON of ours lets it in
    assert yaml.safe_load(quoted(text)) == text


@pytest.mark.parametrize(
    "nasty",
    [
        '"\nsimulate: 1000',
        "a: b",
        "# no",
        "yes",
        "1e3",
        "~",
        "\\",
        "\u2028x",
        "\x85",
        "{{ x }}",
        "&a *a",
        "\ufeff",
    ],
)
def test_no_answer_becomes_structure(nasty: str) -> None:
    document = yaml.safe_load(render(replace(FULL, node_id=nasty, models=(nasty,), wallet_address=nasty)))
    assert document["node_id"] == nasty
    assert document["models"] == [nasty]
    assert document["wallet"]["address"] == nasty
    assert "simulate" not in document


@pytest.mark.parametrize(
    ("endpoint", "listen"),
    [
        ("", "127.0.0.1:11435"),
        ("http://127.0.0.1:11435", "127.0.0.1:11435"),
        ("http://localhost:9000", "127.0.0.1:9000"),
        ("http://127.0.0.2:9000", "127.0.0.2:9000"),
        ("http://[::1]:11435", "[::1]:11435"),
        ("http://[2606:4700::1]:9000", "[::]:9000"),
        ("http://node.example:9000/agent", "[::]:9000"),
        ("http://203.0.113.7:9000", "0.0.0.0:9000"),
        ("https://node.example.org", "[::]:11435"),
        ("https://node.example.org:443", "[::]:11435"),
    ],
)
def test_the_agent_listens_where_the_endpoint_leads(endpoint: str, listen: str) -> None:
    assert listen_for(endpoint) == listen
