"""GET /v1/summary and /v1/incidents."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from waffle.testutils import override_switch

from jatevo.accounts.models import Org, Role
from jatevo.metrics.store import Store
from jatevo.metrics.writer import write
from jatevo.overview import definitions
from jatevo.overview.models import Incident, Severity
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.factories import UserFactory
from tests.metrics.wrappers import NOON_SECONDS, receipt
from tests.overview.conftest import NOON


@pytest.fixture
def visitor() -> Browser:
    return Browser()


def test_answers_are_cached_only_privately(visitor: Browser, fleet: list[Node], chdb_store: Store) -> None:
    for path in ("/v1/summary", "/v1/incidents", "/v1/nodes"):
        answer = visitor.get(path)
        assert answer["Cache-Control"] == "private, no-cache"
        assert {"Authorization", "Cookie"} <= {each.strip() for each in answer["Vary"].split(",")}


def test_summary_has_the_contracts_shape(visitor: Browser, fleet: list[Node], chdb_store: Store) -> None:
    body = visitor.get("/v1/summary").json()
    assert datetime.fromisoformat(body.pop("as_of")).tzinfo is not None
    assert set(body.pop("states")) == {"active_nodes", "p95_global", "models_cached", "requests_24h"}
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


@pytest.mark.parametrize(
    ("role", "regions"),
    [
        (Role.ADMIN, ["ap-southeast", "us-west"]),
        (Role.OPERATOR, ["ap-southeast", "us-west"]),
        (Role.VIEWER, ["ap-southeast", "other"]),
    ],
)
def test_small_regions_are_named_only_to_operators_and_admins(
    role: Role, regions: list[str], fleet: list[Node], chdb_store: Store, org: Org
) -> None:
    browser = Browser().hold_session(UserFactory.create(role=role, org=org))
    body = browser.get("/v1/summary").json()
    assert [line["region"] for line in body["p95_by_region"]] == regions
    assert [line["nodes"] for line in body["p95_by_region"]] == [5, 2]


def test_each_figure_says_how_well_it_is_known_and_since_when(
    visitor: Browser, fleet: list[Node], chdb_store: Store, metrics_down: Callable[[], None]
) -> None:
    with time_machine.travel(NOON, tick=False):
        states = visitor.get("/v1/summary").json()["states"]
    known = {"state": "known", "as_of": "2026-03-04T12:00:00Z", "reason": ""}
    assert states["active_nodes"] == states["models_cached"] == states["requests_24h"] == known
    assert states["p95_global"] == {
        "state": "unknown",
        "as_of": "2026-03-04T12:00:00Z",
        "reason": "Too few samples in the last 15 minutes.",
    }
    metrics_down()
    with time_machine.travel(NOON + timedelta(minutes=7), tick=False):
        body = visitor.get("/v1/summary").json()
    assert body["requests_24h"] == 0
    assert body["states"]["requests_24h"] == {
        "state": "stale",
        "as_of": "2026-03-04T12:00:00Z",
        "reason": "The metrics store cannot be reached.",
    }
    assert body["states"]["active_nodes"] == {**known, "as_of": "2026-03-04T12:07:00Z"}
    assert body["as_of"] == "2026-03-04T12:00:00Z"


def test_the_page_and_the_api_show_the_same(visitor: Browser, fleet: list[Node], chdb_store: Store) -> None:
    with time_machine.travel(NOON, tick=False):
        write(
            chdb_store,
            uuid4(),
            list(enumerate(receipt(f"r_{n}", ts_end=NOON_SECONDS - 60) for n in range(1234))),
        )
        assert visitor.get("/v1/summary").json()["requests_24h"] == 1234
        assert "1,234" in visitor.get("/").content.decode()


def test_the_schema_says_what_each_figure_means(visitor: Browser, org: Org) -> None:
    schema = visitor.get("/v1/openapi.json").json()
    summary = schema["components"]["schemas"]["Summary"]["properties"]
    for name, definition in {
        "active_nodes": definitions.ACTIVE_NODES,
        "p95_global": definitions.P95_GLOBAL,
        "p95_by_region": definitions.P95_BY_REGION,
        "models_cached": definitions.MODELS_CACHED,
        "requests_24h": definitions.REQUESTS_24H,
    }.items():
        assert definition.text in summary[name]["description"]
    state = schema["components"]["schemas"]["FigureState"]["properties"]["state"]
    assert set(_enum(schema, state)) == {"known", "unknown", "stale"}


def _enum(schema: dict[str, Any], field: dict[str, Any]) -> list[str]:
    """The choices of a field, which may be behind a reference."""
    if "$ref" in field:
        field = schema["components"]["schemas"][field["$ref"].rpartition("/")[2]]
    return list(field["enum"])


def test_a_summary_from_the_cache_asks_no_database(
    visitor: Browser, fleet: list[Node], chdb_store: Store, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    visitor.get("/v1/summary")
    with django_assert_num_queries(0):
        visitor.get("/v1/summary")


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
    over = timezone.now() - timedelta(hours=1)
    Incident.objects.create(title="over", starts_at=over, resolved_at=over)
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
    assert datetime.fromisoformat(line.pop("starts_at"))
    assert datetime.fromisoformat(line.pop("changed_at"))
    assert line == {
        "kind": "incident",
        "ends_at": None,
        "exempts_nodes": True,
        "updates": [],
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
