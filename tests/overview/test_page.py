"""The Overview through the front door."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from waffle.testutils import override_switch

from jatevo.accounts.models import Org, Role, User
from jatevo.metrics.store import Store
from jatevo.overview.models import Incident, Severity
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.factories import UserFactory

POLL = {"HX-Request": "true", "HX-Target": "overview-live"}


@pytest.fixture
def visitor() -> Browser:
    return Browser()


def signed_in(role: Role, org: Org) -> Browser:
    user: User = UserFactory.create(role=role, org=org)
    return Browser().hold_session(user)


def shown(browser: Browser, **headers: str) -> str:
    answer = browser.get("/", headers=headers)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_anybody_sees_the_network_while_the_flag_is_on(
    visitor: Browser, fleet: list[Node], chdb_store: Store
) -> None:
    page = shown(visitor)
    for label in ("Active nodes", "Avg p95 (global)", "Models cached", "Requests (24h)"):
        assert label in page


def test_a_stranger_is_sent_to_the_login_page_when_the_flag_is_off(
    visitor: Browser, org: Org, chdb_store: Store
) -> None:
    with override_switch("allow_anonymous_overview", active=False):
        assert visitor.get("/").headers["Location"] == "/login/?next=/"
        assert "Active nodes" in shown(signed_in(Role.VIEWER, org))


def test_the_public_and_viewers_see_small_regions_folded(
    visitor: Browser, fleet: list[Node], chdb_store: Store, org: Org
) -> None:
    for browser in (visitor, signed_in(Role.VIEWER, org)):
        page = shown(browser)
        assert "Other regions" in page
        assert "us-west" not in page
    page = shown(signed_in(Role.OPERATOR, org))
    assert "Other regions" not in page
    assert 'href="/nodes/?region=us-west"' in page


def test_regions_lead_to_the_nodes_only_for_those_who_may_see_them(
    visitor: Browser, fleet: list[Node], chdb_store: Store
) -> None:
    assert "/nodes/" not in shown(visitor)


def test_an_empty_network_says_what_to_do(visitor: Browser, org: Org, chdb_store: Store) -> None:
    assert "Sign in as an operator" in shown(visitor)
    page = shown(signed_in(Role.OPERATOR, org))
    assert "No nodes yet" in page
    assert 'href="/run-a-node/"' in page


def test_unknown_is_a_dash_with_its_reason_and_never_a_zero(
    visitor: Browser, fleet: list[Node], metrics_down: Callable[[], None]
) -> None:
    metrics_down()
    page = shown(visitor)
    assert page.count("The metrics store cannot be reached.") == 2
    assert not re.search(r"Requests \(24h\).*?<p[^>]*>\s*0\s*</p>", page, re.DOTALL)


def test_stale_figures_bear_a_badge_and_their_age(
    visitor: Browser, fleet: list[Node], chdb_store: Store, metrics_down: Callable[[], None]
) -> None:
    assert "Stale" not in shown(visitor)
    metrics_down()
    with time_machine.travel(timezone.now() + timedelta(minutes=7), tick=False):
        page = shown(visitor)
    assert page.count("Stale") == 1  # requests were a known 0; p95 never had enough probes
    assert "7 min ago" in page


def test_a_poll_gets_the_fragment_and_304_while_nothing_changed(
    visitor: Browser, org: Org, chdb_store: Store
) -> None:
    with time_machine.travel(timezone.now(), tick=False):
        first = visitor.get("/", headers=POLL)
        assert "<html" not in first.content.decode()
        assert "Active nodes" in first.content.decode()
        assert "HX-Request" in first.headers["Vary"]
        known = {**POLL, "If-None-Match": first.headers["ETag"]}
        assert visitor.get("/", headers=known).status_code == 304
        Incident.objects.create(title="Slow answers")
        assert "Slow answers" in visitor.get("/", headers=known).content.decode()


def test_a_history_restore_gets_the_whole_page(visitor: Browser, org: Org, chdb_store: Store) -> None:
    assert "<html" in shown(visitor, **POLL, **{"HX-History-Restore-Request": "true"})


def test_the_worst_open_incident_is_on_top(visitor: Browser, org: Org, chdb_store: Store) -> None:
    assert "No open incidents" in shown(visitor)
    Incident.objects.create(severity=Severity.MAJOR, title="Region down", region="us-west")
    Incident.objects.create(severity=Severity.INFO, title="Maintenance tonight")
    Incident.objects.create(
        severity=Severity.MAJOR, title="Long over", created_at=timezone.now(), resolved_at=timezone.now()
    )
    page = shown(visitor)
    assert page.index("Region down") < page.index("Maintenance tonight")
    assert 'data-announce="2 open incidents: Region down"' in page
    assert "+1 more" in page
    assert "Long over" not in page


def test_what_staff_write_is_shown_as_text(visitor: Browser, org: Org, chdb_store: Store) -> None:
    Incident.objects.create(title="<b>bold</b>", description="<script>alert(1)</script>")
    page = shown(visitor)
    assert "<b>bold" not in page
    assert "<script>alert" not in page


def test_the_page_costs_few_queries(
    visitor: Browser, fleet: list[Node], chdb_store: Store, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(5):  # the flag, three of the census, the incidents
        shown(visitor)
    with django_assert_num_queries(1):  # the incidents: the census is fresh, the flag is cached
        shown(visitor)
