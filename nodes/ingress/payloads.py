"""Bodies of signed requests: fields, types and ranges. They use msgspec, because this is the hot path."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from jatevo.web.errors import FieldProblem, invalid_request
from jatevo.wire.concurrency import DEFAULT_CONCURRENCY, MAX_CONCURRENCY
from jatevo.wire.endpoints import endpoint_problem
from jatevo.wire.keys import MalformedKeyError, parse_public_key
from jatevo.wire.names import (
    MAX_NAME_CHARACTERS,
    NODE_ID_PATTERN,
    REGION_PATTERN,
    RESERVED_NODE_IDS,
    distinct_models,
    name_problem,
    shows_plainly,
)
from nodes.actions import Beat, ChallengeAnswer, Measurement, Registration, Statement
from nodes.rules.probes import ProbeFault, ProbeKind

NodeId = Annotated[str, Meta(pattern=rf"^{NODE_ID_PATTERN}\Z")]
Region = Annotated[str, Meta(pattern=rf"^{REGION_PATTERN}\Z")]
RuntimeName = Literal["ollama", "vllm", "tensorrtllm", "tgi"]
Names = Annotated[list[str], Meta(max_length=200)]
Concurrency = Annotated[int, Meta(ge=1, le=MAX_CONCURRENCY)]
Seconds = Annotated[float, Meta(ge=0, le=4_102_444_800)]  # up to the year 2100
Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]

T = TypeVar("T")
_AT = re.compile(r" - at `(?:key in )?\$\.?(.*?)`$")
_INDEX = re.compile(r"\[(\w+|\.\.\.)\]")
_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"
_MOST_METRICS = 64
_LARGEST_METRIC = 1e15
_ATTESTED_NAMES = ("gpu_model", "driver_version", "cuda_version", "hardware_hash")


class _Attest(Struct):
    """What the node states about its hardware. Null and absent both mean unknown."""

    gpu_model: str | UnsetType | None = UNSET
    vram_gb: Annotated[int, Meta(ge=0, le=1_000_000)] | UnsetType | None = UNSET
    driver_version: str | UnsetType | None = UNSET
    cuda_version: str | UnsetType | None = UNSET
    hardware_hash: str | UnsetType | None = UNSET
    energy_proof_url: Annotated[str, Meta(max_length=300)] | UnsetType | None = UNSET


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
    models: Names = []
    endpoint: str | None = None
    concurrency: Concurrency | None = None
    agent_version: str | None = None


class _Metrics(Struct):
    uptime: Annotated[float, Meta(ge=0, le=1e10)] | None
    gpu_util: Annotated[float, Meta(ge=0, le=1)] | None = None
    temp: Annotated[float, Meta(ge=-100, le=200)] | None = None


class _Heartbeat(Struct):
    node_id: NodeId
    ts: Seconds
    metrics: _Metrics
    models: Names | UnsetType | None = UNSET
    endpoint: str | None = None
    concurrency: Concurrency | None = None
    agent_version: str | None = None
    attest: _Attest | None = None


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


class _ChallengeAnswer(Struct):
    """What an agent answers to a challenge. The last three are about the runtime's output to its prompt."""

    node_id: NodeId
    id: Annotated[str, Meta(pattern=_UUID)]
    signature: Annotated[str, Meta(max_length=128)]
    output_hash: Annotated[str, Meta(pattern=r"^blake3:[0-9a-f]{64}\Z")] | None = None
    tokens_output: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    first_token_ms: Milliseconds | None = None


class _NewKey(Struct):
    public_key: Annotated[str, Meta(max_length=64)]
    node_id: NodeId | None = None
    signature: Annotated[str, Meta(max_length=128)] = ""


# Descriptions of the bodies for the OpenAPI document.
REGISTRATION, HEARTBEAT, PROBE, NEW_KEY = _Register, _Heartbeat, _Probe, _NewKey
CHALLENGE_ANSWER = _ChallengeAnswer


def registration(body: dict[str, Any]) -> Registration:
    """POST /v1/nodes/register. Raises ApiError 422."""
    said = convert(body, _Register)
    wallet = _Wallet(address=said.wallet) if isinstance(said.wallet, str) else said.wallet or _Wallet()
    attested, bad = _attested(said.attest)
    bad |= _name_problems({f"models.{position}": name for position, name in enumerate(said.models)})
    bad |= _name_problems(
        {
            "agent_version": said.agent_version or None,
            "wallet.chain": wallet.chain or None,
            "wallet.address": wallet.address or None,
        }
    )
    if bad:
        problems = [FieldProblem(field, problem) for field, problem in bad.items()]
        raise invalid_request("Some fields are invalid.", problems)
    return Registration(
        node_id=sane_node_id("node_id", said.node_id),
        region=said.region,
        runtime=said.runtime,
        public_key=public_key("public_key", said.public_key),
        attestation=attested,
        wallet_chain=wallet.chain,
        wallet_address=wallet.address,
        models=distinct_models(said.models),
        endpoint=_endpoint(said.endpoint) or "",
        concurrency=said.concurrency or DEFAULT_CONCURRENCY,
        agent_version=said.agent_version or "",
    )


@dataclass(frozen=True)
class Heard:
    """A parsed heartbeat: its figures, what it states about the node, and what was ignored.

    `ignored` lists what breaks the rule for names: models as they came, other members by their path. They are
    ignored rather than refused, so that one bad name does not silence a node.
    """

    node_id: str
    beat: Beat
    statement: Statement
    ignored: list[str]


