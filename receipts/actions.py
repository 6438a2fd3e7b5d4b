"""Accepting receipts. Each is judged alone, and an accepted one is committed before the answer is 201.

One SQL statement creates identities, receipts, outbox rows and the entries in the queue of earnings, for all receipts
that came together. PostgreSQL therefore decides about duplicates and conflicts between concurrent posts, and a receipt
is never stored in part. Whether a receipt is paid is not decided here: acceptance records the facts by which earnings
judge.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import orjson
from django.db import connection, transaction

from jatevo.audit.record import Actor
from jatevo.web.postgresql import columns
from jatevo.web.postgresql.columns import Column
from jatevo.web.postgresql.statements import fetch
from jatevo.wire import schema
from nodes.actions import TokenEnded, find_fraud
from nodes.ingress.authentication import NodeCaller
from nodes.models import FraudCause
from receipts.judging import Posted, Ruling, Sound, Verdict, judge
from receipts.models import ReceiptIdentity, RefusalReason
from receipts.refused.recording import Refusal, keep, try_to_keep


@dataclass(frozen=True)
class Post:
    """What one request of a node posted. `traceparent` is the request's, if it is recorded."""

    caller: NodeCaller
    posted: Sequence[Posted]
    traceparent: str = ""


def accept(*, posts: Sequence[Post], at: datetime) -> list[list[Verdict] | Exception]:
    """Judges the receipts of each post and stores the valid ones, all in one statement.

    Returns the verdicts of each post, in the order given. TokenEnded stands for a post whose token has ended, and
    another exception for a failure that concerns this post alone. Raises if nothing was stored.

    A receipt that no key of the node has signed is kept as evidence and opens a finding of fraud. This
    happens in its own transaction, so that a later failure does not undo it. Other refused receipts are kept
    last, once the answer is certain.
    """
    judged = [[judge(post.caller, one, now=at.timestamp()) for one in post.posted] for post in posts]
    failed = {
        number: failure
        for number, (post, its) in enumerate(zip(posts, judged, strict=True))
        if (failure := _evidence_failure(post, its, at))
    }
    first: dict[_Identity, tuple[Post, Sound]] = {}
    for number, (post, its) in enumerate(zip(posts, judged, strict=True)):
        for each in its if number not in failed else ():
            if isinstance(each, Sound):
                first.setdefault((post.caller.node_id, each.request_id), (post, each))
    stored = _store(list(first.values()), at) if first else _Stored(set(), set())
    return [
        failed.get(number) or _outcome(post, its, first, stored, at)
        for number, (post, its) in enumerate(zip(posts, judged, strict=True))
    ]


_Identity: TypeAlias = tuple[str, str]  # node and request


@dataclass(frozen=True)
class _Stored:
    """What the statement did: the nodes whose token is still good, and the new receipts."""

    nodes: set[str]
    receipts: set[_Identity]


def _evidence_failure(post: Post, judged: Sequence[Sound | Verdict], at: datetime) -> Exception | None:
    """Keeps the forged receipts of a post. Returns why that failed: nothing of this post is accepted then."""
    forged = [
        one
        for one, verdict in zip(post.posted, judged, strict=True)
        if isinstance(verdict, Verdict) and verdict.ruling is Ruling.FORGED
    ]
    try:
        if forged:
            _keep_evidence(post.caller, forged, at)
    except Exception as error:
        return error
    return None


def _outcome(
    post: Post,
    judged: Sequence[Sound | Verdict],
    first: Mapping[_Identity, tuple[Post, Sound]],
    stored: _Stored,
    at: datetime,
) -> list[Verdict] | Exception:
    """The verdicts of a post, once its new receipts are stored."""
    node_id = post.caller.node_id
    sound = {number: each for number, each in enumerate(judged) if isinstance(each, Sound)}
    if sound and node_id not in stored.nodes:
        return TokenEnded("The node's token has just been replaced.")
    new = {
        number
        for number, each in sound.items()
        if (node_id, each.request_id) in stored.receipts and first[node_id, each.request_id][1] is each
    }
    known = {number: each for number, each in sound.items() if number not in new}
    try:
        rulings = dict.fromkeys(new, Ruling.ACCEPTED) | (_compare(post.caller, known) if known else {})
    except Exception as error:  # the others' answers stand
        return error
    verdicts = [
        Verdict(each.request_id, rulings[number]) if isinstance(each, Sound) else each
        for number, each in enumerate(judged)
    ]
    refused = [
        _refusal(one, verdict, sound.get(number))
        for number, (one, verdict) in enumerate(zip(post.posted, verdicts, strict=True))
        if verdict.ruling in _KEPT_LAST
    ]
    if refused:
        try_to_keep(node_id, refused, at=at)
    return verdicts


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


