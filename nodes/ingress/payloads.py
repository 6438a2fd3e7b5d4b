"""Bodies of signed requests: their fields, types and ranges (msgspec, because this is the hot path)."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from jatevo.web.errors import FieldProblem, invalid_request
from nodes.actions import Beat, Measurement, Registration
from nodes.rules.credentials import BadPublicKey, parse_public_key
from nodes.rules.probes import ProbeFault, ProbeKind

NodeId = Annotated[str, Meta(pattern=r"^[a-z0-9._-]{1,64}\Z")]
Region = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
RuntimeName = Literal["ollama", "vllm", "tensorrtllm", "tgi"]
ModelId = Annotated[str, Meta(min_length=1, max_length=128)]
ModelIds = Annotated[list[ModelId], Meta(max_length=200)]
Seconds = Annotated[float, Meta(ge=0, le=4_102_444_800)]  # up to the year 2100
Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]

T = TypeVar("T")
_AT = re.compile(r" - at `(?:key in )?\$\.?(.*?)`$")
_INDEX = re.compile(r"\[(\w+|\.\.\.)\]")
_MOST_METRICS = 64
_LARGEST_METRIC = 1e15
RESERVED_NODE_IDS = frozenset({".", "..", "register", "heartbeat"})


class _Attest(Struct):
    gpu_model: Annotated[str, Meta(max_length=120)] = ""
    vram_gb: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    driver_version: Annotated[str, Meta(max_length=64)] = ""
    cuda_version: Annotated[str, Meta(max_length=32)] = ""
    hardware_hash: Annotated[str, Meta(max_length=128)] = ""
    energy_proof_url: Annotated[str, Meta(max_length=300)] | None = None


class _Wallet(Struct):
    address: Annotated[str, Meta(max_length=128)] = ""
    chain: Annotated[str, Meta(max_length=24)] = ""


class _Register(Struct):
    node_id: NodeId
    region: Region
    runtime: RuntimeName
    public_key: Annotated[str, Meta(max_length=64)]
    attest: _Attest = msgspec.field(default_factory=_Attest)
    wallet: _Wallet | Annotated[str, Meta(max_length=128)] | None = None
    models: ModelIds = []
    endpoint: Annotated[str, Meta(max_length=300)] | None = None
    agent_version: Annotated[str, Meta(max_length=32)] = ""


class _Metrics(Struct):
    uptime: Annotated[float, Meta(ge=0, le=1e10)]
    gpu_util: Annotated[float, Meta(ge=0, le=1)]
    temp: Annotated[float, Meta(ge=-100, le=200)] | None = None


class _Heartbeat(Struct):
    node_id: NodeId
    ts: Seconds
    metrics: _Metrics
    models: ModelIds | UnsetType | None = UNSET
    endpoint: Annotated[str, Meta(max_length=300)] | None = None


class _Probe(Struct):
    node_id: NodeId
    kind: ProbeKind
    ok: bool
    ts: Seconds
    fault: ProbeFault | None = None
    p50: Milliseconds | None = None
    p95: Milliseconds | None = None
    p99: Milliseconds | None = None
    tps: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    detail: Annotated[str, Meta(max_length=500)] = ""


class _NewKey(Struct):
    public_key: Annotated[str, Meta(max_length=64)]
    node_id: NodeId | None = None
    signature: Annotated[str, Meta(max_length=128)] = ""


def registration(body: dict[str, Any]) -> Registration:
    """POST /v1/nodes/register. Raises ApiError 422."""
    said = _convert(body, _Register)
    wallet = _Wallet(address=said.wallet) if isinstance(said.wallet, str) else said.wallet or _Wallet()
    attestation = msgspec.structs.asdict(said.attest)
    attestation["energy_proof_url"] = _web_address("attest.energy_proof_url", said.attest.energy_proof_url)
    return Registration(
        node_id=sane_node_id("node_id", said.node_id),
        region=said.region,
        runtime=said.runtime,
        public_key=public_key("public_key", said.public_key),
        attestation=attestation,
        wallet_chain=wallet.chain,
        wallet_address=wallet.address,
        models=tuple(dict.fromkeys(said.models)),
        endpoint=_web_address("endpoint", said.endpoint),
        agent_version=said.agent_version,
    )


def beat(body: dict[str, Any]) -> tuple[str, Beat]:
    """POST /v1/nodes/heartbeat: the node that it names, and the rest. Raises ApiError 422.

    Metrics beyond the known ones are kept if they are numbers, short texts or booleans.
    """
    said = _convert(body, _Heartbeat)
    metrics: dict[str, Any] = body["metrics"]
    if len(metrics) > _MOST_METRICS:
        raise _invalid("metrics", f"at most {_MOST_METRICS} of them")
    for name, value in metrics.items():
        if isinstance(value, (int, float)) and abs(value) > _LARGEST_METRIC:
            raise _invalid(f"metrics.{name[:64]}", f"at most {_LARGEST_METRIC:.0e}")
        if len(name) > 64 or not (value is None or isinstance(value, (bool, int, float, str))):
            raise _invalid(f"metrics.{name[:64]}", "must be a number, a boolean or a short text")
        if isinstance(value, str) and len(value) > 200:
            raise _invalid(f"metrics.{name}", "at most 200 characters")
    models = said.models
    known = tuple(dict.fromkeys(models)) if isinstance(models, list) else None
    return said.node_id, Beat(said.ts, metrics, known, _web_address("endpoint", said.endpoint) or None)


def measurement(body: dict[str, Any]) -> Measurement:
    """POST /v1/probes. Raises ApiError 422."""
    said = _convert(body, _Probe)
    if said.ok and said.fault is not None:
        raise _invalid("fault", "a probe that passed has none")
    return Measurement(
        node_id=said.node_id,
        kind=said.kind,
        ok=said.ok,
        ts=datetime.fromtimestamp(said.ts, UTC),
        fault=said.fault,
        p50_ms=said.p50,
        p95_ms=said.p95,
        p99_ms=said.p99,
        tps=said.tps,
        detail=said.detail,
    )


def new_key(body: dict[str, Any]) -> tuple[bytes, _NewKey]:
    """POST /v1/nodes/{node_id}/keys: the key's 32 bytes and the body. Raises ApiError 422."""
    said = _convert(body, _NewKey)
    return public_key("public_key", said.public_key), said


def sane_node_id(field: str, node_id: str) -> str:
    """The id itself; 422 for one that means something else in a URL."""
    if node_id in RESERVED_NODE_IDS:
        raise _invalid(field, "this name is reserved")
    return node_id


def public_key(field: str, text: str) -> bytes:
    """The key's 32 bytes; 422 for what we refuse."""
    try:
        return parse_public_key(text)
    except BadPublicKey as error:
        raise _invalid(field, str(error)) from error


def _web_address(field: str, text: str | None) -> str:
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.username
    except ValueError:
        fine = False
    if not fine or not text.isascii() or any(character <= " " for character in text):
        raise _invalid(field, "must be an http or https URL without credentials")
    return text


def _convert(body: dict[str, Any], shape: type[T]) -> T:
    try:
        return msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        text = str(error)
        at = _AT.search(text)
        message = text[: at.start()] if at else text
        missing = re.search(r"missing required field `(\w+)`", message)
        path = _INDEX.sub(r".\1", at[1]) if at else ""
        if missing:
            path, message = f"{path}.{missing[1]}".lstrip("."), "is required"
        raise _invalid(path or "body", message) from error


def _invalid(field: str, message: str) -> Exception:
    return invalid_request("Some fields are invalid.", [FieldProblem(field, message)])
