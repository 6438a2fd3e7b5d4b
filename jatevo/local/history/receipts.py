"""Receipts of invented nodes, with exact bytes and valid signatures."""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from jatevo.local.history.copying import copy_lines, copy_rows, moment
from jatevo.local.history.fleet import HOUR, MINUTE, WHOLE_HOUR, InventedFleet, InventedNode, dice
from jatevo.local.history.measurements import ACCEPTED_AFTER_SECONDS
from jatevo.metrics.facts import ReceiptFact
from jatevo.wire import schema, signing
from jatevo.wire.concurrency import DEFAULT_CONCURRENCY
from jatevo.wire.names import normal_model
from nodes.rules.lifecycle import Status

_COLUMNS = (
    "accepted_at", "node_id", "request_id", "region", "model_id", "ts_start", "ts_end", "tokens_input", "tokens_output",
    "p95_ms", "hedged", "cache_hit", "failed", "node_status", "node_status_at_end", "org_id", "concurrency", "public_key",
    "key_since", "sha256", "raw", "payload",
)  # fmt: skip


_DISPATCH = (
    "gateway_id", "request_id", "node_id", "model", "model_id", "ts", "hedged", "tokens_input", "max_tokens", "received_at",
)  # fmt: skip
_QUEUE = """
INSERT INTO receipts_unjudged (id, accepted_at, node_id, request_id)
SELECT id, accepted_at, node_id, request_id FROM receipts_receipt WHERE id > %(before)s AND node_id = ANY (%(nodes)s)
"""


@dataclass(frozen=True)
class InventedReceipt:
    """A receipt as PostgreSQL stores it (`row`) and as ClickHouse does (`fact`)."""

    row: tuple[Any, ...]
    fact: ReceiptFact


def write_receipts(
    fleet: InventedFleet,
    orgs: Sequence[UUID],
    *,
    hours: int,
    per_node_day: float,
    seed: int,
    now: int,
    marks: Mapping[str, Any] | None = None,
    gateway: str = "",
    dispatched_share: float = 0.0,
) -> list[ReceiptFact]:
    """Writes receipts and their identities, from `hours` hours before the current one. Returns them as facts.

    All of them are queued for earnings. `marks` are further signed members of each. For the share
    `dispatched_share` of them, from 0 to 1, the gateway states that it sent the request to the node.
    """
    first = now - now % HOUR - hours * HOUR
    draw = dice(seed, "receipts")
    facts: list[ReceiptFact] = []
    identities: list[tuple[Any, ...]] = []

    def rows() -> Iterator[tuple[Any, ...]]:
        for member in fleet.members:
            org = orgs[member.org]
            for written in _receipts(member, org, first, per_node_day, now, draw, marks or {}):
                facts.append(written.fact)
                identities.append((written.fact, written.row[_COLUMNS.index("sha256")]))
                yield written.row

    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('receipts_receipt_id_seq')")
        ((before,),) = cursor.fetchall()
        copy_rows("receipts_receipt", _COLUMNS, rows())
        nodes = [member.node_id for member in fleet.members]
        cursor.execute(_QUEUE, {"before": before, "nodes": nodes})
    copy_lines(
        "receipts_receiptidentity",
        ("node_id", "request_id", "sha256", "accepted_at"),
        (
            f"{fact.node_id}\t{fact.request_id}\t\\\\x{sha256.hex()}\t{moment(fact.accepted_at):%F %T}+00\n"
            for fact, sha256 in identities
        ),
    )
    if gateway:
        sent = dice(seed, "dispatches")
        chosen = (fact for fact in facts if sent.random() < dispatched_share)
        copy_rows("receipts_dispatch", _DISPATCH, (_dispatch(fact, gateway, sent) for fact in chosen))
    return facts


def _receipts(
    member: InventedNode,
    org: UUID,
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
        minutes = [minute for minute in range(60) if not gaps.get(hour, 0) >> minute & 1]
        for _ in range(count if minutes else 0):
            ends = hour + MINUTE * draw.choice(minutes) + draw.randrange(MINUTE)
            yield _receipt(member, org, min(ends, now - 5), draw, marks)


def _receipt(
    member: InventedNode, org: UUID, ends: int, draw: random.Random, marks: Mapping[str, Any]
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
    )
    return InventedReceipt(_row(fact, member, org, status, raw), fact)


def _row(fact: ReceiptFact, member: InventedNode, org: UUID, status: Status, raw: bytes) -> tuple[Any, ...]:
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
        status.value,
        status.value,
        org,
        DEFAULT_CONCURRENCY,
        bytes(member.signing_key.verify_key),
        moment(member.joined),
        hashlib.sha256(raw).digest(),
        raw,
        raw.decode(),
    )


def _dispatch(fact: ReceiptFact, gateway: str, draw: random.Random) -> tuple[Any, ...]:
    """What the gateway stated when it sent the request. It did not know the outcome yet."""
    return (
        gateway,
        fact.request_id,
        fact.node_id,
        normal_model(fact.model_id),
        fact.model_id,
        moment(fact.ts_start),
        fact.hedged,
        fact.tokens_input,
        max(fact.tokens_output, 1) + draw.randint(0, 512),
        moment(fact.ts_start + 1),
    )
