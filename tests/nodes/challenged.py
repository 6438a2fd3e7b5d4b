"""Nodes that are asked through their heartbeats, and their answers, for tests."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from nacl.signing import SigningKey

from jatevo.wire.signing import sign_health
from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory, signing_key_of
from tests.machines import Answer, SignedSender

OUTPUT: dict[str, Any] = {
    "output_hash": "blake3:" + "c" * 64,
    "tokens_output": 5,
    "first_token_ms": 210.5,
}


def unreachable(status: Status = Status.ACTIVE, **fields: Any) -> Node:
    """A node that validators are known not to reach."""
    since = timezone.now() - timedelta(hours=2)
    return NodeFactory.create(
        status=status, status_since=since, reachable=False, reachable_since=since, **fields
    )


def asked(node: Node, **members: Any) -> dict[str, Any] | None:
    """The challenge in the answer to a heartbeat of the node."""
    answer = SignedSender.node(node).beat(**members)
    assert answer.status_code == 200, answer.content
    challenge: dict[str, Any] | None = answer.json().get("challenge")
    return challenge


def asked_surely(node: Node, **members: Any) -> dict[str, Any]:
    challenge = asked(node, **members)
    assert challenge is not None
    return challenge


def answer_to(
    node: Node, challenge: dict[str, Any], *, key: SigningKey | None = None, **members: Any
) -> dict[str, Any]:
    """The body of an answer to the challenge, correct unless it is told otherwise."""
    signature = sign_health(node.pk, challenge["nonce"], key or signing_key_of(node.pk))
    return {"node_id": node.pk, "id": challenge["id"], "signature": signature, **members}


def reply(
    node: Node,
    challenge: dict[str, Any],
    *,
    key: SigningKey | None = None,
    by: Node | None = None,
    **members: Any,
) -> Answer:
    """Sends an answer to the challenge. `by` sends it in place of the node."""
    sender = by or node
    body = {**answer_to(node, challenge, key=key), "node_id": sender.pk, **members}
    return SignedSender.node(sender).send("/v1/nodes/challenge", body)
