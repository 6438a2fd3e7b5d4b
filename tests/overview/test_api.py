"""GET /v1/summary and /v1/incidents."""

from collections.abc import Callable
from datetime import datetime

import pytest
from django.utils import timezone
from waffle.testutils import override_switch

from jatevo.accounts.models import Org, Role
from jatevo.metrics.store import Store
from jatevo.overview.models import Incident, Severity
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.factories import UserFactory


@pytest.fixture
def visitor() -> Browser:
    return Browser()


def test_summary_has_the_contracts_shape(visitor: Browser, fleet: list[Node], chdb_store: Store) -> None:
    body = visitor.get("/v1/summary").json()
    assert datetime.fromisoformat(body.pop("as_of")).tzinfo is not None
    assert body == {
        "active_nodes": 7,
        "p95_global": None,
        "p95_by_region": [
            {"region": "ap-southeast", "p95_ms": None, "nodes": 5},
            {"region": "other", "p95_ms": None, "nodes": 2},
        ],
        "models_cached": 3,
        "requests_24h": 0,
    }


def test_what_is_not_known_is_null(
    visitor: Browser, fleet: list[Node], metrics_down: Callable[[], None]
) -> None:
    metrics_down()
    body = visitor.get("/v1/summary").json()
    assert (body["requests_24h"], body["p95_global"], body["active_nodes"]) == (None, None, 7)


def test_operators_get_every_region(fleet: list[Node], chdb_store: Store, org: Org) -> None:
    browser = Browser().hold_session(UserFactory.create(role=Role.OPERATOR, org=org))
    regions = [line["region"] for line in browser.get("/v1/summary").json()["p95_by_region"]]
    assert regions == ["ap-southeast", "us-west"]


@pytest.mark.parametrize("path", ["/v1/summary", "/v1/incidents"])
def test_strangers_need_credentials_when_the_flag_is_off(
    path: str, visitor: Browser, org: Org, chdb_store: Store
) -> None:
    with override_switch("allow_anonymous_overview", active=False):
        refused = visitor.get(path)
        assert refused.status_code == 401
        assert refused.json()["error"]["type"] == "unauthenticated"
        allowed = Browser().hold_session(UserFactory.create(role=Role.VIEWER, org=org)).get(path)
        assert allowed.status_code == 200


@pytest.mark.parametrize("path", ["/v1/summary", "/v1/incidents"])
def test_a_wrong_token_is_refused_although_strangers_are_welcome(
    path: str, visitor: Browser, org: Org
) -> None:
    answer = visitor.get(path, headers={"Authorization": "Bearer nonsense"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_token")


@pytest.mark.django_db
def test_incidents_by_state_newest_first(visitor: Browser) -> None:
    Incident.objects.create(title="over", created_at=timezone.now(), resolved_at=timezone.now())
    Incident.objects.create(title="first", severity=Severity.WARN, region="us-west")
    Incident.objects.create(title="second")

    def titles(query: str) -> list[str]:
        return [line["title"] for line in visitor.get(f"/v1/incidents{query}").json()["results"]]

    assert titles("?state=open") == ["second", "first"]
    assert titles("?state=resolved") == ["over"]
    assert titles("") == ["second", "first", "over"]


@pytest.mark.django_db
def test_an_incidents_members(visitor: Browser) -> None:
    incident = Incident.objects.create(
        title="Slow", description="Why", severity=Severity.MAJOR, region="us-west"
    )
    (line,) = visitor.get("/v1/incidents").json()["results"]
    assert datetime.fromisoformat(line.pop("created_at"))
    assert line == {
        "id": incident.pk,
        "severity": "major",
        "title": "Slow",
        "description": "Why",
        "region": "us-west",
        "resolved_at": None,
    }


@pytest.mark.django_db
def test_incidents_are_paged(visitor: Browser) -> None:
    Incident.objects.bulk_create(Incident(title=str(number)) for number in range(3))
    first = visitor.get("/v1/incidents?limit=2").json()
    second = visitor.get(f"/v1/incidents?limit=2&cursor={first['next']}").json()
    assert [line["title"] for line in first["results"] + second["results"]] == ["2", "1", "0"]
    assert second["next"] is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "field"), [("state=shut", "state"), ("cursor=x", "cursor"), ("limit=0", "limit")]
)
def test_bad_parameters_are_named(query: str, field: str, visitor: Browser) -> None:
    answer = visitor.get(f"/v1/incidents?{query}")
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["error"]["details"]] == [field]
