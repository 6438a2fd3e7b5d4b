"""The migration that derives the faults of probes from before they had any."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.db import connection
from django.utils import timezone

from nodes.models import NodeTransition, Probe
from tests.factories import NodeFactory, ValidatorFactory

pytestmark = pytest.mark.django_db
migration = import_module("nodes.migrations.0010_fault_of_detail")

CASES = [
    ("health", True, "", "", "health"),
    ("audit", True, "answered", "", "audit"),
    ("health", False, "", "unreachable", "health"),
    ("health", False, "status is not 200 (503)", "bad_status", "health"),
    ("health", False, "wrong signature", "bad_signature", "health"),
    ("audit", False, "wrong signature", "bad_signature", "audit"),
    ("audit", False, "wrong node id", "bad_answer", "audit"),
    ("audit", False, "timeout", "timeout", "health"),
    ("audit", False, "connection refused", "refused", "health"),
    ("audit", False, "endpoint name does not resolve", "unreachable", "health"),
    ("audit", False, "answer is not JSON", "bad_status", "health"),
    ("audit", False, "", "bad_answer", "audit"),  # it convicted, and that stands
    ("latency", False, "timeout", "timeout", "latency"),
]


def test_faults_come_from_details_once() -> None:
    node, validator, now = NodeFactory.create(), ValidatorFactory.create(), timezone.now()
    for number, (kind, ok, detail, _, _) in enumerate(CASES):
        ts = now + timedelta(seconds=number)
        Probe.objects.create(node=node, validator=validator, kind=kind, ok=ok, ts=ts, detail=detail)
    quarantine = NodeTransition.objects.create(
        node=node,
        at=now,
        from_status="active",
        to_status="quarantine",
        reason="audit_failed",
        actor_kind="validator",
        actor_id="v",
        evidence={"detail": "timeout"},
    )
    with connection.cursor() as cursor:
        for sql, _ in migration.Migration.operations[0].sql:
            cursor.execute(sql)
    found = Probe.objects.order_by("ts").values_list("kind", "ok", "detail", "fault", "counts_as")
    assert list(found) == CASES
    quarantine.refresh_from_db()
    assert quarantine.evidence == {"detail": "timeout", "fault": "timeout"}
