"""/time-zone/: the zone in which people and visitors see times."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.template import Context, Template
from django.utils import timezone

from jatevo.accounts.actions import UnknownTimeZone, set_time_zone
from jatevo.accounts.models import User
from jatevo.audit.models import AuditEvent
from jatevo.web.time_zones import offset_words, zone_named, zone_names
from tests.accounts.browser import Browser, text_of

NOON = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


def test_person_chooses_a_zone_that_every_page_uses(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    assert "Times in UTC" in text_of(visitor.get("/password/"))
    answer = visitor.submit("/time-zone/?next=/password/", {"zone": "Asia/Jakarta", "next": "/password/"})
    assert (answer.status_code, answer["Location"]) == (302, "/password/")
    assert User.objects.get(pk=operator.pk).time_zone == "Asia/Jakarta"
    assert AuditEvent.objects.get(verb="user.time_zone").details == {"time_zone": "Asia/Jakarta"}
    assert "Times in Asia/Jakarta (UTC+7)" in text_of(visitor.get("/password/"))
    elsewhere = Browser().hold_session(User.objects.get(pk=operator.pk))
    assert "Times in Asia/Jakarta (UTC+7)" in text_of(elsewhere.get("/password/"))
    assert "Times in UTC" in text_of(Browser().get("/"))


def test_visitor_chooses_a_zone_for_the_browser(visitor: Browser, db: None) -> None:
    answer = visitor.submit("/time-zone/", {"zone": "America/St_Johns"})
    assert answer.cookies["time_zone"]["httponly"]
    page = text_of(visitor.get("/"))
    assert "Times in America/St_Johns (UTC-" in page


@pytest.mark.parametrize("zone", ["Etc/GMT+8", "../../etc/passwd", "Mars/Olympus", "posixrules", ""])
def test_unknown_zones_are_refused(visitor: Browser, operator: User, zone: str) -> None:
    visitor.hold_session(operator)
    assert visitor.submit("/time-zone/", {"zone": zone}).status_code == 422
    with pytest.raises(UnknownTimeZone):
        set_time_zone(by=operator, name=zone)
    assert User.objects.get(pk=operator.pk).time_zone == ""
    visitor.logout()
    visitor.cookies["time_zone"] = zone
    assert "Times in UTC" in text_of(visitor.get("/time-zone/"))


def test_choosing_needs_the_csrf_token(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    assert visitor.post("/time-zone/", {"zone": "Asia/Jakarta"}).status_code == 403


def test_zone_of_one_request_never_reaches_the_next(visitor: Browser, operator: User) -> None:
    User.objects.update(time_zone="Asia/Tokyo")
    visitor.hold_session(operator).get("/password/")
    assert timezone.get_current_timezone_name() == "UTC"


def test_api_answers_in_utc(visitor: Browser, operator: User) -> None:
    User.objects.update(time_zone="Asia/Tokyo")
    assert visitor.hold_session(operator).get("/v1/users/me").status_code == 200
    assert timezone.get_current_timezone_name() == "UTC"


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "15 Jan 2026, 12:00:00 UTC"),
        ("Asia/Kolkata", "15 Jan 2026, 17:30:00 UTC+5:30"),
        ("America/St_Johns", "15 Jan 2026, 08:30:00 UTC-3:30"),
        ("Pacific/Kiritimati", "16 Jan 2026, 02:00:00 UTC+14"),
    ],
)
def test_exact_times_name_their_zone(zone: str, shown: str) -> None:
    template = Template("{% load ui %}{% exact_time moment %}|{% when moment %}")
    with timezone.override(zone_named(zone)):
        exact, _, relative = template.render(Context({"moment": NOON})).partition("|")
    assert f">{shown}<" in exact and 'datetime="2026-01-15T12:00:00Z"' in exact
    assert f'title="{shown}"' in relative


def test_summer_time_is_that_of_the_moment() -> None:
    berlin: Any = zone_named("Europe/Berlin")
    assert offset_words(NOON.astimezone(berlin)) == "UTC+1"
    assert offset_words(NOON.replace(month=7).astimezone(berlin)) == "UTC+2"


def test_zones_that_browsers_report_can_be_chosen() -> None:
    assert {"Asia/Calcutta", "Asia/Shanghai", "Europe/Kiev", "America/Argentina/Buenos_Aires"} <= set(
        zone_names()
    )
