"""`agent.yaml`: defaults, and a clear one-line message for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jatevo_agent.cli import _default_config
from jatevo_agent.config import Config, ConfigError, Runtime, Wallet, default_node_id, load_config

MINIMAL = {"console": "https://console.example", "region": "eu-west", "runtime": "vllm", "node_id": "gpu-7"}


_KEYS_RULE = "must be a list of keys of at least 20 printable ASCII characters"


def load(tmp_path: Path, environment: dict[str, str] | None = None, **keys: Any) -> Config:
    path = tmp_path / "agent.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **keys}))
    return load_config(path, environment or {})


def complaint(tmp_path: Path, **keys: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **keys)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{tmp_path / 'agent.yaml'}: ")


def test_defaults(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.runtime is Runtime.VLLM
    assert (config.listen_host, config.listen_port) == ("127.0.0.1", 11435)
    assert config.endpoint == "http://127.0.0.1:11435"
    assert config.state_dir == Path.home() / ".jatevo" / "gpu-7"
    assert config.models == ()
    assert config.concurrency == 4
    assert config.spool_limit_mb == 1024
    assert config.wallet is None
    assert config.enrollment_token is None
    assert config.simulate_per_second == 0


def test_everything_given(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        console="https://console.example/base/",
        enrollment_token="jve_abc",
        listen="[::1]:8000",
        wallet={"chain": "solana", "address": "So1"},
        models=["a", "b", "A:latest"],
        concurrency=16,
        state_dir="~/elsewhere",
        green_energy_proof_url="https://sun.example/proof?id=1",
        simulate=0.5,
    )
    assert config.console == "https://console.example/base"
    assert config.endpoint == "http://[::1]:8000"
    assert config.wallet == Wallet("solana", "So1")
    assert config.models == ("a", "b")
    assert config.concurrency == 16
    assert config.state_dir == Path.home() / "elsewhere"
    assert config.simulate_per_second == 0.5


def test_the_node_id_defaults_to_the_host(tmp_path: Path) -> None:
    assert load(tmp_path, node_id=None).node_id


@pytest.mark.parametrize(
    ("hostname", "node_id"),
    [
        ("Lucas-MacBook-Pro.local", "lucas-macbook-pro.local"),
        ("Büro PC", "b-ro-pc"),
        ("...", "node"),
        ("register", "node"),
        ("", "node"),
        ("x" * 80, "x" * 64),
    ],
)
def test_default_node_id_is_always_valid(hostname: str, node_id: str) -> None:
    assert default_node_id(hostname) == node_id


def test_the_environment_replaces_secrets(tmp_path: Path) -> None:
    environment = {"JATEVO_ENROLLMENT_TOKEN": "jve_env", "JATEVO_NODE_TOKEN": "whsec_AAAA"}
    config = load(tmp_path, environment, enrollment_token="jve_file")
    assert (config.enrollment_token, config.node_token) == ("jve_env", "whsec_AAAA")


@pytest.mark.parametrize(
    "console",
    [
        "http://127.0.0.1:8000",
        "http://localhost:8000",
        "http://[::1]:8000",
        "http://web:8000",
        "http://192.168.1.5",
    ],
)
def test_plain_http_is_fine_inside_a_private_network(tmp_path: Path, console: str) -> None:
    assert load(tmp_path, console=console).console == console


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"console": None}, "console: is missing"),
        ({"console": "console.example"}, "console: must be an address like https://example.org"),
        ({"console": "ftp://console.example"}, "console: must be an address like https://example.org"),
        ({"console": "https://"}, "console: must be an address like https://example.org"),
        ({"console": "https://a:99999"}, "console: must be an address like https://example.org"),
        ({"console": "https://u:p@a.example"}, "console: must not contain a user name or password"),
        ({"console": "https://a.example/?x=1"}, "console: must be an address without ? and #"),
        (
            {"console": "http://console.example"},
            "console: must start with https://, because secrets would be sent unencrypted",
        ),
        (
            {"console": "http://8.8.8.8"},
            "console: must start with https://, because secrets would be sent unencrypted",
        ),
        ({"region": None}, "region: is missing"),
        ({"region": ""}, "region: is missing"),
        ({"region": "EU West"}, "region: must be 1 to 32 of a-z 0-9 -"),
        ({"region": 7}, "region: must be text; put it in quotes"),
        ({"runtime": "llamacpp"}, "runtime: must be one of ollama, vllm, tensorrtllm, tgi"),
        ({"node_id": "Mac Book"}, "node_id: must be 1 to 64 of a-z 0-9 . _ -"),
        ({"node_id": ".."}, "node_id: is reserved"),
        ({"node_id": 1}, "node_id: must be text; put it in quotes"),
        ({"enrollment_token": "abc"}, "enrollment_token: must start with jve_; the console shows it once"),
        (
            {"enrollment_token": "jve_a b"},
            "enrollment_token: must start with jve_; the console shows it once",
        ),
        ({"node_token": "whsec_?"}, "node_token: must be whsec_ and base64"),
        ({"listen": "11435"}, "listen: must be an address and a port, like 127.0.0.1:11435"),
        ({"listen": "127.0.0.1:0"}, "listen: must be an address and a port, like 127.0.0.1:11435"),
        ({"listen": "127.0.0.1:70000"}, "listen: must be an address and a port, like 127.0.0.1:11435"),
        (
            {"listen": "0.0.0.0:11435"},
            "endpoint: is missing: listen covers every address, so name the one that validators can reach",
        ),
        ({"endpoint": "node.example"}, "endpoint: must begin with http:// or https://"),
        (
            {"endpoint": "https://a.example/?token=x"},
            "endpoint: must not contain a query (?) or a fragment (#)",
        ),
        ({"endpoint": "https://a.example#f"}, "endpoint: must not contain a query (?) or a fragment (#)"),
        ({"wallet": "So1"}, "wallet: must have a chain and an address, both text in quotes"),
        ({"wallet": {"chain": "solana"}}, "wallet: must have a chain and an address, both text in quotes"),
        (
            {"wallet": {"chain": "evm", "address": 0xAB}},
            "wallet: must have a chain and an address, both text in quotes",
        ),
        ({"models": "llama"}, "models: must be a list of names, like [llama3.1-8b]"),
        ({"models": [""]}, "models: '' must not be empty"),
        (
            {"models": ["a\u202eb"]},
            r"models: 'a\u202eb' must be printable, without control, direction or invisible characters",
        ),
        ({"spool_limit_mb": 63}, "spool_limit_mb: must be a whole number from 64 to 1000000"),
        ({"concurrency": 0}, "concurrency: must be a whole number from 1 to 1024"),
        ({"concurrency": 1025}, "concurrency: must be a whole number from 1 to 1024"),
        ({"concurrency": True}, "concurrency: must be a whole number from 1 to 1024"),
        ({"concurrency": 2.0}, "concurrency: must be a whole number from 1 to 1024"),
        (
            {"wallet": {"chain": "solana", "address": "So\n1"}},
            "wallet: address must be printable, without control, direction or invisible characters",
        ),
        ({"simulate": "fast"}, "simulate: must be a number of requests per second"),
        ({"simulate": True}, "simulate: must be a number of requests per second"),
        ({"simulate": -1}, "simulate: must be from 0 to 1000 requests per second"),
        ({"simulate": float("nan")}, "simulate: must be from 0 to 1000 requests per second"),
        (
            {"green_energy_proof_url": "x"},
            "green_energy_proof_url: must be an address like https://example.org",
        ),
        ({"regoin": "eu"}, "regoin: there is no such key"),
        ({"runtime_url": "localhost:11434"}, "runtime_url: must be an address like https://example.org"),
        ({"runtime_url": "http://a.example/?x"}, "runtime_url: must be an address without ? and #"),
        ({"gateway_keys": "k" * 20}, f"gateway_keys: {_KEYS_RULE}"),
        ({"gateway_keys": ["k" * 19]}, f"gateway_keys: {_KEYS_RULE}"),
        ({"gateway_keys": ["k" * 19 + " "]}, f"gateway_keys: {_KEYS_RULE}"),
        ({"gateway_keys": [None]}, f"gateway_keys: {_KEYS_RULE}"),
        (
            {"allow_from": "console"},
            "allow_from: must be a list of networks, like [203.0.113.0/24, console]",
        ),
        (
            {"allow_from": ["203.0.113.0/33"]},
            "allow_from: '203.0.113.0/33' is not an address, a network like 203.0.113.0/24, or console",
        ),
        ({"allow_from": [10]}, "allow_from: 10 is not an address, a network like 203.0.113.0/24, or console"),
        ({"tls": {"key": "k.pem"}}, "tls: must have a certificate and a key, and may have a client_ca"),
        (
            {"tls": {"certificate": "/nowhere/c.pem", "key": "/nowhere/k.pem"}},
            "tls: /nowhere/c.pem is not a file",
        ),
    ],
)
def test_each_mistake_names_its_key(tmp_path: Path, keys: dict[str, Any], expected: str) -> None:
    assert complaint(tmp_path, **keys) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("region: eu\nregion: us\n", "is not YAML: the key 'region' stands there twice (line 2)"),
        ("region: [eu\n", "is not YAML: "),
        ("a: !!python/object/apply:os.getcwd []\n", "is not YAML: "),
        ("- console\n", "must be a list of `key: value` lines"),
        ("", "must be a list of `key: value` lines"),
    ],
)
def test_a_file_that_is_not_a_mapping(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert str(caught.value).removeprefix(f"{path}: ").startswith(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("runtime", "url"),
    [
        ("ollama", "http://127.0.0.1:11434"),
        ("vllm", "http://127.0.0.1:8000"),
        ("tensorrtllm", "http://127.0.0.1:8000"),
        ("tgi", "http://127.0.0.1:8080"),
    ],
)
def test_a_runtime_is_asked_at_its_usual_port(tmp_path: Path, runtime: str, url: str) -> None:
    assert load(tmp_path, runtime=runtime).runtime_url == url


def test_the_runtimes_address_may_be_given_as_that_of_its_api(tmp_path: Path) -> None:
    assert load(tmp_path, runtime_url="http://[::1]:9000/v1/").runtime_url == "http://[::1]:9000"


def test_who_may_ask(tmp_path: Path) -> None:
    assert load(tmp_path).allow_from.everyone
    config = load(tmp_path, allow_from=["203.0.113.7", "2001:db8::/32", "console"], gateway_keys=["k" * 20])
    assert [str(network) for network in config.allow_from.networks] == ["203.0.113.7/32", "2001:db8::/32"]
    assert config.allow_from.console
    assert config.gateway_keys == ("k" * 20,)


def test_with_certificates_the_endpoint_is_https(tmp_path: Path) -> None:
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).touch()
    config = load(tmp_path, tls={"certificate": str(tmp_path / "c.pem"), "key": str(tmp_path / "k.pem")})
    assert config.endpoint == "https://127.0.0.1:11435"
    assert config.tls is not None
    assert config.tls.client_ca is None


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(tmp_path / "agent.yaml", {})


def test_the_file_beside_the_virtual_environment_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert _default_config(str(tmp_path / "venv")) == Path("agent.yaml")
    (tmp_path / "agent.yaml").touch()
    assert _default_config(str(tmp_path / "venv")) == tmp_path / "agent.yaml"
    (elsewhere / "agent.yaml").touch()
    assert _default_config(str(tmp_path / "venv")) == Path("agent.yaml")
