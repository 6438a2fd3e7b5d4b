"""The OpenAPI document is served and valid, and the API conforms to it."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client, override_settings
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok

from jatevo.accounts.models import Role, User
from jatevo.settings import RATE_LIMITS
from nodes.actions import enrol
from nodes.models import Node, Validator
from receipts.models import Gateway
from tests.earnings.rows import earn
from tests.factories import GatewayFactory, NodeFactory, ReceiptFactory, UserFactory, ValidatorFactory
from tests.machines import SignedSender, bearer

EXPECTED = {
    "/v1/summary", "/v1/incidents", "/v1/enrollments", "/v1/enrollments/{enrollment_id}", "/v1/nodes",
    "/v1/nodes/register", "/v1/nodes/heartbeat",
    "/v1/nodes/{node_id}", "/v1/nodes/{node_id}/token", "/v1/nodes/{node_id}/keys", "/v1/probes",
    "/v1/dispatches",
    "/v1/validators/assignments", "/v1/receipts", "/v1/receipts/{node_id}/{request_id}",
    "/v1/receipts/{node_id}/{request_id}/raw", "/v1/auth/login", "/v1/auth/refresh", "/v1/auth/logout",
    "/v1/users/me", "/v1/earnings", "/v1/earnings/{node_id}",
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
    """The real application, created once there are static files."""
    from jatevo.wsgi import application

    return application


UNLIMITED = dict.fromkeys(RATE_LIMITS, "1000000/second")
EXAMPLES = 6  # of right and of wrong data each, for each operation
# All of schemathesis' checks but those of how long an answer takes and of what a deleted thing leaves behind.
LEFT_OUT = {"max_response_time", "use_after_free", "ensure_resource_availability"}
PLACEHOLDER = "to be filled in"
CREDENTIALS = {"Authorization": PLACEHOLDER, "webhook-signature": PLACEHOLDER}
REGISTRATION = ("POST", "/v1/nodes/register")
NODE_ROUTES = {("POST", "/v1/nodes/heartbeat"), ("POST", "/v1/receipts")}
GATEWAY_ROUTES = {("POST", "/v1/dispatches")}
VALIDATOR_ROUTES = {("POST", "/v1/probes"), ("GET", "/v1/validators/assignments")}
# What no schema can say: which 32 bytes are a key, whose signature fits, what time it is, which fields go together,
# that mere white space is no e-mail address, and which days are a range.
JUDGED_FURTHER = {
    "GET /v1/earnings",
    "POST /v1/auth/login",
    "POST /v1/dispatches",
    "POST /v1/enrollments",
    "POST /v1/nodes/register",
    "POST /v1/nodes/heartbeat",
    "POST /v1/nodes/{node_id}/keys",
    "POST /v1/probes",
    "POST /v1/receipts",
}


@pytest.fixture
def one_connection() -> Iterator[None]:
    """As in Django's test client, the end of a request does not end the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


class Signing:
    """The console as its machines reach it: each request gets the credentials that its route asks for.

    Signatures are over the exact bytes, which only the application's own side of the client sees. A request
    whose header for them is missing is left alone: it tries what happens without credentials.
    """

    def __init__(self, admin: User, node: Node, validator: Validator, gateway: Gateway) -> None:
        self._application = console_application()
        self._bearer = bearer(admin)["Authorization"]
        self._enrolment = self._enrolled(admin, node)
        self._node = SignedSender.node(node)
        self._validator = SignedSender.validator(validator)
        self._gateway = SignedSender.gateway(gateway)

    @staticmethod
    def _enrolled(admin: User, node: Node) -> str:
        _, token = enrol(org=node.org, by=admin, at=timezone.now(), uses=1000)
        return f"Bearer {token}"

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        header = "HTTP_WEBHOOK_SIGNATURE" if self._is_signed(environ) else "HTTP_AUTHORIZATION"
        if environ.get(header) == PLACEHOLDER:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            for name, value in self._credentials(environ, body).items():
                environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return self._application(environ, start_response)

    @staticmethod
    def _is_signed(environ: dict[str, Any]) -> bool:
        route = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        return route in {*NODE_ROUTES, *VALIDATOR_ROUTES, *GATEWAY_ROUTES}

    def _credentials(self, environ: dict[str, Any], body: bytes) -> dict[str, str]:
        route = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if route in NODE_ROUTES:
            return self._node.headers(body)
        if route in VALIDATOR_ROUTES:
            return self._validator.headers(body)
        if route in GATEWAY_ROUTES:
            return self._gateway.headers(body)
        return {"Authorization": self._enrolment if route == REGISTRATION else self._bearer}


def judged_further(case: schemathesis.Case) -> bool:
    """Whether 422 may answer data that the schema allows: a cursor, too, must be one of ours.

    And 400, since members that no schema describes must be strict JSON as well, without integers beyond 2^53-1.
    """
    return case.operation.label in JUDGED_FURTHER or "cursor" in (case.query or {})


@pytest.mark.django_db
@pytest.mark.usefixtures("one_connection")
@override_settings(RATE_LIMITS=UNLIMITED)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_are_as_described_to_right_and_to_wrong_data(mode: GenerationMode) -> None:
    admin = UserFactory.create(role=Role.ADMIN)
    node = NodeFactory.create(id="node-1")
    ReceiptFactory(node=node)
    earn(node, timezone.now())
    application = Signing(admin, node, ValidatorFactory.create(), GatewayFactory.create())
    schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", application)
    schema.config.generation.update(allow_x00=False, with_security_parameters=False)
    load_all_checks()
    checks: list[Any] = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]
    lenient = [check for check in checks if check.__name__ != "positive_data_acceptance"]
    tried, disagreements = 0, []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def keeps_what_it_says(case: schemathesis.Case) -> None:
            answer = case.call(headers=CREDENTIALS)
            judged = lenient if answer.status_code in (400, 422) and judged_further(case) else checks
            case.validate_response(answer, checks=judged, headers=CREDENTIALS)

        try:
            keeps_what_it_says()
        except Unsatisfiable:
            continue  # there is no wrong data for a route that takes none
        except (FailureGroup, Failure) as error:
            disagreements.append(f"{operation.label}: {error}")
        tried += 1
    assert not disagreements, "\n\n".join(disagreements)
    assert tried >= 10
