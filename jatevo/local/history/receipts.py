"""Receipts of invented nodes, with exact bytes and valid signatures."""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

import orjson
from django.db import connection
from nacl.signing import SigningKey

from jatevo.local.history.copying import copy_lines, moment
from jatevo.local.history.fleet import HOUR, MINUTE, WHOLE_HOUR, InventedFleet, InventedNode
from jatevo.local.history.measurements import ACCEPTED_AFTER_SECONDS
from jatevo.metrics.facts import ReceiptFact
from jatevo.metrics.models import ReceiptGap
from jatevo.wire import schema
from jatevo.wire.concurrency import DEFAULT_CONCURRENCY
from jatevo.wire.keys import signature_text
from jatevo.wire.names import normal_model
from nodes.rules.lifecycle import Status

T = TypeVar("T")
_WHOLE = range(60)
_COLUMNS = (
    "accepted_at", "node_id", "request_id", "region", "model_id", "ts_start", "ts_end", "tokens_input", "tokens_output",
    "p95_ms", "hedged", "cache_hit", "failed", "node_status", "node_status_at_end", "org_id", "concurrency", "public_key",
    "key_since", "sha256", "raw", "payload",
)  # fmt: skip


_DISPATCH = (
    "gateway_id", "request_id", "node_id", "model", "model_id", "ts", "hedged", "tokens_input", "max_tokens", "received_at",
)  # fmt: skip
# What acceptance writes beside each receipt, from one scan over the receipts just written.
_BESIDE = """
WITH written AS MATERIALIZED (
    SELECT id, accepted_at, node_id, request_id, sha256 FROM receipts_receipt
    WHERE id > %(before)s AND node_id = ANY (%(nodes)s) AND accepted_at >= %(first)s AND accepted_at < %(until)s
), queued AS (
    INSERT INTO receipts_unjudged (id, accepted_at, node_id, request_id)
    SELECT id, accepted_at, node_id, request_id FROM written
)
INSERT INTO receipts_receiptidentity (node_id, request_id, sha256, accepted_at)
SELECT node_id, request_id, sha256, accepted_at FROM written
"""


@dataclass(frozen=True, slots=True)
class InventedReceipt:
    """A receipt as ClickHouse stores it (`fact`) and as a line of PostgreSQL's COPY (`line`)."""

    fact: ReceiptFact
    line: str


def write_receipts(
    fleet: InventedFleet,
    orgs: Sequence[UUID],
    *,
    first: int,
    until: int,
    per_node_day: float,
    draw: random.Random,
    marks: Mapping[str, Any] | None = None,
    gateway: str = "",
    dispatched_share: float = 0.0,
) -> list[ReceiptFact]:
    """Writes the receipts that ended in `first <= t < until`, and their identities. Returns them as facts.

    They are in the order of acceptance, and all are queued for earnings. `first` is a whole hour in unix seconds.
    `marks` are further signed members of each. For the share `dispatched_share` of them, from 0 to 1, the gateway
    states that it sent the request to the node.
    """
    written = [
        receipt
        for member in fleet.members
        for receipt in _receipts(member, str(orgs[member.org]), first, until, per_node_day, draw, marks or {})
    ]
    written.sort(key=lambda receipt: receipt.fact.accepted_at)
    facts = [receipt.fact for receipt in written]
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('receipts_receipt_id_seq')")
        ((before,),) = cursor.fetchall()
        copy_lines("receipts_receipt", _COLUMNS, (receipt.line for receipt in written))
        window = {
            "first": moment(first + ACCEPTED_AFTER_SECONDS),
            "until": moment(until + ACCEPTED_AFTER_SECONDS),
        }
        nodes = [member.node_id for member in fleet.members]
        cursor.execute(_BESIDE, {"before": before, "nodes": nodes, **window})
    if facts:
        times = [fact.accepted_at for fact in facts]
        ReceiptGap.objects.create(first_at=moment(min(times)), until_at=moment(max(times) + 1))
    if gateway:
        chosen = (fact for fact in facts if draw.random() < dispatched_share)
        copy_lines("receipts_dispatch", _DISPATCH, (_dispatch(fact, gateway, draw) for fact in chosen))
    return facts


def _receipts(
    member: InventedNode,
    org: str,
    first: int,
    until: int,
    per_node_day: float,
    draw: random.Random,
    marks: Mapping[str, Any],
) -> Iterator[InventedReceipt]:
    gaps = member.gaps(first, until=until)
    for hour in range(first, until, HOUR):
        silent = gaps.get(hour, 0)
        heard = (WHOLE_HOUR & ~silent).bit_count()
        count = int(per_node_day / 24 * heard / 60 + draw.random())
        if not count or not heard:
            continue
        minutes = [minute for minute in range(60) if not silent >> minute & 1] if silent else _WHOLE
        for _ in range(count):
            ends = hour + MINUTE * _one_of(draw, minutes) + _between(draw, 0, MINUTE - 1)
            yield _receipt(member, org, min(ends, until - 5), draw, marks)