def _refusal(posted: Posted, verdict: Verdict, sound: Sound | None) -> Refusal:
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


# Rows are inserted in order of their identity, so that two batches with common ones lock them in the same order. A node
# whose token has ended since it signed is not in `input`, and nothing of it is stored. Nodes and transitions are looked
# up one by one: with OFFSET 0 PostgreSQL neither reads all nodes nor guesses that few of the receipts remain, after which
# it would compare each receipt with each identity.
_SQL = """
WITH input AS MATERIALIZED (
    SELECT t.node_id, request_id, region, model_id, to_timestamp(ts_start) AS ts_start, to_timestamp(ts_end) AS ts_end,
           tokens_input, tokens_output, p95_ms, hedged, cache_hit, failed, public_key,
           to_timestamp(key_since) AS key_since, to_timestamp(key_until) AS key_until, sha256, raw, payload, traceparent,
           node.status, COALESCE(was.status, '') AS status_at_end, node.org_id, node.concurrency
    FROM unnest(
        %(node_id)s, %(token_version)s, %(request_id)s, %(region)s, %(model_id)s, %(ts_start)s, %(ts_end)s,
        %(tokens_input)s, %(tokens_output)s, %(p95_ms)s, %(hedged)s, %(cache_hit)s, %(failed)s, %(public_key)s,
        %(key_since)s, %(key_until)s, %(sha256)s, %(raw)s, %(payload)s, %(traceparent)s
    ) AS t (
        node_id, token_version, request_id, region, model_id, ts_start, ts_end, tokens_input, tokens_output, p95_ms,
        hedged, cache_hit, failed, public_key, key_since, key_until, sha256, raw, payload, traceparent)
    CROSS JOIN LATERAL (
        SELECT status, org_id, concurrency FROM nodes_node
        WHERE id = t.node_id AND nodes_node.token_version = t.token_version OFFSET 0
    ) node
    LEFT JOIN LATERAL (
        SELECT CASE WHEN to_status IN ('registered', 'probing') THEN 'pending' ELSE to_status END AS status
        FROM nodes_nodetransition n WHERE n.node_id = t.node_id AND at <= to_timestamp(t.ts_end) ORDER BY id DESC LIMIT 1
    ) was ON true
), identity AS (
    INSERT INTO receipts_receiptidentity (node_id, request_id, sha256, accepted_at)
    SELECT node_id, request_id, sha256, %(at)s FROM input ORDER BY node_id, request_id
    ON CONFLICT DO NOTHING
    RETURNING node_id, request_id
), stored AS (
    INSERT INTO receipts_receipt (
        accepted_at, node_id, request_id, region, model_id, ts_start, ts_end, tokens_input, tokens_output,
        p95_ms, hedged, cache_hit, failed, node_status, node_status_at_end, org_id, concurrency, public_key,
        key_since, key_until, sha256, raw, payload)
    SELECT %(at)s, i.node_id, i.request_id, i.region, i.model_id, i.ts_start, i.ts_end, i.tokens_input,
           i.tokens_output, i.p95_ms, i.hedged, i.cache_hit, i.failed, i.status, i.status_at_end, i.org_id,
           i.concurrency, i.public_key, i.key_since, i.key_until, i.sha256, i.raw, i.payload
    FROM input i JOIN identity USING (node_id, request_id)
    RETURNING id, accepted_at, node_id, request_id
), queued AS (
    INSERT INTO receipts_unjudged (id, accepted_at, node_id, request_id)
    SELECT id, accepted_at, node_id, request_id FROM stored
), fact AS (
    INSERT INTO metrics_outbox (kind, source_at, source_id, body) {facts}
)
SELECT node_id, request_id FROM stored UNION ALL SELECT DISTINCT node_id, NULL FROM input
"""
_STORE = _SQL.format(facts="SELECT 'receipt', accepted_at, id, '{}'::jsonb FROM stored")
# Some of the requests are recorded: their traces go on when the facts are shipped.
_STORE_TRACED = _SQL.format(
    facts="""
    SELECT 'receipt', s.accepted_at, s.id,
           CASE WHEN i.traceparent = '' THEN '{}' ELSE jsonb_build_object('traceparent', i.traceparent) END
    FROM stored s JOIN input i USING (node_id, request_id)"""
)


