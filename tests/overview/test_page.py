"""The Overview through the front door."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from waffle.testutils import override_switch

from jatevo.accounts.models import Org, Role, User
from jatevo.audit.record import SYSTEM, Actor
from jatevo.metrics.store import Store
from jatevo.overview.kpis import FRESH_FOR
from jatevo.overview.models import Incident, RegionHour, Severity
from nodes.actions import happen
from nodes.models import Node
from nodes.rules.lifecycle import Event
from tests.accounts.browser import Browser
from tests.factories import NodeFactory, UserFactory
from tests.metrics.wrappers import receipt
from tests.overview.measured import ship

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


def test_anyone_sees_the_network_while_the_flag_is_on(
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


def test_regions_lead_to_their_nodes_and_folded_ones_nowhere(
    visitor: Browser, fleet: list[Node], chdb_store: Store
) -> None:
    page = shown(visitor)
    assert 'href="/nodes/?region=ap-southeast"' in page
    assert "region=other" not in page


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
    assert page.count(">unknown</span></td>") == 1
    assert page.count(">too few nodes</span></td>") == 1  # of the other regions
    assert ">too few samples</span></td>" not in page


def test_stale_figures_bear_a_badge_and_their_age(
    visitor: Browser, fleet: list[Node], chdb_store: Store, metrics_down: Callable[[], None]
) -> None:
    assert "Stale" not in shown(visitor)
    metrics_down()
    with time_machine.travel(timezone.now() + timedelta(minutes=7), tick=False):
        page = shown(visitor)
    assert page.count("Stale") == 1  # requests were a known 0; p95 never had enough probes
    assert "7 min ago" in page
    panels = [panel for panel in page.split("<section") if "stale" in panel]
    assert [re.findall('aria-label="([^",]*)', panel)[0] for panel in panels] == [
        "p95 by region",
        "Requests",
        "Tokens",
        "Errors",
        "Models",
    ]


def test_a_poll_gets_the_fragment_and_304_while_nothing_changed(
    visitor: Browser, org: Org, chdb_store: Store
) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        first = visitor.get("/", headers=POLL)
        assert "<html" not in first.content.decode()
        assert "Active nodes" in first.content.decode()
        assert "HX-Request" in first.headers["Vary"]
        known = {**POLL, "If-None-Match": first.headers["ETag"]}
        assert visitor.get("/", headers=known).status_code == 304
        Incident.objects.create(title="Slow answers", starts_at=timezone.now())
        clock.shift(FRESH_FOR)  # rendered again with the next snapshot
        assert "Slow answers" in visitor.get("/", headers=known).content.decode()


def test_a_history_restore_gets_the_whole_page(visitor: Browser, org: Org, chdb_store: Store) -> None:
    assert "<html" in shown(visitor, **POLL, **{"HX-History-Restore-Request": "true"})


def test_the_worst_open_incident_is_on_top(visitor: Browser, org: Org, chdb_store: Store) -> None:
    assert "No open incidents" in shown(visitor)
    Incident.objects.create(severity=Severity.MAJOR, title="Region down", region="us-west")
    Incident.objects.create(severity=Severity.INFO, title="Maintenance tonight")
    past = timezone.now() - timedelta(hours=1)
    Incident.objects.create(severity=Severity.MAJOR, title="Long over", starts_at=past, resolved_at=past)
    tonight = timezone.now() + timedelta(hours=6)
    Incident.objects.create(kind="maintenance", title="New switches", starts_at=tonight)
    with time_machine.travel(timezone.now() + FRESH_FOR):
        page = shown(visitor)
    assert page.index("Region down") < page.index("Maintenance tonight") < page.index("New switches")
    assert 'data-announce="2 open incidents: Region down"' in page
    assert "Long over" not in page


def test_what_staff_write_is_shown_as_text(visitor: Browser, org: Org, chdb_store: Store) -> None:
    Incident.objects.create(title="<b>bold</b>", description="<script>alert(1)</script>")
    page = shown(visitor)
    assert "<b>bold" not in page
    assert "<script>alert" not in page


def hours(region: str = "", nodes: int = 10, **fields: object) -> None:
    """24 hours of a region up to the current one."""
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    RegionHour.objects.bulk_create(
        RegionHour(
            hour=now - timedelta(hours=back),
            region=region,
            **{
                "active_nodes": nodes,
                "p95_ms": 300.0,
                "requests": 1200 + back,
                "tokens_input": 10,
                "tokens_output": 20,
                "errors": 1,
                **fields,
            },
        )
        for back in range(24)
    )


def test_the_day_is_drawn_as_trends_and_as_regions_by_hour(
    visitor: Browser, fleet: list[Node], chdb_store: Store
) -> None:
    hours()
    hours("ap-southeast")
    hours("us-west", p95_ms=2500.0)
    page = shown(signed_in(Role.OPERATOR, fleet[0].org))
    assert page.count('class="shade-1" title=') == 24  # 300 ms, the lower half of what is shown
    assert re.search(r'<td class="shade-5" title="\d\d:00 UTC: p95 2,500 ms">2.5k</td>', page)
    assert "29,076" in page  # requests in 24 h: 1,200 and 0 to 23 more each hour
    assert "24 in all, at most 1 in an hour" in page
    requests = shown_at(visitor, "/?heat=requests")
    assert "1,223 requests" in requests
    assert 'aria-current="true">Requests<' in requests


def shown_at(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_an_hour_that_is_not_known_is_a_gap_and_no_zero(
    visitor: Browser, fleet: list[Node], chdb_store: Store
) -> None:
    hours("ap-southeast", p95_ms=None)
    page = shown(visitor)
    assert page.count("p95 unknown") == 24
    assert "Requests by hour, last 24 hours: unknown" in page


def test_each_figure_says_how_it_changed_and_what_it_means(
    visitor: Browser, fleet: list[Node], chdb_store: Store
) -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    RegionHour.objects.bulk_create(
        RegionHour(hour=now - timedelta(hours=back), region="", active_nodes=14, models_cached=3)
        for back in range(20, 30)
    )
    page = shown(visitor)
    assert "▼ 50.0 % down" in page  # 7 active nodes
    assert "= unchanged" in page  # 3 models
    assert 'popovertarget="help-p95_global-kpi"' in page
    assert "are weighted by the requests" in page


def test_recent_changes_are_shown_to_strangers_without_names(
    visitor: Browser, fleet: list[Node], chdb_store: Store, org: Org
) -> None:
    shared, private = fleet[0], fleet[1]
    Node.objects.filter(pk=shared.pk).update(shared=True)
    for node in (shared, private):
        happen(node.pk, Event.AUDIT_FAILED, by=Actor("validator", "secret-validator"), at=timezone.now())
    rival = NodeFactory.create(status="active")
    happen(rival.pk, Event.SILENT, by=SYSTEM, at=timezone.now())
    shared.refresh_from_db()
    page = shown(visitor)
    assert f'href="/nodes/{shared.pseudonym}/"' in page
    for hidden in (shared.pk, private.pk, private.pseudonym, rival.pk, "secret-validator"):
        assert hidden not in page
    page = shown(signed_in(Role.OPERATOR, org))
    assert f'href="/nodes/{private.pk}/"' in page
    assert rival.pk not in page
    assert f'href="/nodes/{rival.pk}/"' in shown(signed_in(Role.ADMIN, org))


def test_changes_in_a_small_region_are_shown_under_other_regions(
    visitor: Browser, fleet: list[Node], chdb_store: Store, org: Org
) -> None:
    lonely = Node.objects.filter(region="us-west").first()
    assert lonely is not None
    Node.objects.filter(pk=lonely.pk).update(shared=True)
    happen(lonely.pk, Event.SILENT, by=SYSTEM, at=timezone.now())
    lonely.refresh_from_db()
    page = shown(visitor)
    assert f'href="/nodes/{lonely.pseudonym}/"' in page
    assert "us-west" not in page
    assert "us-west" in shown(signed_in(Role.OPERATOR, org))


def test_trends_that_are_not_summed_up_are_stale(
    visitor: Browser, fleet: list[Node], chdb_store: Store
) -> None:
    now = timezone.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    RegionHour.objects.create(hour=hour, region="", requests=5, computed_at=now - timedelta(seconds=20))
    assert "stale" not in shown(visitor)
    RegionHour.objects.update(computed_at=now - timedelta(minutes=9))
    with time_machine.travel(now + 3 * FRESH_FOR, tick=False):
        page = shown(visitor)
    panels = [panel for panel in page.split("<section") if "stale" in panel]
    assert {re.findall('aria-label="([^",]*)', panel)[0] for panel in panels} >= {
        "Requests",
        "Tokens",
        "Errors",
    }
    assert "9 min ago" in page


def test_the_page_costs_few_queries_whatever_the_number_of_nodes(
    visitor: Browser, fleet: list[Node], chdb_store: Store, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    shown(visitor)  # the flag is cached from now on
    with django_assert_num_queries(0):  # drawn once for all who see the same
        shown(visitor)
    first = count_after_a_snapshot(visitor, 1)
    NodeFactory.create_batch(20, org=fleet[0].org, region="us-west", status="active", shared=True)
    for node in Node.objects.filter(region="us-west"):
        happen(node.pk, Event.SILENT, by=SYSTEM, at=timezone.now())
    hours("ap-southeast")
    assert count_after_a_snapshot(visitor, 2) == first <= 8


def count_after_a_snapshot(browser: Browser, number: int) -> int:
    """The queries of the first visit after the snapshot has expired."""
    with (
        time_machine.travel(timezone.now() + number * FRESH_FOR),
        CaptureQueriesContext(connection) as queries,
    ):
        shown(browser)
    return len(queries)


def test_audiences_do_not_share_what_is_drawn(
    visitor: Browser, fleet: list[Node], chdb_store: Store, org: Org
) -> None:
    with time_machine.travel(timezone.now(), tick=False):
        first = shown(signed_in(Role.ADMIN, org))
        assert "us-west" in first
        assert "us-west" not in shown(visitor)
        assert "us-west" not in shown(signed_in(Role.VIEWER, org))
        assert "us-west" in shown(signed_in(Role.OPERATOR, org))


def test_hours_are_in_the_readers_zone_also_while_another_zones_page_is_kept(
    visitor: Browser, fleet: list[Node], chdb_store: Store
) -> None:
    at = datetime(2026, 3, 4, 22, 30, tzinfo=UTC)
    with time_machine.travel(at, tick=False):
        hours()
        hours("ap-southeast")
        for zone, words, head in (
            ("", "22:00 UTC: p95 300 ms", '<th scope="col">22</th>'),
            ("Asia/Shanghai", "06:00 UTC+8: p95 300 ms", '<th scope="col">06</th>'),
            ("Asia/Kolkata", "03:30 UTC+5:30: p95 300 ms", '<th scope="col">03:30</th>'),
        ):
            visitor.cookies["time_zone"] = zone
            page = shown(visitor)
            assert words in page
            assert head in page
        assert "22:00 UTC:" not in page
        assert "Asia/Kolkata (UTC+5:30)" in page


def test_everyone_sees_the_models_except_strangers_those_of_few_nodes(
    visitor: Browser, fleet: list[Node], chdb_store: Store
) -> None:
    Node.objects.filter(region="ap-southeast").update(models_offered=["QWEN3", "llama3"])
    Node.objects.filter(region="us-west").update(models_offered=["qwen3:latest", "acme-secret"])
    now = int(timezone.now().timestamp())
    ship(
        chdb_store,
        *(
            receipt(f"r_{n}", model_id="qwen3", ts_end=now - 60, accepted_at=now, p95_ms=120.0)
            for n in range(3)
        ),
        receipt("r_own", model_id="acme-secret", ts_end=now - 60, accepted_at=now, p95_ms=50.0),
    )
    viewer, operator = signed_in(Role.VIEWER, fleet[0].org), signed_in(Role.OPERATOR, fleet[0].org)
    for stranger in (visitor, viewer):
        models = panel_of(shown(stranger), "Models")
        assert re.findall(r'<tr id="([^"]+)"', models) == ["model-QWEN3", "model-llama3", "models-other"]
        assert "120 ms" in models
        assert "acme" not in models
        assert "50.0 ms" not in models
    models = panel_of(shown(operator), "Models")
    assert re.findall(r'<tr id="([^"]+)"', models) == ["model-QWEN3", "model-acme-secret", "model-llama3"]
    assert "50 ms" in models


def panel_of(page: str, title: str) -> str:
    return page.split(f'<section class="panel" aria-label="{title}">')[1].split("</section>")[0]