def heartbeat(body: dict[str, Any]) -> Heard:
    """POST /v1/nodes/heartbeat. Raises ApiError 422.

    Unknown metrics are kept if they are numbers, short texts or booleans.
    """
    said = convert(body, _Heartbeat)
    metrics, bad_metrics = _metrics(body["metrics"])
    models: tuple[str, ...] | None = None
    bad_models: list[str] = []
    if isinstance(said.models, list):
        models = distinct_models(name for name in said.models if name_problem(name) is None)
        bad_models = [name[: MAX_NAME_CHARACTERS + 1] for name in said.models if name_problem(name)]
    attested, bad = _attested(said.attest) if said.attest else ({}, {})
    version = said.agent_version
    if version and name_problem(version):
        version, bad = None, {**bad, "agent_version": ""}
    return Heard(
        node_id=said.node_id,
        beat=Beat(said.ts, metrics, models, _endpoint(said.endpoint)),
        statement=Statement(agent_version=version, concurrency=said.concurrency, attestation=attested),
        ignored=[*dict.fromkeys(bad_models), *bad_metrics, *bad],
    )


def measurement(body: dict[str, Any]) -> Measurement:
    """POST /v1/probes. Raises ApiError 422."""
    said = convert(body, _Probe)
    if said.ok and said.fault is not None:
        raise _invalid("fault", "must be empty for a passed probe")
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


def challenge_answer(body: dict[str, Any]) -> tuple[str, ChallengeAnswer]:
    """POST /v1/nodes/challenge: the node that is named, and its answer. Raises ApiError 422."""
    said = convert(body, _ChallengeAnswer)
    return said.node_id, ChallengeAnswer(
        challenge_id=said.id,
        signature=said.signature,
        output_hash=said.output_hash,
        tokens_output=said.tokens_output,
        first_token_ms=said.first_token_ms,
    )


def new_key(body: dict[str, Any]) -> tuple[bytes, _NewKey]:
    """POST /v1/nodes/{node_id}/keys: the key's 32 bytes and the body. Raises ApiError 422."""
    said = convert(body, _NewKey)
    return public_key("public_key", said.public_key), said


def sane_node_id(field: str, node_id: str) -> str:
    """The id, if it is allowed. Raises ApiError 422 for a reserved one."""
    if node_id in RESERVED_NODE_IDS:
        raise _invalid(field, "this name is reserved")
    return node_id


def public_key(field: str, text: str) -> bytes:
    """The key's 32 bytes. Raises ApiError 422 for a key that is refused."""
    try:
        return parse_public_key(text)
    except MalformedKeyError as error:
        raise _invalid(field, str(error)) from error


def _endpoint(text: str | None) -> str | None:
    """The endpoint as given, or None. Raises ApiError 422 for one that no validator would probe."""
    if not text:
        return None
    if problem := endpoint_problem(text):
        raise _invalid("endpoint", problem)
    return text


def _attested(said: _Attest) -> tuple[dict[str, Any], dict[str, str]]:
    """The hardware statement, ready to store, and what breaks the rule for names, with the reason.

    Unknown texts are ''. Raises ApiError 422 for an energy proof that is not a web address.
    """
    members = {name: value for name, value in msgspec.structs.asdict(said).items() if value is not UNSET}
    if "energy_proof_url" in members:
        members["energy_proof_url"] = _web_address("attest.energy_proof_url", said.energy_proof_url or "")
    for name in _ATTESTED_NAMES:
        if name in members:
            members[name] = members[name] or ""
    bad = _name_problems({f"attest.{name}": members.get(name) or None for name in _ATTESTED_NAMES})
    for path in bad:
        del members[path.removeprefix("attest.")]
    return members, bad


def _name_problems(names: Mapping[str, str | None]) -> dict[str, str]:
    """Why each refused name is refused, by its path. None means that a name was not stated."""
    judged = {path: name_problem(name) for path, name in names.items() if name is not None}
    return {path: problem for path, problem in judged.items() if problem is not None}


def _metrics(said: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The metrics to keep, and the paths of those whose name or text must not be shown."""
    if len(said) > _MOST_METRICS:
        raise _invalid("metrics", f"at most {_MOST_METRICS} of them")
    kept, ignored = {}, []
    for name, value in said.items():
        path = f"metrics.{name[:64]}"
        if isinstance(value, (int, float)) and abs(value) > _LARGEST_METRIC:
            raise _invalid(path, f"at most {_LARGEST_METRIC:.0e}")
        if len(name) > 64 or not (value is None or isinstance(value, (bool, int, float, str))):
            raise _invalid(path, "must be a number, a boolean or a short text")
        if isinstance(value, str) and len(value) > 200:
            raise _invalid(path, "at most 200 characters")
        if name_problem(name) or (isinstance(value, str) and not shows_plainly(value)):
            ignored.append(path)
        else:
            kept[name] = value
    return kept, ignored


def _web_address(field: str, text: str) -> str:
    """A link for people, which unlike an endpoint may have a query and a fragment. '' stands for none.

    Raises ApiError 422 for anything else.
    """
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


def convert(body: dict[str, Any], shape: type[T]) -> T:
    """The body in that shape. Raises ApiError 422 that names the first field that is wrong."""
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