def _store(rows: Sequence[tuple[Post, Sound]], at: datetime) -> _Stored:
    """Stores receipts of different identities."""
    stored = _Stored(set(), set())
    sql = _STORE_TRACED if any(post.traceparent for post, _ in rows) else _STORE
    for node_id, request_id in fetch(sql, {**_columns(rows), "at": at}):
        if request_id is None:
            stored.nodes.add(node_id)
        else:
            stored.receipts.add((node_id, request_id))
    return stored


def _compare(caller: NodeCaller, known: dict[int, Sound]) -> dict[int, Ruling]:
    """Duplicate or conflict, for receipts whose identity exists. Compares the bytes, then the values."""
    wanted = {receipt.request_id for receipt in known.values()}
    identities = ReceiptIdentity.objects.filter(node_id=caller.node_id, request_id__in=wanted)
    digests = {row.request_id: bytes(row.sha256) for row in identities}
    return {
        number: Ruling.DUPLICATE
        if digests.get(receipt.request_id) == receipt.sha256 or _says_the_same(caller, receipt)
        else Ruling.CONFLICT
        for number, receipt in known.items()
    }


def _says_the_same(caller: NodeCaller, receipt: Sound) -> bool:
    """Whether the stored receipt differs only in white space or the order of members."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT raw FROM receipts_receipt WHERE node_id = %s AND request_id = %s",
            [caller.node_id, receipt.request_id],
        )
        row = cursor.fetchone()
    return row is not None and orjson.loads(bytes(row[0])) == receipt.posted.payload


def _columns(rows: Sequence[tuple[Post, Sound]]) -> dict[str, Column]:
    """The parameters of the statement."""
    payloads = [receipt.posted.payload for _, receipt in rows]
    callers = [post.caller for post, _ in rows]
    keys = [receipt.key for _, receipt in rows]

    def of_each(name: str) -> list[Any]:
        return [payload[name] for payload in payloads]

    return {
        "node_id": columns.texts([caller.node_id for caller in callers]),
        "token_version": columns.integers([caller.token_version for caller in callers]),
        **{name: columns.texts(of_each(name)) for name in ("request_id", "region", "model_id")},
        **{name: columns.floats(of_each(name)) for name in ("ts_start", "ts_end", "p95_ms")},
        **{name: columns.integers(of_each(name)) for name in ("tokens_input", "tokens_output")},
        **{name: columns.booleans(of_each(name)) for name in ("hedged", "cache_hit")},
        "failed": columns.booleans([_failed(payload) for payload in payloads]),
        "public_key": columns.blobs([key.public_key for key in keys]),
        "key_since": columns.floats([key.since for key in keys]),
        "key_until": columns.floats([key.until for key in keys]),
        "sha256": columns.blobs([receipt.sha256 for _, receipt in rows]),
        "raw": columns.blobs([receipt.posted.raw for _, receipt in rows]),
        # written anew, because jsonb cannot hold every number that JSON allows
        "payload": columns.jsons([orjson.dumps(payload) for payload in payloads]),
        "traceparent": columns.texts([post.traceparent for post, _ in rows]),
    }


def _failed(payload: Mapping[str, Any]) -> bool:
    return payload.get("outcome") == schema.RequestOutcome.ERROR
