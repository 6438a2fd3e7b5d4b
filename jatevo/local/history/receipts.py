"""Invented nodes' receipts: exact bytes, and a signature that verifies."""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from jatevo.local.history.copying import copy_lines, copy_rows, moment
from jatevo.local.history.fleet import HOUR, WHOLE_HOUR, InventedFleet, InventedNode, dice
from jatevo.local.history.measurements import ACCEPTED_AFTER_SECONDS
from jatevo.metrics.facts import ReceiptFact
from jatevo.wire import schema, signing
from nodes.rules.lifecycle import Status

_COLUMNS = (
    "accepted_at", "node_id", "request_id", "region", "model_id", "ts_start", "ts_end", "tokens_input", "tokens_output",
    "p95_ms", "hedged", "cache_hit", "failed", "payable", "node_status", "public_key", "sha256", "raw", "payload",
)  # fmt: skip


@dataclass(frozen=True)
class InventedReceipt:
    """A receipt as PostgreSQL gets it, and as ClickHouse does."""

    row: tuple[Any, ...]
    fact: ReceiptFact


def write_receipts(
    fleet: InventedFleet,
    *,
    hours: int,
    per_node_day: float,
    seed: int,
    now: int,
    marks: Mapping[str, Any] | None = None,
) -> list[ReceiptFact]:
    """Receipts with identities and claims since so many hours before the running one; what ClickHouse should know of them.

    `marks` are further members of each, signed like the rest.
    """
    first = now - now % HOUR - hours * HOUR
    draw = dice(seed, "receipts")
    facts: list[ReceiptFact] = []
    identities: list[tuple[Any, ...]] = []

    def rows() -> Iterator[tuple[Any, ...]]:
        for member in fleet.members:
            for written in _receipts(member, first, per_node_day, now, draw, marks or {}):
                facts.append(written.fact)
                identities.append((written.fact, written.row[16]))
                yield written.row

    copy_rows("receipts_receipt", _COLUMNS, rows())
    copy_lines(
        "receipts_receiptidentity",
        ("node_id", "request_id", "sha256", "accepted_at"),
        (
            f"{fact.node_id}\t{fact.request_id}\t\\\\x{sha256.hex()}\t{moment(fact.accepted_at):%F %T}+00\n"
            for fact, sha256 in identities
        ),
    )
    copy_lines(
        "receipts_payableclaim",
        ("request_id", "node_id"),
        (f"{fact.request_id}\t{fact.node_id}\n" for fact in facts if fact.payable),
    )
    return facts


def _receipts(
    member: InventedNode,
    first: int,
    per_node_day: float,
    now: int,
    draw: random.Random,
    marks: Mapping[str, Any],
) -> Iterator[InventedReceipt]:
    gaps = member.gaps(first, until=now)
    for hour in range(first, now, HOUR):
        heard = (WHOLE_HOUR & ~gaps.get(hour, 0)).bit_count() / 60
        count = int(per_node_day / 24 * heard + draw.random())
        for _ in range(count):
            if gaps.get(hour) != WHOLE_HOUR:
                ends = hour + draw.randrange(min(HOUR, max(1, now - 5 - hour)))
                yield _receipt(member, ends, draw, marks)


def _receipt(
    member: InventedNode, ends: int, draw: random.Random, marks: Mapping[str, Any]
) -> InventedReceipt:
    seconds = draw.randint(1, 20)
    failed = draw.random() < 0.01
    payload: dict[str, Any] = {
        "version": schema.VERSION,
        "request_id": f"r_{draw.getrandbits(128):032x}",
        "node_id": member.node_id,
        "region": member.region,
        "ts_start": ends - seconds,
        "ts_end": ends,
        "model_id": draw.choice(member.models),
        "model_hash": f"sha256:{member.digest('model').hex()}",
        "prompt_hash": f"blake3:{draw.getrandbits(256):064x}",
        "tokens_input": draw.randint(40, 3000),
        "tokens_output": 0 if failed else draw.randint(10, 900),
        "p95_ms": round(member.p50_ms * draw.uniform(1.2, 3.0)),
        "s3_checkpoints": [100],
        "hedged": draw.random() < 0.05,
        "cache_hit": draw.random() < 0.2,
        **marks,
    }
    if failed:
        payload["outcome"] = schema.RequestOutcome.ERROR.value
    signed = signing.sign(payload, member.signing_key)
    raw = orjson.dumps(signed)
    status = Status.ACTIVE if ends < member.status_since else member.status
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
        payable=status is Status.ACTIVE,
    )
    return InventedReceipt(_row(fact, member, status, raw), fact)


def _row(fact: ReceiptFact, member: InventedNode, status: Status, raw: bytes) -> tuple[Any, ...]:
    return (
        moment(fact.accepted_at),
        fact.node_id,
        fact.request_id,
        fact.region,
        fact.model_id,
        moment(fact.ts_start),
        moment(fact.ts_end),
        fact.tokens_input,
        fact.tokens_output,
        fact.p95_ms,
        fact.hedged,
        fact.cache_hit,
        fact.failed,
        fact.payable,
        status.value,
        bytes(member.signing_key.verify_key),
        hashlib.sha256(raw).digest(),
        raw,
        raw.decode(),
    )
