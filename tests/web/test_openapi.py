"""The OpenAPI document is served and valid, and the API conforms to it."""

from typing import Any

import pytest
from django.test import Client, override_settings
from schemathesis.transport.wsgi import WSGITransport

from jatevo.settings import RATE_LIMITS
from tests.web.api_callers import CalledAs, Caller, Network
from tests.web.described_api import EXAMPLES, SEED, compare, send_without_sockets

EXPECTED = {
    "/v1/summary", "/v1/incidents", "/v1/enrollments", "/v1/enrollments/{enrollment_id}", "/v1/nodes",
    "/v1/nodes/register", "/v1/nodes/heartbeat", "/v1/nodes/challenge", "/v1/nodes/self", "/v1/networks",
    "/v1/gateways/nodes",
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


UNLIMITED = dict.fromkeys(RATE_LIMITS, "1000000/second")


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Any:
    from jatevo.wsgi import application  # created once there are static files

    monkeypatch.setattr(WSGITransport, "send", send_without_sockets)
    return application


@pytest.mark.timeout(900)
@pytest.mark.django_db(transaction=True)
@override_settings(RATE_LIMITS=UNLIMITED)
@pytest.mark.parametrize("caller", Caller)
def test_answers_are_as_described(caller: Caller, application: Any) -> None:
    console = CalledAs(application, Network.created(), caller)
    # every caller's limits are tried by `make fuzz`
    run = compare(console, caller, examples=4, seed=1, known_ids=True, boundaries=caller is Caller.NODE)
    assert not run.disagreements, "\n\n".join(run.disagreements)
    assert run.requests > 50


@pytest.mark.at_length
@pytest.mark.timeout(1800)
@pytest.mark.django_db(transaction=True)
@override_settings(RATE_LIMITS=UNLIMITED)
@pytest.mark.parametrize("known_ids", [True, False], ids=["known-ids", "invented-ids"])
@pytest.mark.parametrize("caller", Caller)
def test_answers_are_as_described_at_length(caller: Caller, known_ids: bool, application: Any) -> None:
    console = CalledAs(application, Network.created(), caller)
    run = compare(console, caller, examples=EXAMPLES, seed=SEED, known_ids=known_ids, boundaries=True)
    print(f"{caller}: {run.requests} requests, seed {SEED}", *run.disagreements, sep="\n\n")
    assert not run.disagreements, f"seed {SEED}\n\n" + "\n\n".join(run.disagreements)
    assert run.requests > 1000
