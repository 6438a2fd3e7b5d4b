"""Every error below /v1 has the same shape, and every answer has an x-request-id."""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import redis
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from jatevo.web import throttling
from nodes.rules.lifecycle import Status
from receipts.models import Receipt
from tests.accounts.browser import Browser
from tests.factories import NodeFactory, UserFactory, signed_receipt
from tests.machines import Answer, SignedSender, bearer

pytestmark = pytest.mark.django_db


def error_of(answer: Answer, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    assert error["type"] == kind
    assert error["message"]
    assert error["request_id"] == answer["x-request-id"]
    return error


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/nope", "/v1/nodes/Bad%20Id", "/v1/nodes/a/b/c", "/v1/receipts/a"]
)
def test_unknown_route_is_a_404(path: str) -> None:
    error_of(Client().get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/v1/nodes/register"),
        ("get", "/v1/nodes/heartbeat"),
        ("put", "/v1/receipts"),
        ("delete", "/v1/receipts"),
        ("get", "/v1/probes"),
        ("get", "/v1/dispatches"),
        ("get", "/v1/auth/login"),
        ("patch", "/v1/nodes/heartbeat"),
    ],
)
def test_wrong_method_is_a_405(method: str, path: str) -> None:
    error_of(getattr(Client(), method)(path), 405, "method_not_allowed")


def test_html_is_never_an_answer_whatever_is_accepted() -> None:
    for accept in ("text/html", "application/xml", "*/*", "garbage"):
        error_of(Client().get("/v1/nodes", headers={"Accept": accept}), 401, "unauthenticated")


def test_sane_request_id_of_the_caller_is_kept_and_another_replaced() -> None:
    sane = Client().get("/v1/nodes", headers={"x-request-id": "trace-0123456789"})
    assert sane["x-request-id"] == "trace-0123456789"
    for odd in ("", "x" * 65, "new\nline-12345", "späß-12345"):
        assert Client().get("/v1/nodes", headers={"x-request-id": odd})["x-request-id"] != odd


def test_a_crash_is_a_500_without_details() -> None:
    client = Client(raise_request_exception=False)
    with mock.patch("nodes.api.NodeFilter", side_effect=RuntimeError("secret detail")):
        answer = client.get("/v1/nodes", headers=bearer(UserFactory.create()))
    error = error_of(answer, 500, "internal_error")
    assert "secret" not in str(error)


def test_database_down_is_a_503_and_nothing_is_acknowledged() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    machine = SignedSender.node(node)
    with mock.patch("django.db.backends.utils.CursorWrapper.execute", side_effect=OperationalError("down")):
        for path, body in [("/v1/receipts", signed_receipt(node.pk)), ("/v1/nodes/heartbeat", {})]:
            answer = machine.send(path, body)
            error_of(answer, 503, "unavailable")
            assert int(answer["Retry-After"]) > 0
        page = Client(raise_request_exception=False).get("/receipts/")
    assert not Receipt.objects.exists()
    assert page.status_code in (302, 503)


@pytest.fixture
def redis_down() -> Iterator[None]:
    """Redis is down for this process: every command fails at once, and the breaker opens."""
    throttling.breaker.reset()
    with mock.patch.object(
        redis.connection.ConnectionPool, "get_connection", side_effect=redis.ConnectionError("down")
    ):
        yield
    throttling.breaker.reset()


@pytest.mark.usefixtures("redis_down")
def test_redis_down_ingest_goes_on_with_limits_and_replay_guard_of_this_process() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    machine = SignedSender.node(node)
    body = signed_receipt(node.pk)
    assert machine.send("/v1/receipts", body, message_id="msg_local").status_code == 201
    assert machine.beat().status_code == 200
    error_of(machine.send("/v1/receipts", body, message_id="msg_local"), 409, "replayed_request")
    answers = [machine.send("/v1/receipts", signed_receipt(node.pk)).status_code for _ in range(12)]
    assert 429 in answers


def test_breaker_keeps_a_dead_redis_from_being_asked_each_time() -> None:
    throttling.breaker.reset()
    with mock.patch.object(
        redis.connection.ConnectionPool, "get_connection", side_effect=redis.ConnectionError("down")
    ) as asked:
        for number in range(20):
            throttling.hit("node", "somebody", str(number))
    throttling.breaker.reset()
    assert asked.call_count < 5


def test_head_is_answered_where_get_is() -> None:
    reader = bearer(UserFactory.create())
    for path in ("/v1/nodes", "/v1/receipts", "/v1/users/me", "/v1/summary", "/v1/incidents"):
        answer = Client().head(path, headers=reader)
        assert (answer.status_code, answer.content) == (200, b""), path


def test_too_many_parameters_are_a_400() -> None:
    error_of(
        Client().get(f"/v1/nodes?{'a&' * 1500}", headers=bearer(UserFactory.create())), 400, "invalid_request"
    )


def test_metrics_are_for_the_scraper_and_for_admins(settings: Settings) -> None:
    assert Client().get("/metrics").status_code == 404
    assert Client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404
    settings.METRICS_TOKEN = "let-me-scrape"
    scraped = Client().get("/metrics", headers={"Authorization": "Bearer let-me-scrape"})
    assert b"django_http_requests_total" in scraped.content
    assert Client().get("/metrics", headers={"Authorization": "Bearer let-me-in"}).status_code == 404


def test_cookie_mutation_on_a_route_that_machines_use_needs_the_csrf_token() -> None:
    operator = UserFactory.create()
    node = NodeFactory.create(org=operator.org)
    browser = Browser().hold_session(operator)
    refused = browser.post_json(f"/v1/nodes/{node.pk}/keys", {"public_key": "x"})
    error_of(refused, 403, "csrf_failed")
    judged = browser.post_json(f"/v1/nodes/{node.pk}/keys", {"public_key": "x"}, headers=browser.csrf)
    error_of(judged, 422, "invalid_request")