def _receipt(
    member: InventedNode, org: str, ends: int, draw: random.Random, marks: Mapping[str, Any]
) -> InventedReceipt:
    seconds = _between(draw, 1, 20)
    failed = draw.random() < 0.01
    payload: dict[str, Any] = {
        "version": schema.VERSION,
        "request_id": f"r_{draw.getrandbits(128):032x}",
        "node_id": member.node_id,
        "region": member.region,
        "ts_start": ends - seconds,
        "ts_end": ends,
        "model_id": _one_of(draw, member.models),
        "model_hash": f"sha256:{member.model_digest}",
        "prompt_hash": f"blake3:{draw.getrandbits(256):064x}",
        "tokens_input": _between(draw, 40, 3000),
        "tokens_output": 0 if failed else _between(draw, 10, 900),
        "p95_ms": round(member.p50_ms * draw.uniform(1.2, 3.0)),
        "s3_checkpoints": [100],
        "hedged": draw.random() < 0.05,
        "cache_hit": draw.random() < 0.2,
        **marks,
    }
    if failed:
        payload["outcome"] = schema.RequestOutcome.ERROR.value
    raw = _signed(payload, member.signing_key)
    fact = ReceiptFact(
        node_id=member.node_id,
        request_id=payload["request_id"],
        region=member.region,
        model_id=payload["model_id"],
        ts_start=payload["ts_start"],
        ts_end=ends,
        accepted_at=ends + ACCEPTED_AFTER_SECONDS,
        tokens_input=payload["tokens_input"],
        tokens_output=payload["tokens_output"],
        p95_ms=payload["p95_ms"],
        hedged=payload["hedged"],
        cache_hit=payload["cache_hit"],
        failed=failed,
    )
    return InventedReceipt(fact, _line(fact, member, org, raw))


def _between(draw: random.Random, low: int, high: int) -> int:
    """From low to high, both included. `randint` is unbiased, and takes five times as long."""
    return low + int(draw.random() * (high - low + 1))


def _one_of(draw: random.Random, several: Sequence[T]) -> T:
    return several[int(draw.random() * len(several))]


def _signed(payload: Mapping[str, Any], key: SigningKey) -> bytes:
    """The receipt with its signature. Its members are such that their sorted JSON is their RFC 8785 form.

    These are ASCII names with texts, whole numbers, booleans and lists of them. `signing.sign` takes any others, and
    twice as long.
    """
    statement = orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)
    signature = signature_text(key.sign(statement).signature)
    return b'%s,"signature":"%s"}' % (statement[:-1], signature.encode())


def _line(fact: ReceiptFact, member: InventedNode, org: str, raw: bytes) -> str:
    """The receipt's row in the order of `_COLUMNS`. COPY wants backslashes doubled; JSON has no raw tab or newline."""
    status = Status.ACTIVE if fact.ts_end < member.status_since else member.status
    payload = raw.decode().replace("\\", "\\\\")
    return (
        f"{_text(fact.accepted_at)}\t{fact.node_id}\t{fact.request_id}\t{fact.region}\t{fact.model_id}\t"
        f"{_text(fact.ts_start)}\t{_text(fact.ts_end)}\t{fact.tokens_input}\t{fact.tokens_output}\t{fact.p95_ms}\t"
        f"{fact.hedged}\t{fact.cache_hit}\t{fact.failed}\t{status.value}\t{status.value}\t{org}\t"
        f"{DEFAULT_CONCURRENCY}\t\\\\x{member.public_key_hex}\t{_text(member.joined)}\t\\\\x{hashlib.sha256(raw).hexdigest()}\t\\\\x{raw.hex()}\t{payload}\n"
    )


@lru_cache(maxsize=2**17)  # a day's seconds, each of which many receipts have
def _text(seconds: int) -> str:
    """The moment as PostgreSQL reads it."""
    return f"{moment(seconds):%F %T}+00"


def _dispatch(fact: ReceiptFact, gateway: str, draw: random.Random) -> str:
    """What the gateway stated when it sent the request, as a line of COPY. It did not know the outcome yet."""
    return (
        f"{gateway}\t{fact.request_id}\t{fact.node_id}\t{_normal_model(fact.model_id)}\t{fact.model_id}\t"
        f"{_text(fact.ts_start)}\t{fact.hedged}\t{fact.tokens_input}\t"
        f"{max(fact.tokens_output, 1) + _between(draw, 0, 512)}\t{_text(fact.ts_start + 1)}\n"
    )


_normal_model = lru_cache(maxsize=1024)(normal_model)
