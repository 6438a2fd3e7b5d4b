"""The status page: the present in one sentence, ninety days of regions, and nothing of single operators."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from waffle.models import Switch

from jatevo.accounts.models import Role
from jatevo.overview.models import Incident, IncidentKind, IncidentUpdate, RegionHour, Severity
from jatevo.overview.status import DAYS, Level, history, overall
from tests.accounts.browser import Browser, text_of
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def hour(at: datetime, region: str = "us-east", up: int = 60, expected: int = 60, nodes: int = 10) -> None:
    RegionHour.objects.create(
        hour=at.replace(minute=0, second=0, microsecond=0),
        region=region,
        active_nodes=nodes,
        minutes_up=up,
        minutes_expected=expected,
    )


def test_a_day_is_the_sum_of_its_minutes_and_days_without_data_are_none() -> None:
    hour(NOON, up=30)
    hour(NOON - HOUR)
    hour(NOON - 2 * DAY, up=0)
    hour(NOON, region="")  # the network's own row is no region
    hour(NOON - 91 * DAY, up=0)
    (strip,) = history(at=NOON, fold_small=False)
    assert len(strip.cells) == DAYS
    assert [cell.share for cell in strip.cells[-3:]] == [0, None, 0.75]
    assert [cell.level for cell in strip.cells[-3:]] == [Level.POOR, Level.UNKNOWN, Level.POOR]
    assert strip.share == pytest.approx(90 / 180)
    assert "no data" in strip.cells[-2].title
    assert "75.00 % available" in strip.cells[-1].title


@pytest.mark.parametrize(
    ("share", "level"),
    [(1.0, Level.GOOD), (0.99, Level.GOOD), (0.9899, Level.FAIR), (0.95, Level.FAIR), (0.949, Level.POOR)],
)
def test_levels(share: float, level: Level) -> None:
    assert Level.of(share) is level


def test_days_are_those_of_utc() -> None:
    hour(datetime(2026, 5, 31, 23, tzinfo=UTC), up=0)
    hour(datetime(2026, 6, 1, 0, tzinfo=UTC))
    (strip,) = history(at=NOON, fold_small=False)
    assert [cell.share for cell in strip.cells[-2:]] == [0, 1]


def test_small_regions_are_one_line_for_strangers() -> None:
    hour(NOON, region="large", nodes=5)
    hour(NOON, region="small-1", nodes=4, up=0)
    hour(NOON, region="small-2", nodes=1)
    assert [strip.name for strip in history(at=NOON, fold_small=False)] == ["large", "small-1", "small-2"]
    large, other = history(at=NOON, fold_small=True)
    assert (large.name, other.name, other.share) == ("large", "other", 0.5)


def test_too_few_nodes_in_all_small_regions_are_not_told() -> None:
    hour(NOON, region="large", nodes=5)
    hour(NOON, region="small", nodes=2)
    assert [strip.name for strip in history(at=NOON, fold_small=True)] == ["large"]


def test_an_outage_does_not_make_a_region_disappear() -> None:
    hour(NOON - DAY, region="large", nodes=50)
    hour(NOON, region="large", nodes=0, up=0)
    assert [strip.name for strip in history(at=NOON, fold_small=True)] == ["large"]


def test_incidents_are_named_on_their_days() -> None:
    hour(NOON)
    Incident.objects.create(
        title="Uplink", region="us-east", starts_at=NOON - 2 * DAY, resolved_at=NOON - DAY
    )
    Incident.objects.create(title="Elsewhere", region="eu", starts_at=NOON - DAY)
    Incident.objects.create(title="Everywhere", starts_at=NOON)
    (strip,) = history(at=NOON, fold_small=False)
    assert [cell.incidents for cell in strip.cells[-4:]] == [(), ("Uplink",), ("Uplink",), ("Everywhere",)]


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([], "No incidents are under way."),
        ([("maintenance", "info")], "Maintenance is under way."),
        ([("incident", "info"), ("maintenance", "major")], "there is a notice below"),
        ([("incident", "info"), ("incident", "warn")], "impaired"),
        ([("incident", "warn"), ("incident", "major")], "A major incident"),
    ],
)
def test_the_present_in_one_sentence(kinds: list[tuple[str, str]], said: str) -> None:
    incidents = [Incident(kind=IncidentKind(kind), severity=Severity(severity)) for kind, severity in kinds]
    assert said in overall(incidents).sentence


def test_strangers_see_the_page_while_the_flag_is_on() -> None:
    now = timezone.now()
    hour(now, region="lonely", nodes=1)
    hour(now, region="large", nodes=9)
    for browser in (Browser(), Browser().hold_session(UserFactory.create(role=Role.VIEWER))):
        page = text_of(browser.get("/status/"))
        assert "large" in page
        assert "lonely" not in page
    operator = Browser().hold_session(UserFactory.create(role=Role.OPERATOR))
    assert "lonely" in text_of(operator.get("/status/"))


def test_while_the_flag_is_off_strangers_sign_in() -> None:
    Switch.objects.update_or_create(name="allow_anonymous_overview", defaults={"active": False})
    incident = Incident.objects.create(title="Uplink")
    for path in ("/status/", "/status/history/", f"/status/incidents/{incident.pk}/"):
        assert Browser().get(path)["Location"].startswith("/login/")


def test_what_is_under_way_announced_and_resolved(client: object) -> None:
    now = timezone.now()
    open_now = Incident.objects.create(title="Uplink", starts_at=now - HOUR)
    IncidentUpdate.objects.create(incident=open_now, text="<b>A cut</b> fibre", by="secret@example.org")
    Incident.objects.create(
        title="New switches", kind="maintenance", starts_at=now + HOUR, ends_at=now + 2 * HOUR
    )
    Incident.objects.create(title="Long over", starts_at=now - DAY, resolved_at=now - HOUR)
    page = text_of(Browser().get("/status/"))
    under_way, announced = page.index("Under way"), page.index("Announced maintenance")
    assert under_way < page.index("Uplink") < announced < page.index("New switches") < page.index("Long over")
    assert "&lt;b&gt;A cut&lt;/b&gt; fibre" in page
    assert "secret@example.org" not in page
    archive = text_of(Browser().get("/status/history/"))
    assert "Long over" in archive
    assert "A cut" in text_of(Browser().get(f"/status/incidents/{open_now.pk}/"))
    assert Browser().get("/status/incidents/999999/").status_code == 404


def test_an_unchanged_page_answers_a_poll_with_304() -> None:
    asked = {"HX-Request": "true", "HX-Target": "status-live"}
    etag = Browser().get("/status/", headers=asked)["ETag"]
    again = {**asked, "If-None-Match": etag}
    assert Browser().get("/status/", headers=again).status_code == 304
    Incident.objects.create(title="Uplink", starts_at=timezone.now() - HOUR)
    assert Browser().get("/status/", headers=again).status_code == 200


def test_the_queries_do_not_grow_with_regions_hours_or_incidents() -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            text_of(Browser().get("/status/"))
        return len(queries)

    now = timezone.now()
    hour(now)
    Incident.objects.create(title="one", starts_at=now - HOUR)
    count()
    one = count()
    for number in range(1, 12):
        hour(now - number * DAY, region=f"r-{number}")
        Incident.objects.create(title=f"i-{number}", starts_at=now - HOUR)
    assert count() == one <= 8
