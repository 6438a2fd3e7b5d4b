"""Rows for tests."""

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Any

import orjson
from django.utils import timezone
from factory.declarations import LazyAttribute, LazyFunction, Sequence, SubFactory
from factory.django import DjangoModelFactory
from factory.helpers import post_generation
from nacl.signing import SigningKey

from jatevo.accounts.models import Org, Role, User
from jatevo.wire import signing
from jatevo.wire.names import normal_model
from nodes.models import Node, NodeAttestation, NodeKey, NodeOffer, Runtime, Validator
from nodes.rules.lifecycle import Status
from receipts.models import Gateway, Receipt, ReceiptIdentity, UnjudgedReceipt

FIRST_KEY_SINCE = datetime(2020, 1, 1, tzinfo=UTC)  # of factories' nodes, and of what they offer
PASSWORD = "correct horse battery staple"


class OrgFactory(DjangoModelFactory[Org]):
    class Meta:
        model = Org

    name = Sequence(lambda number: f"Org {number}")


class UserFactory(DjangoModelFactory[User]):
    """A person who signs in with PASSWORD."""

    class Meta:
        model = User

    email = Sequence(lambda number: f"person{number}@example.org")
    org = SubFactory(OrgFactory)
    role = Role.OPERATOR

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **kwargs: Any) -> User:
        return model_class.objects.create_user(password=kwargs.pop("password", PASSWORD), **kwargs)


class NodeFactory(DjangoModelFactory[Node]):
    """A registered node with an attestation and a current key, which `signing_key_of` returns."""

    class Meta:
        model = Node
        skip_postgeneration_save = True

    id = Sequence(lambda number: f"node-{number:04d}")
    org = SubFactory(OrgFactory)
    region = "ap-southeast"
    runtime = Runtime.OLLAMA
    status = Status.PENDING
    status_since = LazyFunction(timezone.now)
    models_offered = LazyFunction(lambda: ["llama3.1-8b"])
    endpoint = LazyAttribute(lambda node: f"http://127.0.0.1:9/{node.id}")

    @post_generation
    def key(self: Node, create: bool, extracted: Any, **kwargs: Any) -> None:
        public_key = bytes(signing_key_of(self.pk).verify_key)
        NodeKey.objects.create(node=self, public_key=public_key, valid_from=FIRST_KEY_SINCE, added_by="test")
        NodeAttestation.objects.create(node=self, gpu_model="Apple M3 Max", vram_gb=48)
        NodeOffer.objects.bulk_create(
            NodeOffer(node=self, model=model, offered_from=FIRST_KEY_SINCE)
            for model in dict.fromkeys(map(normal_model, self.models_offered))
        )


class ValidatorFactory(DjangoModelFactory[Validator]):
    class Meta:
        model = Validator

    id = Sequence(lambda number: f"validator-{number}")


class GatewayFactory(DjangoModelFactory[Gateway]):
    class Meta:
        model = Gateway

    id = Sequence(lambda number: f"gateway-{number}")


def signing_key_of(node_id: str) -> SigningKey:
    """The key of a NodeFactory node, which derives from the node's id."""
    return SigningKey(hashlib.sha256(f"test key of {node_id}".encode()).digest())


def receipt_payload(node_id: str, **changes: Any) -> dict[str, Any]:
    """A valid receipt of the node, without a signature."""
    now = int(timezone.now().timestamp())
    return {
        "version": "1.0",
        "request_id": "r_" + uuid.uuid4().hex,
        "node_id": node_id,
        "region": "ap-southeast",
        "ts_start": now - 16,
        "ts_end": now,
        "model_id": "llama3.1-8b",
        "model_hash": "sha256:" + "a" * 64,
        "prompt_hash": "blake3:" + "b" * 64,
        "tokens_input": 128,
        "tokens_output": 92,
        "p95_ms": 310,
        "s3_checkpoints": [100],
        "hedged": False,
        "cache_hit": True,
        **changes,
    }


def signed_receipt(node_id: str, **changes: Any) -> dict[str, Any]:
    """A valid receipt, signed with the NodeFactory node's key."""
    return signing.sign(receipt_payload(node_id, **changes), signing_key_of(node_id))


def ReceiptFactory(
    *, node: Node, at: datetime | None = None, status: Status = Status.ACTIVE, **changes: Any
) -> Receipt:
    """An accepted receipt of the node, in the database and in the queue of earnings.

    `status` was the node's then. `changes` are members of the signed receipt.
    """
    at = at or timezone.now()
    ended = int(at.timestamp())
    payload = signed_receipt(node.pk, **{"ts_start": ended - 16, "ts_end": ended, **changes})
    raw = orjson.dumps(payload)
    digest = hashlib.sha256(raw).digest()
    ReceiptIdentity.objects.create(
        node_id=node.pk, request_id=payload["request_id"], sha256=digest, accepted_at=at
    )
    number = 1_000_000 + ReceiptIdentity.objects.count()
    UnjudgedReceipt.objects.create(
        id=number, accepted_at=at, node_id=node.pk, request_id=payload["request_id"]
    )
    return Receipt.objects.create(
        id=number,
        accepted_at=at,
        node=node,
        request_id=payload["request_id"],
        region=payload["region"],
        model_id=payload["model_id"],
        ts_start=datetime.fromtimestamp(payload["ts_start"], UTC),
        ts_end=datetime.fromtimestamp(payload["ts_end"], UTC),
        tokens_input=payload["tokens_input"],
        tokens_output=payload["tokens_output"],
        p95_ms=payload["p95_ms"],
        hedged=payload["hedged"],
        cache_hit=payload["cache_hit"],
        failed=payload.get("outcome") == "error",
        node_status=status,
        node_status_at_end=status,
        org_id=node.org_id,
        concurrency=node.concurrency,
        public_key=bytes(signing_key_of(node.pk).verify_key),
        key_since=FIRST_KEY_SINCE,
        sha256=digest,
        raw=raw,
        payload=payload,
    )
