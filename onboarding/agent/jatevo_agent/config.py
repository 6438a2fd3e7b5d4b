"""Reads and validates `agent.yaml`. Errors are one line and name the key."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml

from .exits import CannotRun
from .gateway.settings import EVERYONE, AllowFrom, SettingError, TlsFiles, allow_from_in, keys_in, tls_in
from .room import DEFAULT_LIMIT_MB
from .wire.concurrency import DEFAULT_CONCURRENCY, MAX_CONCURRENCY
from .wire.endpoints import endpoint_problem, is_loopback
from .wire.names import distinct_models, name_problem, node_id_problem, region_problem
from .wire.text_enum import TextEnum
from .wire.webhook import MalformedTokenError, secret_of

DEFAULT_LISTEN = "127.0.0.1:11435"
HIGHEST_RATE_PER_SECOND = 1000.0
LOWEST_LIMIT_MB = 64  # the names of answered requests alone may take some 30
HIGHEST_LIMIT_MB = 1_000_000
DEFAULT_RUNTIME_PORTS = {"ollama": 11434, "vllm": 8000, "tensorrtllm": 8000, "tgi": 8080}
FROM_ENVIRONMENT = (("JATEVO_ENROLLMENT_TOKEN", "enrollment_token"), ("JATEVO_NODE_TOKEN", "node_token"))


_Parsed = TypeVar("_Parsed")


class Runtime(TextEnum):
    """The runtime that serves the models on this machine."""

    OLLAMA = "ollama"
    VLLM = "vllm"
    TENSORRT_LLM = "tensorrtllm"
    TGI = "tgi"


class ConfigError(CannotRun):
    """The configuration cannot be used. The message names the file and the key."""


@dataclass(frozen=True)
class Wallet:
    """The address to which earnings are paid."""

    chain: str
    address: str


@dataclass(frozen=True)
class Config:
    """A valid `agent.yaml`."""

    console: str
    node_id: str
    region: str
    runtime: Runtime
    listen_host: str
    listen_port: int
    endpoint: str
    state_dir: Path
    enrollment_token: str | None
    node_token: str | None
    wallet: Wallet | None
    models: tuple[str, ...]
    concurrency: int
    green_energy_proof_url: str | None
    simulate_per_second: float
    runtime_url: str = ""
    gateway_keys: tuple[str, ...] = ()
    allow_from: AllowFrom = EVERYONE
    tls: TlsFiles | None = None
    spool_limit_mb: int = DEFAULT_LIMIT_MB


def load_config(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read and check `agent.yaml`. Raises ConfigError, which names the wrong key.

    `JATEVO_ENROLLMENT_TOKEN` and `JATEVO_NODE_TOKEN` replace their keys, so that secrets need not be in a
    file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        document = _UniqueKeyLoader(text).get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {_one_line(error)}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must be a list of `key: value` lines")
    for variable, key in FROM_ENVIRONMENT:
        if environment.get(variable):
            document[key] = environment[variable]
    return _Keys(path, document).config()


def default_node_id(hostname: str) -> str:
    """A node id made from a host name: lower case, other characters as dashes, at most 64 characters."""
    node_id = re.sub(r"[^a-z0-9._-]+", "-", hostname.lower()).strip("-.")[:64]
    return "node" if node_id_problem(node_id) else node_id


class _UniqueKeyLoader(yaml.SafeLoader):
    """A SafeLoader that refuses repeated keys instead of keeping the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} stands there twice", key_node.start_mark
                )
            if isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class _Keys:
    """The keys of one file while they are being checked."""

    def __init__(self, path: Path, document: dict[Any, Any]) -> None:
        self._path = path
        # `key:` without a value means the same as no key.
        self._left = {key: value for key, value in document.items() if value is not None}

    def config(self) -> Config:
        node_id = self._node_id()
        listen = self._text("listen") or DEFAULT_LISTEN
        host, port = self._host_and_port(listen)
        simulate = self._rate()
        runtime = self._runtime()
        tls = self._parsed("tls", tls_in)
        config = Config(
            console=self._console(),
            node_id=node_id,
            region=self._region(),
            runtime=runtime,
            listen_host=host,
            listen_port=port,
            endpoint=self._endpoint(host, port, "https" if tls else "http"),
            state_dir=self._state_dir(node_id),
            enrollment_token=self._enrollment_token(),
            node_token=self._node_token(),
            wallet=self._wallet(),
            models=self._models(),
            concurrency=self._whole_number("concurrency", DEFAULT_CONCURRENCY, 1, MAX_CONCURRENCY),
            green_energy_proof_url=self._url("green_energy_proof_url"),
            simulate_per_second=simulate,
            runtime_url=self._runtime_url(runtime),
            gateway_keys=self._parsed("gateway_keys", keys_in),
            allow_from=self._parsed("allow_from", allow_from_in),
            tls=tls,
            spool_limit_mb=self._whole_number(
                "spool_limit_mb", DEFAULT_LIMIT_MB, LOWEST_LIMIT_MB, HIGHEST_LIMIT_MB
            ),
        )
        if self._left:
            unknown = ", ".join(sorted(map(str, self._left)))
            raise ConfigError(f"{self._path}: {unknown}: there is no such key")
        return config

    def _fail(self, key: str, complaint: str) -> ConfigError:
        return ConfigError(f"{self._path}: {key}: {complaint}")

    def _text(self, key: str) -> str | None:
        value = self._left.pop(key, None)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self._fail(key, "must be text; put it in quotes")
        if not value.isprintable():
            raise self._fail(key, "must be one line of printable text")
        return value.strip()

    def _required(self, key: str) -> str:
        value = self._text(key)
        if value is None:
            raise self._fail(key, "is missing")
        return value

    def _console(self) -> str:
        console = self._checked_url("console", self._required("console"))
        parts = urlsplit(console)
        if parts.query or parts.fragment:
            raise self._fail("console", "must be an address without ? and #")
        if parts.scheme == "http" and not _stays_private(parts.hostname or ""):
            raise self._fail("console", "must start with https://, because secrets would be sent unencrypted")
        return console.rstrip("/")

    def _node_id(self) -> str:
        node_id = self._text("node_id") or default_node_id(socket.gethostname())
        if problem := node_id_problem(node_id):
            raise self._fail("node_id", problem)
        return node_id

    def _region(self) -> str:
        region = self._required("region")
        if problem := region_problem(region):
            raise self._fail("region", problem)
        return region

    def _runtime(self) -> Runtime:
        runtime = self._required("runtime")
        if runtime not in set(Runtime):
            raise self._fail("runtime", f"must be one of {', '.join(Runtime)}")
        return Runtime(runtime)

    def _runtime_url(self, runtime: Runtime) -> str:
        url = self._text("runtime_url")
        if url is None:
            return f"http://127.0.0.1:{DEFAULT_RUNTIME_PORTS[runtime.value]}"
        parts = urlsplit(self._checked_url("runtime_url", url))
        if parts.query or parts.fragment:
            raise self._fail("runtime_url", "must be an address without ? and #")
        # people copy the address of the OpenAI-compatible API
        return url.rstrip("/").removesuffix("/v1")

    def _parsed(self, key: str, parse: Callable[[object], _Parsed]) -> _Parsed:
        try:
            return parse(self._left.pop(key, None))
        except SettingError as error:
            raise self._fail(key, str(error)) from error

    def _host_and_port(self, listen: str) -> tuple[str, int]:
        host, _, port = listen.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise self._fail("listen", f"must be an address and a port, like {DEFAULT_LISTEN}")
        return host, int(port)

    def _endpoint(self, host: str, port: int, scheme: str) -> str:
        endpoint = self._text("endpoint")
        if endpoint:
            if problem := endpoint_problem(endpoint):
                raise self._fail("endpoint", problem)
            return endpoint.rstrip("/")
        if _is_every_address(host):
            raise self._fail(
                "endpoint",
                "is missing: listen covers every address, so name the one that validators can reach",
            )
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def _state_dir(self, node_id: str) -> Path:
        state_dir = self._text("state_dir")
        return Path(state_dir).expanduser().absolute() if state_dir else Path.home() / ".jatevo" / node_id

    def _enrollment_token(self) -> str | None:
        token = self._text("enrollment_token")
        if token is not None and not re.fullmatch(r"jve_[\x21-\x7e]+", token):
            raise self._fail("enrollment_token", "must start with jve_; the console shows it once")
        return token

    def _node_token(self) -> str | None:
        token = self._text("node_token")
        if token is not None:
            try:
                secret_of(token)
            except MalformedTokenError as error:
                raise self._fail("node_token", "must be whsec_ and base64") from error
        return token

    def _wallet(self) -> Wallet | None:
        value = self._left.pop("wallet", None)
        if value is None:
            return None
        if (
            not isinstance(value, dict)
            or set(value) != {"chain", "address"}
            or not all(isinstance(member, str) and member for member in value.values())
        ):
            raise self._fail("wallet", "must have a chain and an address, both text in quotes")
        for member, text in value.items():
            if problem := name_problem(text):
                raise self._fail("wallet", f"{member} {problem}")
        return Wallet(chain=value["chain"], address=value["address"])

    def _models(self) -> tuple[str, ...]:
        value = self._left.pop("models", [])
        if not isinstance(value, list) or not all(isinstance(model, str) for model in value):
            raise self._fail("models", "must be a list of names, like [llama3.1-8b]")
        for model in value:
            if problem := name_problem(model):
                raise self._fail("models", f"{model!r} {problem}")
        return distinct_models(value)

    def _whole_number(self, key: str, default: int, lowest: int, highest: int) -> int:
        value = self._left.pop(key, default)
        # the exact type, because YAML's `yes` is True, which is an integer in Python
        if type(value) is not int or not lowest <= value <= highest:
            raise self._fail(key, f"must be a whole number from {lowest} to {highest}")
        return value

    def _rate(self) -> float:
        value = self._left.pop("simulate", 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._fail("simulate", "must be a number of requests per second")
        if not math.isfinite(value) or not 0 <= value <= HIGHEST_RATE_PER_SECOND:
            raise self._fail("simulate", f"must be from 0 to {HIGHEST_RATE_PER_SECOND:g} requests per second")
        return float(value)

    def _url(self, key: str) -> str | None:
        value = self._text(key)
        return None if value is None else self._checked_url(key, value)

    def _checked_url(self, key: str, value: str) -> str:
        try:
            parts = urlsplit(value)
            port_is_sane = parts.port != 0
        except ValueError:
            port_is_sane = False
        if not port_is_sane or parts.scheme not in {"http", "https"} or not parts.hostname or " " in value:
            raise self._fail(key, "must be an address like https://example.org")
        if parts.username or parts.password:
            raise self._fail(key, "must not contain a user name or password")
        return value


def _stays_private(host: str) -> bool:
    """Whether plain HTTP to `host` stays on this machine or its local network.

    A name without a dot belongs to a local machine or a container, and `.local` is multicast DNS.
    """
    if is_loopback(host) or host.endswith(".local"):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} (line {error.problem_mark.line + 1})"
    return " ".join(str(error).split())
