"""The OpenAPI document: it is there, it is valid, and the API keeps what it says."""

from typing import Any

import pytest
import schemathesis
from django.test import Client, override_settings
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.openapi.checks import response_schema_conformance
from schemathesis.specs.openapi.checks import content_type_conformance

from jatevo.accounts.models import Role
from jatevo.wsgi import application
from tests.factories import NodeFactory, ReceiptFactory, UserFactory
from tests.machines import bearer

EXPECTED = {
    "/v1/summary", "/v1/incidents", "/v1/enrollments", "/v1/nodes", "/v1/nodes/register", "/v1/nodes/heartbeat",
    "/v1/nodes/{node_id}", "/v1/nodes/{node_id}/token", "/v1/nodes/{node_id}/keys", "/v1/probes",
    "/v1/validators/assignments", "/v1/receipts", "/v1/receipts/{node_id}/{request_id}",
    "/v1/receipts/{node_id}/{request_id}/raw", "/v1/auth/login", "/v1/auth/refresh", "/v1/auth/logout",
    "/v1/users/me",
}  # fmt: skip


def document() -> dict[str, Any]:
    answer = Client().get("/v1/openapi.json")
    assert answer.status_code == 200
    described: dict[str, Any] = answer.json()
    return described


@pytest.mark.django_db
def test_document_names_every_route_and_no_other() -> None:
    assert set(document()["paths"]) == EXPECTED


@pytest.mark.django_db
def test_every_operation_says_what_it_is_for_and_what_errors_look_like() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path}"
            assert "default" in operation["responses"], f"{method} {path}"
