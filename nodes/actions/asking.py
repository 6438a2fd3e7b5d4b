"""Asking nodes through the answers to their heartbeats: what is due goes with the next one."""

import secrets
from collections.abc import Mapping
from datetime import datetime

import orjson
from django.db import transaction

from jatevo.web.postgresql.columns import texts
from jatevo.web.postgresql.statements import fetch
from nodes.models import Challenge, Node
from nodes.rules.challenges import (
    NONCE_BYTES,
    PROMPT,
    AskedNode,
    ChallengeKind,
    ChallengeOutcome,
    answer_within,
    asks_runtime,
    due_challenge,
)

# A node is asked only if nobody has asked it since it was decided, so that of two concurrent heartbeats one takes the
# challenge along; nor while one of the kind is open (or just being settled, for which the insertion would wait), nor in
# maintenance, which its owner announced. OFFSET 0 keeps the conditions of each node its own: as a join, and with old
# statistics, PostgreSQL would compare each node with all open challenges of the fleet.
_SQL = """
WITH due AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(due)s::json) AS t (
        id uuid, node varchar(64), kind varchar(8), nonce varchar(32), prompt text, expires_at timestamptz,
        challenged_at timestamptz)
), free AS MATERIALIZED (
    SELECT n.id FROM nodes_node n JOIN due ON due.node = n.id
    WHERE n.id = ANY(%(nodes)s) AND n.challenged_at IS NOT DISTINCT FROM due.challenged_at
      AND NOT EXISTS (
        SELECT FROM nodes_challenge c WHERE c.node_id = n.id AND c.kind = due.kind AND c.outcome = 'open' OFFSET 0)
      AND NOT EXISTS (
        SELECT FROM nodes_exemption e
        WHERE e.node_id = n.id AND e.kind = 'maintenance' AND e.starts_at <= %(at)s
          AND (e.ends_at IS NULL OR e.ends_at > %(at)s) OFFSET 0)
    ORDER BY n.id FOR NO KEY UPDATE OF n SKIP LOCKED
), asked AS (
    INSERT INTO nodes_challenge (id, node_id, kind, nonce, prompt, request_id, asked_for_by, created_at, asked_at,
                                 expires_at, outcome, fault, output_hash)
    SELECT due.id, node, kind, nonce, prompt, '', '', %(at)s, %(at)s, expires_at, 'open', '', ''
    FROM due JOIN free ON free.id = node
    ON CONFLICT (node_id, kind) WHERE outcome = 'open' DO NOTHING
    RETURNING node_id, kind
), noted AS (
    UPDATE nodes_node n SET
        challenged_at = %(at)s,
        challenge_audited_at = CASE asked.kind WHEN 'audit' THEN %(at)s ELSE n.challenge_audited_at END
    FROM asked WHERE n.id = asked.node_id
)
SELECT node_id FROM asked
"""


def ask_due(*, nodes: Mapping[str, AskedNode], at: datetime) -> dict[str, Challenge]:
    """The challenges that go with the answers to the heartbeats of these nodes, where one is due.

    They count as asked at `at`.
    """
    kinds = {node_id: kind for node_id, asked in nodes.items() if (kind := due_challenge(asked, at=at))}
    proofs = {
        node_id: challenge
        for node_id, kind in kinds.items()
        if kind is ChallengeKind.PROOF and (challenge := _ask_proof(node_id, at))
    }
    due = {
        node_id: _challenge(node_id, kind, nodes[node_id], at)
        for node_id, kind in kinds.items()
        if kind is not ChallengeKind.PROOF
    }
    if not due:
        return proofs
    rows = [
        {
            "id": each.pk,
            "node": node_id,
            "kind": each.kind,
            "nonce": each.nonce,
            "prompt": each.prompt,
            "expires_at": each.expires_at,
            "challenged_at": nodes[node_id].challenged_at,
        }
        for node_id, each in due.items()
    ]
    asked = fetch(_SQL, {"due": orjson.dumps(rows).decode(), "nodes": texts(due), "at": at})
    return proofs | {node_id: due[node_id] for (node_id,) in asked}


def _challenge(node_id: str, kind: ChallengeKind, asked: AskedNode, at: datetime) -> Challenge:
    return Challenge(
        node_id=node_id,
        kind=kind,
        nonce=secrets.token_hex(NONCE_BYTES),
        prompt=PROMPT if asks_runtime(kind, asked.phase) else "",
        created_at=at,
        asked_at=at,
        expires_at=at + answer_within(kind),
    )


def _ask_proof(node_id: str, at: datetime) -> Challenge | None:
    """The proof that waits for a heartbeat. None if it was given up or taken along meanwhile."""
    with transaction.atomic():
        Node.objects.filter(pk=node_id).update(proof_waiting=False)
        waiting = Challenge.objects.select_for_update().filter(
            node_id=node_id,
            kind=ChallengeKind.PROOF,
            outcome=ChallengeOutcome.OPEN,
            asked_at__isnull=True,
            expires_at__gt=at,
        )
        challenge = waiting.first()
        if challenge is not None:
            challenge.asked_at = at
            challenge.expires_at = at + answer_within(ChallengeKind.PROOF)
            challenge.save(update_fields=["asked_at", "expires_at"])
    return challenge
