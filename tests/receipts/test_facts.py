"""What the metrics store is told of a receipt is read from its row when it is shipped."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from jatevo.metrics.facts import ReceiptFact, SearchFact
from jatevo.metrics.models import Outbox
from nodes.models import Node, NodeKey
from nodes.rules.lifecycle import Status
from receipts.facts import facts_of_batch
from receipts.models import Receipt
from tests.factories import NodeFactory, signed_receipt
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db
URL = "/v1/receipts"


@pytest.fixture
def node() -> Node:
    return NodeFactory.create(status=Status.ACTIVE)


def claimed() -> uuid.UUID:
    """All rows of the outbox as one batch."""
    batch = uuid.uuid4()
    Outbox.objects.update(batch=batch, claimed_at=timezone.now())
    return batch


def test_a_fact_says_what_the_receipt_says_and_what_acceptance_knew(node: Node) -> None:
    payload = signed_receipt(node.pk, region="mars", hedged=True, outcome="cancelled", p95_ms=310.5)
    assert SignedSender.node(node).send(URL, payload).status_code == 201
    receipt = Receipt.objects.get()
    (waiting,) = Outbox.objects.all()
    assert waiting.body == {}
    assert facts_of_batch(claimed()) == {
        waiting.pk: ReceiptFact(
            node_id=node.pk,
            request_id=payload["request_id"],
            region=node.region,
            model_id=payload["model_id"],
            ts_start=payload["ts_start"],
            ts_end=payload["ts_end"],
            accepted_at=int(receipt.accepted_at.timestamp()),
            tokens_input=payload["tokens_input"],
            tokens_output=payload["tokens_output"],
            p95_ms=310.5,
            hedged=True,
            cache_hit=payload["cache_hit"],
            failed=False,
            search=SearchFact(
                id=receipt.id,
                micros=receipt.accepted_at.microsecond,
                org_id=str(node.org_id),
                region="mars",
                cancelled=True,
                former_key=False,
            ),
        )
    }


@pytest.mark.parametrize("micros", [0, 1, 499_999, 500_000, 999_999])
def test_the_second_of_acceptance_is_never_rounded_up(node: Node, micros: int) -> None:
    assert SignedSender.node(node).send(URL, signed_receipt(node.pk)).status_code == 201
    at = timezone.now().replace(microsecond=micros)
    Receipt.objects.update(accepted_at=at)
    Outbox.objects.update(source_at=at)
    (fact,) = facts_of_batch(claimed()).values()
    assert fact.search is not None
    assert (fact.accepted_at, fact.search.micros) == (int(at.timestamp()), micros)


def test_a_failed_request_and_a_former_key_are_told(node: Node) -> None:
    NodeKey.objects.filter(node=node).update(valid_to=timezone.now() + timedelta(hours=1))
    assert SignedSender.node(node).send(URL, signed_receipt(node.pk, outcome="error")).status_code == 201
    (fact,) = facts_of_batch(claimed()).values()
    assert fact.search is not None
    assert (fact.failed, fact.search.cancelled, fact.search.former_key) == (True, False, True)


def test_another_batch_and_what_was_set_aside_are_left_out(node: Node) -> None:
    assert SignedSender.node(node).send(URL, signed_receipt(node.pk)).status_code == 201
    batch = claimed()
    assert facts_of_batch(uuid.uuid4()) == {}
    Outbox.objects.update(poisoned="no")
    assert facts_of_batch(batch) == {}
