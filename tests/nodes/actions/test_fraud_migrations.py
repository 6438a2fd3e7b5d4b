"""What the migrations do with nodes from before keys were unique and findings were stored."""

from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.db.migrations.loader import MigrationLoader

from jatevo.audit.models import AuditEvent
from nodes.models import FraudFinding, Node, NodeAttestation, NodeKey, NodeMark
from nodes.rules.lifecycle import Reason, Status
from tests.factories import NodeFactory, signing_key_of

pytestmark = pytest.mark.django_db
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
keys = import_module("nodes.migrations.0012_key_of_one_node")
so_far = import_module("nodes.migrations.0014_marks_and_findings_so_far")
INDEX = 'CREATE UNIQUE INDEX node_key_of_one_node ON nodes_nodekey (public_key) WHERE NOT "duplicate"'


def test_keys_that_several_nodes_have_are_flagged_and_stay() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX node_key_of_one_node")
    shared = bytes(signing_key_of("shared").verify_key)
    first, second, third, alone = NodeFactory.create_batch(4)
    for number, node in enumerate((first, second, third)):
        since = SINCE + timedelta(days=number)
        NodeKey.objects.filter(node=node).update(public_key=shared, valid_from=since)
    with connection.schema_editor() as editor:
        keys.flag_duplicates(apps, editor)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # the keys were made in this very transaction
        cursor.execute(INDEX)
    flagged = dict(NodeKey.objects.values_list("node_id", "duplicate"))
    assert flagged == {first.pk: False, second.pk: True, third.pk: True, alone.pk: False}
    told = AuditEvent.objects.filter(verb="node.key_duplicate")
    assert {(event.subject_id, event.details["first_held_by"]) for event in told} == {
        (second.pk, first.pk),
        (third.pk, first.pk),
    }
    with pytest.raises(IntegrityError), transaction.atomic():
        NodeKey.objects.create(
            node=alone, public_key=shared, valid_from=SINCE, valid_to=SINCE, added_by="test"
        )


def test_what_nodes_said_becomes_their_marks_and_fraud_an_open_finding() -> None:
    with connection.cursor() as cursor:  # a later column, which the finding of then does not have
        cursor.execute("ALTER TABLE nodes_fraudfinding ALTER COLUMN doubtful_from DROP NOT NULL")
    caught = NodeFactory.create(
        endpoint="https://gpu.example.org",
        status=Status.QUARANTINE,
        fraud=True,
        status_reason=Reason.RECEIPT_FORGED,
        status_since=SINCE,
    )
    NodeAttestation.objects.filter(node=caught).update(hardware_hash="BLAKE3:5F5F")
    NodeFactory.create(endpoint="http://127.0.0.1:9")
    so_far.marks_so_far(apps, None)
    then = MigrationLoader(connection).project_state([("nodes", "0014_marks_and_findings_so_far")]).apps
    so_far.findings_so_far(then, None)
    marks = NodeMark.objects.values_list("node_id", "kind", "value", "gained_at")
    since = Node.objects.get(pk=caught.pk).created_at
    assert set(marks) == {
        (caught.pk, "endpoint", "gpu.example.org:443", since),
        (caught.pk, "hardware", "blake3:5f5f", since),
    }
    finding = FraudFinding.objects.get()
    assert (finding.node_id, finding.state, finding.opened_at) == (caught.pk, "open", SINCE)
