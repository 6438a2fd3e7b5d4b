"""The statement that stores receipts looks up the few nodes that posted them, however large the fleet is."""

import re
from typing import Any

import pytest
from django.db import connection

from jatevo.web.postgresql.statements import fetch
from nodes.models import Node
from nodes.rules.lifecycle import Status
from tests.factories import NodeFactory, OrgFactory, signed_receipt
from tests.machines import SignedSender

pytestmark = pytest.mark.django_db
FLEET = 3000


def test_a_large_fleet_is_not_read() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    org = OrgFactory.create()
    Node.objects.bulk_create(
        NodeFactory.build(pk=f"other-{number}", org=org, status=Status.ACTIVE) for number in range(FLEET)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE nodes_node")
    executed: list[tuple[str, Any]] = []

    def listen(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        executed.append((str(sql), params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(listen):
        batch = {"receipts": [signed_receipt(node.pk, request_id=f"r_{number}") for number in range(100)]}
        assert SignedSender.node(node).send("/v1/receipts", batch).status_code == 200
    ((sql, params),) = [(sql, params) for sql, params in executed if "INSERT INTO receipts_receipt " in sql]
    plan = [line for (line,) in fetch(f"EXPLAIN {sql}", params)]
    found = [
        line for line in plan if re.search(r" on nodes_node\b", line)
    ]  # and not of transitions, which are few here
    assert found
    assert not any("Seq Scan" in line for line in found)
