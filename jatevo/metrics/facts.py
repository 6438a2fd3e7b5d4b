"""The three kinds of fact that are sent to ClickHouse, and their bodies in the outbox.

A fact is written as one `metrics_outbox` row in the transaction that makes it true. The body is the JSON
object that `to_body()` returns and `parse()` reads. A receipt's row has no body: it names the receipt, from which the
fact is read when it is shipped (sources.py). All times in facts are whole unix seconds (UTC).
"""

from typing import Annotated, Any, Final, cast

import msgspec
from django.db import models
from msgspec import Meta

# ClickHouse's DateTime is a UInt32 of unix seconds; JSON integers are exact up to 2^53 - 1.
UnixSeconds = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=1024)]
Milliseconds = Annotated[float, Meta(ge=0, le=1e12)]
TokensPerSecond = Annotated[float, Meta(ge=0, le=1e12)]


class FactKind(models.TextChoices):
    """The kinds of fact, as stored in `metrics_outbox.kind`."""

    RECEIPT = "receipt"
    LATENCY = "latency"
    UPTIME = "uptime"


class BadBody(ValueError):
    """A body that is not a valid fact of its kind. The message says which member is wrong and why."""


class SearchFact(msgspec.Struct, frozen=True, kw_only=True):
    """What the search of receipts needs beside the rest of the fact.

    `id` is PostgreSQL's, `micros` the part of `accepted_at` below a second. `region` is the receipt's own.
    `org_id` is the node's organisation at acceptance.
    """

    id: Count
    micros: Annotated[int, Meta(ge=0, le=999_999)]
    org_id: str | None
    region: str
    cancelled: bool
    former_key: bool


class ReceiptFact(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted receipt, identified by `(node_id, request_id)`. `p95_ms` is None if it states none.

    `search` is None in facts from before the search read ClickHouse.
    """

    node_id: Name
    request_id: Name
    region: str
    model_id: str
    ts_start: UnixSeconds
    ts_end: UnixSeconds
    accepted_at: UnixSeconds
    tokens_input: Count
    tokens_output: Count
    p95_ms: Milliseconds | None
    hedged: bool
    cache_hit: bool
    failed: bool
    search: SearchFact | None = None

    def to_body(self) -> dict[str, Any]:
        """The outbox body: a JSON object with exactly these members."""
        return _to_body(self)


class LatencyFact(msgspec.Struct, frozen=True, kw_only=True):
    """What one probe measured. `probe_id` identifies it. A figure that it did not measure is None."""

    probe_id: Name
    node_id: Name
    region: str
    ts: UnixSeconds
    p50: Milliseconds | None
    p95: Milliseconds | None
    p99: Milliseconds | None
    tps: TokensPerSecond | None

    def to_body(self) -> dict[str, Any]:
        """The outbox body: a JSON object with exactly these members."""
        return _to_body(self)


class UptimeFact(msgspec.Struct, frozen=True, kw_only=True):
    """A node's minute. `minute` is any second of it. `beats` counts its heartbeats so far.

    There may be several facts for one `(node_id, minute)`, in any order. The one with the most beats counts.
    A minute in which the node was down has `up=False, beats=0`.
    """

    node_id: Name
    minute: UnixSeconds
    up: bool
    beats: Annotated[int, Meta(ge=0, le=2**32 - 1)]

    def to_body(self) -> dict[str, Any]:
        """The outbox body: a JSON object with exactly these members."""
        return _to_body(self)


Fact = ReceiptFact | LatencyFact | UptimeFact

TRACEPARENT: Final = "traceparent"

_TYPES: dict[str, type[Fact]] = {
    FactKind.RECEIPT: ReceiptFact,
    FactKind.LATENCY: LatencyFact,
    FactKind.UPTIME: UptimeFact,
}


def parse(kind: str, body: object) -> Fact:
    """The fact in a decoded outbox body. Unknown members are ignored. Raises BadBody."""
    fact_type = _TYPES.get(kind)
    if fact_type is None:
        raise BadBody(f"unknown kind {kind!r}")
    try:
        return msgspec.convert(body, type=fact_type)
    except msgspec.ValidationError as error:
        raise BadBody(str(error)) from error


def traceparent_of(body: object) -> str:
    """The trace that a decoded outbox body names, or ''. It goes on when the fact is shipped."""
    found = body.get(TRACEPARENT) if isinstance(body, dict) else None
    return found if isinstance(found, str) else ""


def _to_body(fact: Fact) -> dict[str, Any]:
    return cast(dict[str, Any], msgspec.to_builtins(fact))
