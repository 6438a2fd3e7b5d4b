"""Accepting receipts. Each is judged alone, and an accepted one is committed before the answer is 201.

One SQL statement creates identity, receipt, outbox row and the entry in the queue of earnings. PostgreSQL
therefore decides about duplicates and conflicts between concurrent posts, and a receipt is never stored in
part. Whether a receipt is paid is not decided here: acceptance records the facts by which earnings judge.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import orjson
from django.db import connection, transaction

from jatevo.audit.record import Actor
from jatevo.metrics.facts import ReceiptFact, SearchFact
from jatevo.web.postgresql.statements import fetch
from jatevo.wire import schema, signing
from nodes.actions import find_fraud
from nodes.ingress.authentication import KeySpan, NodeCaller
from nodes.models import FraudCause
from receipts.models import ReceiptIdentity, RefusalReason
from receipts.refused.recording import Refusal, keep, try_to_keep

CLOCK_GRACE_SECONDS: Final = 300.0  # a key that was just replaced may still sign requests that were under way


class Ruling(StrEnum):
    """The outcome for a posted receipt."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "receipt_conflict"
    INVALID = "invalid_request"
    MISMATCH = "node_mismatch"
    FORGED = "invalid_signature"


@dataclass(frozen=True)
class Posted:
    """A receipt as posted: the exact bytes, and their value as strict JSON."""

    raw: bytes
    payload: Any


@dataclass(frozen=True)
class Verdict:
    """The ruling on one posted receipt. `problems` lists the fields that are wrong."""

    request_id: str
    ruling: Ruling
    problems: tuple[schema.FieldError, ...] = ()


@dataclass(frozen=True)
class _Sound:
    """A receipt whose fields and signature are valid."""

    posted: Posted
    sha256: bytes
    key: KeySpan


def accept(*, caller: NodeCaller, posted: Sequence[Posted], at: datetime) -> list[Verdict]:
    """Judges the receipts that a node posted and stores the valid ones. Returns verdicts in the order given.

    A receipt that no key of the node has signed is kept as evidence and opens a finding of fraud. This
    happens in its own transaction, so that a later failure does not undo it. Other refused receipts are kept
    last, once the answer is certain.
    """
    verdicts: list[Verdict | None] = [None] * len(posted)
    sound: dict[int, _Sound] = {}
    for number, one in enumerate(posted):
        judged = _judge(caller, one, at)
        if isinstance(judged, _Sound):
            sound[number] = judged
        else:
            verdicts[number] = judged
    forged = [
        posted[number] for number, judged in enumerate(verdicts) if judged and judged.ruling is Ruling.FORGED
    ]
    if forged:
        _keep_evidence(caller, forged, at)
    for number, ruling in _store(caller, sound, at).items():
        verdicts[number] = Verdict(sound[number].posted.payload["request_id"], ruling)
    ruled = [verdict for verdict in verdicts if verdict is not None]
    refused = [
        _refusal(one, verdict, sound.get(number))
        for number, (one, verdict) in enumerate(zip(posted, ruled, strict=True))
        if verdict.ruling in _KEPT_LAST
    ]
    if refused:
        try_to_keep(caller.node_id, refused, at=at)
    return ruled


def _judge(caller: NodeCaller, posted: Posted, at: datetime) -> "_Sound | Verdict":
    payload = posted.payload
    if not isinstance(payload, dict):
        return Verdict("", Ruling.INVALID, (schema.FieldError("body", "must be a JSON object"),))
    request_id = payload.get("request_id")
    name = request_id[:128] if isinstance(request_id, str) else ""
    if isinstance(payload.get("node_id"), str) and payload["node_id"] != caller.node_id:
        return Verdict(name, Ruling.MISMATCH)
    problems = [
        problem
        for problem in schema.check_fields(payload, now=at.timestamp())
        # a signature that is text of another form is an invalid signature, not an invalid field
        if problem.field != "signature" or not isinstance(payload.get("signature"), str)
    ]
    if problems:
        return Verdict(name, Ruling.INVALID, tuple(problems))
    # A receipt is forged if no key of the node, current or former, has signed it. An agent that does not know
    # that its key was changed still signs with the former key. Whether such a receipt is paid is decided
    # later, by when the key was current.
    for key in sorted(caller.keys, key=lambda key: not in_key_life(key, payload["ts_end"])):
        if signing.verify(payload, key.public_key):
            return _Sound(posted, hashlib.sha256(posted.raw).digest(), key)
    return Verdict(name, Ruling.FORGED)


def in_key_life(key: KeySpan, ts_end: float) -> bool:
    """Whether the key was current at `ts_end` (unix seconds), with a grace at both ends."""
    ended = key.until is not None and ts_end > key.until + CLOCK_GRACE_SECONDS
    return key.since - CLOCK_GRACE_SECONDS <= ts_end and not ended


