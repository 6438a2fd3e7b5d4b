"""The OpenAPI document: it is there, it is valid, and the API keeps what it says."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client, override_settings
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import content_type_conformance, not_a_server_error, response_schema_conformance
from schemathesis.core.result import Ok

from jatevo.accounts.models import Role
from jatevo.settings import RATE_LIMITS
from tests.factories import NodeFactory, ReceiptFactory, UserFactory
from tests.machines import bearer

EXPECTED = {
    "/v1/summary", "/v1/incidents", "/v1/enrollments", "/v1/enrollments/{enrollment_id}", "/v1/nodes",
    "/v1/nodes/register", "/v1/nodes/heartbeat",
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
            assert operation.get("description") or operation.get("summary"), f"{method} {path}"
            assert "default" in operation["responses"], f"{method} {path}"


def console_application() -> Any:
    """The real one, made once there are static files to serve."""
    from jatevo.wsgi import application

    return application


UNLIMITED = dict.fromkeys(RATE_LIMITS, "1000000/second")


@pytest.fixture
def one_connection() -> Iterator[None]:
    """As in Django's test client: the end of a request does not end the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.django_db
@pytest.mark.usefixtures("one_connection")
@override_settings(RATE_LIMITS=UNLIMITED)
def test_no_request_makes_a_5xx_and_every_answer_is_as_described() -> None:
    admin = UserFactory.create(role=Role.ADMIN)
    ReceiptFactory(node=NodeFactory.create())
    schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", console_application())
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def keeps_what_it_says(case: schemathesis.Case) -> None:
            case.call_and_validate(
                headers=bearer(admin),
                checks=[not_a_server_error, content_type_conformance, response_schema_conformance],
            )

        keeps_what_it_says()
        tried += 1
    assert tried >= len(EXPECTED)
