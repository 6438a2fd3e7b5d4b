"""The status page: a sentence on the present, ninety days of regions, and nothing on single operators."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from waffle.models import Switch

from jatevo.accounts.models import Role
from jatevo.overview.incidents import overall
from jatevo.overview.models import Incident, IncidentKind, IncidentUpdate, RegionHour, Severity
from jatevo.overview.status import DAYS, Minutes, RegionDay, RegionStrip, history
from jatevo.overview.status_chart import DayLevel, drawing
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
    assert len(strip.days) == DAYS
    assert [day.minutes.share for day in strip.days[-3:]] == [0, None, 0.75]
    assert strip.minutes.share == pytest.approx(90 / 180)
    assert [day.minutes.words for day in strip.days[-3:]] == ["0.00 %", "no data", "75.00 %"]


def test_a_missed_minute_is_never_rounded_away() -> None:
    assert Minutes(99_999, 100_000).words == "99.99 %"
    assert Minutes(100_000, 100_000).words == "100.00 %"
    assert Minutes(1, 20).words == "5.00 %"


def test_levels_differ_by_height_and_days_with_incidents_bear_a_mark() -> None:
    shares = [Minutes(100, 100), Minutes(96, 100), Minutes(1, 100), Minutes()]
    days = [RegionDay(NOON.date(), share, ("<Uplink>",) if not share.up else ()) for share in shares]
    drawn = drawing(RegionStrip("us-east", days))
    assert [bars.level for bars in drawn.bars] == list(DayLevel)
    assert len({level.height for level in DayLevel}) == len(DayLevel)
    assert drawn.bars[1].path == "M1 8h0.72V28h-0.72z"
    assert drawn.marks == "M3 30h0.72V34h-0.72z"
    assert [(spot.x, spot.title) for spot in drawn.spots] == [
        (1, "1 Jun 2026: 96.00 % available"),
        (2, "1 Jun 2026: 1.00 % available"),
        (3, "1 Jun 2026: no data; <Uplink>"),
    ]
    assert drawn.strip.label == "us-east, last 4 days: 65.66 % available, incidents on 1 day"


@pytest.mark.parametrize(
    ("share", "level"),
    [
        (1.0, DayLevel.GOOD),
        (0.99, DayLevel.GOOD),
        (0.9899, DayLevel.FAIR),
        (0.95, DayLevel.FAIR),
        (0.949, DayLevel.POOR),
    ],
)
def test_levels(share: float, level: DayLevel) -> None:
    assert DayLevel.of(share) is level


def test_days_are_those_of_utc() -> None:
    hour(datetime(2026, 5, 31, 23, tzinfo=UTC), up=0)
    hour(datetime(2026, 6, 1, 0, tzinfo=UTC))
    (strip,) = history(at=NOON, fold_small=False)
    assert [day.minutes.share for day in strip.days[-2:]] == [0, 1]


def test_small_regions_are_one_line_for_strangers() -> None:
    hour(NOON, region="large", nodes=5)
    hour(NOON, region="small-1", nodes=4, up=0)
    hour(NOON, region="small-2", nodes=1)
    assert [strip.name for strip in history(at=NOON, fold_small=False)] == ["large", "small-1", "small-2"]
    large, other = history(at=NOON, fold_small=True)
    assert (large.name, other.name, other.minutes.share) == ("large", "other", 0.5)


def test_too_few_nodes_in_all_small_regions_are_not_revealed() -> None:
    hour(NOON, region="large", nodes=5)
    hour(NOON, region="small", nodes=2)
    assert [strip.name for strip in history(at=NOON, fold_small=True)] == ["large"]


def test_an_outage_does_not_make_a_region_disappear() -> None:
    hour(NOON - DAY, region="large", nodes=50)
    hour(NOON, region="large", nodes=0, up=0)
    assert [strip.name for strip in history(at=NOON, fold_small=True)] == ["large"]


def test_days_on_which_a_region_was_small_are_shown_with_the_others() -> None:
    hour(NOON - 20 * DAY, region="grown", nodes=1, up=0)
    hour(NOON - 20 * DAY, region="small", nodes=4, up=30)
    hour(NOON, region="grown", nodes=5)
    grown, other = history(at=NOON, fold_small=True)
    assert [day.day for day in grown.days if day.minutes.expected] == [NOON.date()]
    assert {day.minutes.share for day in other.days} == {None, 0.25}
    assert (grown.name, other.name) == ("grown", "other")


def test_the_only_region_is_one_line_even_if_it_was_small() -> None:
    hour(NOON - 20 * DAY, region="grown", nodes=1, up=0)
    hour(NOON, region="grown", nodes=5)
    (grown,) = history(at=NOON, fold_small=True)
    assert grown.minutes == Minutes(60, 60)


def test_a_network_that_is_small_all_over_is_one_line() -> None:
    hour(NOON, region="a", nodes=1)
    hour(NOON, region="b", nodes=2, up=0)
    (other,) = history(at=NOON, fold_small=True)
    assert (other.name, other.minutes) == ("other", Minutes(60, 120))


def test_incidents_of_folded_regions_are_named_in_the_common_line() -> None:
    hour(NOON, region="large", nodes=5)
    hour(NOON, region="small-1", nodes=4)
    hour(NOON, region="small-2", nodes=1)
    Incident.objects.create(title="Uplink", region="small-2", starts_at=NOON - HOUR)
    large, other = history(at=NOON, fold_small=True)
    assert (large.days[-1].incidents, other.days[-1].incidents) == ((), ("Uplink",))


def test_an_incident_that_lasts_ends_its_marks_today() -> None:
    hour(NOON)
    Incident.objects.create(title="Old", starts_at=NOON - 200 * DAY)
    Incident.objects.create(title="Over", starts_at=NOON - 200 * DAY, resolved_at=NOON - 100 * DAY)
    (strip,) = history(at=NOON, fold_small=False)
    assert {day.incidents for day in strip.days} == {("Old",)}


def test_what_was_called_off_or_is_yet_to_come_marks_no_day() -> None:
    hour(NOON)
    for title, start, resolved in (("Off", NOON - HOUR, NOON - DAY), ("Soon", NOON + HOUR, None)):
        Incident.objects.create(
            title=title, kind="maintenance", starts_at=start, ends_at=start + HOUR, resolved_at=resolved
        )
    (strip,) = history(at=NOON, fold_small=False)
    assert {day.incidents for day in strip.days} == {()}


def test_maintenance_marks_no_day_after_its_planned_end() -> None:
    hour(NOON)
    start = NOON - 3 * DAY
    Incident.objects.create(title="Done", kind="maintenance", starts_at=start, ends_at=start + DAY)
    Incident.objects.create(
        title="Longer", kind="maintenance", starts_at=start, ends_at=start + HOUR, resolved_at=NOON - DAY
    )
    Incident.objects.create(
        title="Long ago", kind="maintenance", starts_at=NOON - 200 * DAY, ends_at=NOON - 199 * DAY
    )
    (strip,) = history(at=NOON, fold_small=False)
    assert [day.incidents for day in strip.days[-5:]] == [
        (),
        ("Done", "Longer"),
        ("Done", "Longer"),
        ("Longer",),
        (),
    ]
    assert {day.incidents for day in strip.days[:-4]} == {()}


def test_incidents_are_named_on_their_days() -> None:
    hour(NOON)
    Incident.objects.create(
        title="Uplink", region="us-east", starts_at=NOON - 2 * DAY, resolved_at=NOON - DAY
    )
    Incident.objects.create(title="Elsewhere", region="eu", starts_at=NOON - DAY)
    Incident.objects.create(title="Everywhere", starts_at=NOON)
    (strip,) = history(at=NOON, fold_small=False)
    assert [day.incidents for day in strip.days[-4:]] == [(), ("Uplink",), ("Uplink",), ("Everywhere",)]


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([], "No incidents are under way."),
        ([("maintenance", "info")], "Maintenance is under way."),
        ([("incident", "info"), ("maintenance", "major")], "See the notice below"),
        ([("incident", "info"), ("incident", "warn")], "degraded"),
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
    operator = Browser().hold_session(UserFactory.create(role=Role.OPERATOR))
    for path in ("/status/", "/status/availability/"):
        for browser in (Browser(), Browser().hold_session(UserFactory.create(role=Role.VIEWER))):
            page = text_of(browser.get(path))
            assert "large" in page
            assert "lonely" not in page
        assert "lonely" in text_of(operator.get(path))


def test_while_the_flag_is_off_strangers_sign_in() -> None:
    Switch.objects.update_or_create(name="allow_anonymous_overview", defaults={"active": False})
    incident = Incident.objects.create(title="Uplink")
    viewer = Browser().hold_session(UserFactory.create(role=Role.VIEWER))
    paths = ["/status/", "/status/availability/", "/status/history/", f"/status/incidents/{incident.pk}/"]
    for path in paths:
        assert Browser().get(path)["Location"].startswith("/login/")
        assert viewer.get(path).status_code == 200


def test_what_is_under_way_announced_and_resolved() -> None:
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


def test_maintenance_that_ended_as_planned_is_over_everywhere() -> None:
    now = timezone.now()
    planned = {"kind": "maintenance", "starts_at": now - 4 * HOUR}
    Incident.objects.create(title="New switches", **planned, ends_at=now - 3 * HOUR)
    Incident.objects.create(title="Long over", starts_at=now - DAY, resolved_at=now - 4 * HOUR)
    page = text_of(Browser().get("/status/"))
    assert "No incidents are under way." in page
    lately = page[page.index("Recently resolved") :]
    assert lately.index("New switches") < lately.index("ended as planned") < lately.index("Long over")
    assert "Ended as planned" in text_of(Browser().get("/status/history/"))
    for state, titles in (("open", []), ("resolved", ["Long over", "New switches"])):
        lines = Browser().get(f"/v1/incidents?state={state}").json()["results"]
        assert [line["title"] for line in lines] == titles
    assert "New switches" not in text_of(Browser().get("/"))


def test_an_unchanged_page_answers_a_poll_with_304() -> None:
    asked = {"HX-Request": "true", "HX-Target": "status-live"}
    etag = Browser().get("/status/", headers=asked)["ETag"]
    again = {**asked, "If-None-Match": etag}
    assert Browser().get("/status/", headers=again).status_code == 304
    incident = Incident.objects.create(title="Uplink", starts_at=timezone.now() - HOUR)
    changed = Browser().get("/status/", headers=again)
    assert changed.status_code == 200
    assert text_of(changed).lstrip().startswith("<span hidden data-announce=")
    again["If-None-Match"] = changed["ETag"]
    Incident.objects.filter(pk=incident.pk).update(description="A cut fibre.")
    assert "A cut fibre." in text_of(Browser().get("/status/", headers=again))


def test_the_table_names_each_day_with_its_incidents() -> None:
    now = timezone.now()
    hour(now, up=30)
    Incident.objects.create(title="<i>Uplink</i>", region="us-east", starts_at=now)
    page = text_of(Browser().get("/status/availability/"))
    assert page.count('<th scope="row"') == DAYS + 1
    assert f"{now:%-d %b %Y}" in page
    assert "50.00 %" in page
    assert "&lt;i&gt;Uplink&lt;/i&gt;" in page


def test_without_history_the_pages_say_so() -> None:
    for path in ("/status/", "/status/availability/"):
        assert "No history yet" in text_of(Browser().get(path))
    assert "No incidents yet" in text_of(Browser().get("/status/history/"))


def test_the_archive_has_pages() -> None:
    for number in range(21):
        Incident.objects.create(title=f"incident-{number:02}", starts_at=NOON + number * HOUR)
    first, second = (text_of(Browser().get(f"/status/history/?page={page}")) for page in (1, 2))
    assert ("incident-20" in first, "incident-00" in first) == (True, False)
    assert ("incident-20" in second, "incident-00" in second) == (False, True)


@pytest.mark.parametrize("path", ["/status/availability/", "/status/history/"])
def test_the_queries_of_the_other_pages_do_not_grow(path: str) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            text_of(Browser().get(path))
        return len(queries)

    now = timezone.now()
    hour(now)
    said = Incident.objects.create(title="one", starts_at=now - HOUR)
    IncidentUpdate.objects.create(incident=said, text="something")
    count()
    one = count()
    for number in range(1, 8):
        hour(now - number * DAY, region=f"r-{number}")
        IncidentUpdate.objects.create(incident=Incident.objects.create(title=f"i-{number}"), text="more")
    assert count() == one <= 6


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