_KEPT_LAST: Final = {
    Ruling.CONFLICT: RefusalReason.CONFLICT,
    Ruling.MISMATCH: RefusalReason.WRONG_NODE,
    Ruling.INVALID: RefusalReason.INVALID,
}
_DETAILS: Final = {
    RefusalReason.FORGED: "the ed25519 signature does not verify with any key that the node has or had",
    RefusalReason.CONFLICT: "the node already had a different receipt with this request_id",
    RefusalReason.WRONG_NODE: "the receipt names a different node from the one that sent it",
}


def _refusal(posted: Posted, verdict: Verdict, sound: _Sound | None) -> Refusal:
    reason = _KEPT_LAST[verdict.ruling]
    detail = "; ".join(f"{problem.field} {problem.message}" for problem in verdict.problems)
    return Refusal(
        reason,
        posted.raw,
        verdict.request_id,
        _DETAILS.get(reason, detail),
        sound.key.public_key if sound else None,
    )


def _keep_evidence(caller: NodeCaller, forged: Sequence[Posted], at: datetime) -> None:
    refusals = [
        Refusal(
            RefusalReason.FORGED,
            one.raw,
            one.payload["request_id"],
            _DETAILS[RefusalReason.FORGED],
            caller.keys[0].public_key,
        )
        for one in forged
    ]
    first = refusals[0]
    evidence = {
        "count": len(refusals),
        "request_id": first.request_id,
        "sha256": hashlib.sha256(first.raw).hexdigest(),
    }
    with transaction.atomic():
        keep(caller.node_id, refusals, at=at)
        find_fraud(
            caller.node_id,
            cause=FraudCause.RECEIPT_FORGED,
            by=Actor("node", caller.node_id),
            at=at,
            doubtful_from=min(at, *(datetime.fromtimestamp(one.payload["ts_end"], UTC) for one in forged)),
            evidence=evidence,
        )


# Rows are inserted in order of request id, so that two batches with common ids lock them in the same order.
_SQL = """
WITH input AS MATERIALIZED (
    SELECT * FROM unnest(
        %(request_id)s::varchar[], %(region)s::varchar[], %(model_id)s::varchar[],
        %(ts_start)s::timestamptz[], %(ts_end)s::timestamptz[],
        %(tokens_input)s::bigint[], %(tokens_output)s::bigint[], %(p95_ms)s::float8[],
        %(hedged)s::boolean[], %(cache_hit)s::boolean[], %(failed)s::boolean[],
        %(public_key)s::bytea[], %(key_since)s::timestamptz[], %(key_until)s::timestamptz[],
        %(sha256)s::bytea[], %(raw)s::bytea[], %(payload)s::jsonb[], %(fact)s::jsonb[]
    ) AS t (request_id, region, model_id, ts_start, ts_end, tokens_input, tokens_output, p95_ms,
            hedged, cache_hit, failed, public_key, key_since, key_until, sha256, raw, payload, fact)
    ORDER BY request_id
), node AS (
    SELECT status, region, org_id, concurrency FROM nodes_node WHERE id = %(node)s::text
), identity AS (
    INSERT INTO receipts_receiptidentity (node_id, request_id, sha256, accepted_at)
    SELECT %(node)s::text, request_id, sha256, %(at)s FROM input
    ON CONFLICT DO NOTHING
    RETURNING request_id
), stored AS (
    INSERT INTO receipts_receipt (
        accepted_at, node_id, request_id, region, model_id, ts_start, ts_end, tokens_input, tokens_output,
        p95_ms, hedged, cache_hit, failed, node_status, node_status_at_end, org_id, concurrency, public_key,
        key_since, key_until, sha256, raw, payload)
    SELECT %(at)s, %(node)s::text, i.request_id, i.region, i.model_id, i.ts_start, i.ts_end, i.tokens_input,
           i.tokens_output, i.p95_ms, i.hedged, i.cache_hit, i.failed, node.status, COALESCE(was.status, ''),
           node.org_id, node.concurrency, i.public_key, i.key_since, i.key_until, i.sha256, i.raw, i.payload
    FROM input i JOIN identity USING (request_id) CROSS JOIN node
    LEFT JOIN LATERAL (
        SELECT CASE WHEN to_status IN ('registered', 'probing') THEN 'pending' ELSE to_status END AS status
        FROM nodes_nodetransition WHERE node_id = %(node)s::text AND at <= i.ts_end ORDER BY id DESC LIMIT 1
    ) was ON true
    RETURNING id, accepted_at, node_id, request_id
), queued AS (
    INSERT INTO receipts_unjudged (id, accepted_at, node_id, request_id)
    SELECT id, accepted_at, node_id, request_id FROM stored
), fact AS (
    INSERT INTO metrics_outbox (kind, body)
    -- figures count it for the region that the node is in, whatever its receipt says
    SELECT 'receipt', i.fact || jsonb_build_object('region', node.region, 'search', i.fact -> 'search'
        || jsonb_build_object('id', s.id, 'org_id', node.org_id))
    FROM stored s JOIN input i USING (request_id) CROSS JOIN node
)
SELECT request_id FROM stored
"""


def _store(caller: NodeCaller, sound: dict[int, _Sound], at: datetime) -> dict[int, Ruling]:
    first: dict[str, int] = {}
    for number, receipt in sound.items():
        first.setdefault(receipt.posted.payload["request_id"], number)
    if not first:
        return {}
    rows = fetch(_SQL, _columns(caller, [sound[number] for number in first.values()], at))
    stored = {request_id for (request_id,) in rows}
    rulings = {first[request_id]: Ruling.ACCEPTED for request_id in stored}
    known = {number: receipt for number, receipt in sound.items() if number not in rulings}
    if known:
        rulings |= _compare(caller, known)
    return rulings


def _compare(caller: NodeCaller, known: dict[int, _Sound]) -> dict[int, Ruling]:
    """Duplicate or conflict, for receipts whose identity exists. Compares the bytes, then the values."""
    wanted = {receipt.posted.payload["request_id"] for receipt in known.values()}
    identities = ReceiptIdentity.objects.filter(node_id=caller.node_id, request_id__in=wanted)
    digests = {row.request_id: bytes(row.sha256) for row in identities}
    return {
        number: Ruling.DUPLICATE
        if digests.get(receipt.posted.payload["request_id"]) == receipt.sha256
        or _says_the_same(caller, receipt)
        else Ruling.CONFLICT
        for number, receipt in known.items()
    }


def _says_the_same(caller: NodeCaller, receipt: _Sound) -> bool:
    """Whether the stored receipt differs only in white space or the order of members."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT raw FROM receipts_receipt WHERE node_id = %s AND request_id = %s",
            [caller.node_id, receipt.posted.payload["request_id"]],
        )
        row = cursor.fetchone()
    return row is not None and orjson.loads(bytes(row[0])) == receipt.posted.payload


def _columns(caller: NodeCaller, receipts: Sequence[_Sound], at: datetime) -> dict[str, Any]:
    payloads = [receipt.posted.payload for receipt in receipts]
    failed = [payload.get("outcome") == schema.RequestOutcome.ERROR for payload in payloads]
    facts = [
        ReceiptFact(
            node_id=caller.node_id,
            request_id=payload["request_id"],
            region=payload["region"],
            model_id=payload["model_id"],
            ts_start=payload["ts_start"],
            ts_end=payload["ts_end"],
            accepted_at=int(at.timestamp()),
            tokens_input=payload["tokens_input"],
            tokens_output=payload["tokens_output"],
            p95_ms=payload["p95_ms"],
            hedged=payload["hedged"],
            cache_hit=payload["cache_hit"],
            failed=fail,
            # the statement adds the id that it gives the receipt, and the organisation
            search=SearchFact(
                id=0,
                micros=at.microsecond,
                org_id=None,
                region=payload["region"],
                cancelled=not fail and payload.get("outcome") == schema.RequestOutcome.CANCELLED,
                former_key=receipt.key.until is not None,
            ),
        )
        for receipt, payload, fail in zip(receipts, payloads, failed, strict=True)
    ]
    plain = (
        "request_id", "region", "model_id", "tokens_input", "tokens_output", "p95_ms", "hedged", "cache_hit"
    )  # fmt: skip
    return {
        **{name: [payload[name] for payload in payloads] for name in plain},
        "ts_start": [datetime.fromtimestamp(payload["ts_start"], UTC) for payload in payloads],
        "ts_end": [datetime.fromtimestamp(payload["ts_end"], UTC) for payload in payloads],
        "p95_ms": [float(payload["p95_ms"]) for payload in payloads],
        "failed": failed,
        "public_key": [receipt.key.public_key for receipt in receipts],
        "key_since": [datetime.fromtimestamp(receipt.key.since, UTC) for receipt in receipts],
        "key_until": [
            None if receipt.key.until is None else datetime.fromtimestamp(receipt.key.until, UTC)
            for receipt in receipts
        ],
        "sha256": [receipt.sha256 for receipt in receipts],
        "raw": [receipt.posted.raw for receipt in receipts],
        # not from the raw text, because jsonb cannot hold every number that JSON allows
        "payload": [orjson.dumps(payload).decode() for payload in payloads],
        "fact": [orjson.dumps(fact.to_body()).decode() for fact in facts],
        "node": caller.node_id,
        "at": at,
    }
