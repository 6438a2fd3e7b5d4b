"""The feed is valid, stable and safe, whatever staff write."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.feedgenerator import rfc3339_date
from django.utils.http import http_date
from waffle.models import Switch

from jatevo.accounts.models import Role
from jatevo.overview.incident_actions import change_incident
from jatevo.overview.models import Incident, IncidentUpdate
from tests.accounts.browser import Browser
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
ATOM = "{http://www.w3.org/2005/Atom}"
HOSTILE = '<script>alert(1)</script> & ]]> "quotes" \x0b\ufffe control'


@pytest.fixture
def incident() -> Incident:
    found = Incident.objects.create(title=HOSTILE, description="First & last", region="us-east")
    IncidentUpdate.objects.create(
        incident=found, text=HOSTILE, by="secret@example.org", at=timezone.now() + timedelta(seconds=1)
    )
    return found


def test_the_atom_feed_has_what_rfc_4287_requires(incident: Incident) -> None:
    answer = Browser().get("/status/feed.atom")
    assert answer["Content-Type"].startswith("application/atom+xml")
    root = ElementTree.fromstring(answer.content)  # noqa: S314 - our own
    assert root.tag == f"{ATOM}feed"
    for required in ("id", "title", "updated"):
        assert root.findtext(f"{ATOM}{required}")
    assert root.findtext(f"{ATOM}author/{ATOM}name") == "Jatevo"
    assert any(link.get("rel") == "self" for link in root.iter(f"{ATOM}link"))
    entries = root.findall(f"{ATOM}entry")
    assert len(entries) == 2
    for entry in entries:
        for required in ("id", "title", "updated"):
            assert entry.findtext(f"{ATOM}{required}")
        link = entry.find(f"{ATOM}link")
        assert link is not None
        assert str(link.get("href")).startswith("http://127.0.0.1")
    update, opened = entries
    assert (
        update.findtext(f"{ATOM}title") == 'Investigating: <script>alert(1)</script> & ]]> "quotes"  control'
    )
    # a summary is HTML: what staff wrote must read as text in it
    summary = update.find(f"{ATOM}summary")
    assert summary is not None
    assert (summary.get("type"), summary.text) == (
        "html",
        "<p>&lt;script&gt;alert(1)&lt;/script&gt; &amp; ]]&gt; &quot;quotes&quot;  control</p>",
    )
    assert opened.findtext(f"{ATOM}id").startswith("tag:127.0.0.1,2026-11-24:incident/")  # type: ignore[union-attr]
    assert b"secret@example.org" not in answer.content


def test_ids_stay_and_unchanged_feeds_answer_304(incident: Incident) -> None:
    first = Browser().get("/status/feed.atom")
    assert Browser().get("/status/feed.atom", headers={"If-None-Match": first["ETag"]}).status_code == 304
    Incident.objects.create(title="Another")
    second = Browser().get("/status/feed.atom", headers={"If-None-Match": first["ETag"]})
    assert second.status_code == 200

    def ids(content: bytes) -> set[str]:
        root = ElementTree.fromstring(content)  # noqa: S314
        return {entry.findtext(f"{ATOM}id") or "" for entry in root.findall(f"{ATOM}entry")}

    assert ids(first.content) < ids(second.content)


def test_rss_says_the_same(incident: Incident) -> None:
    root = ElementTree.fromstring(Browser().get("/status/feed.rss").content)  # noqa: S314
    items = root.findall("channel/item")
    assert len(items) == 2
    assert all(item.findtext("guid") and item.findtext("pubDate") and item.findtext("link") for item in items)
    for text in (items[0].findtext("title"), items[0].findtext("description")):
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; ]]&gt;" in str(text)


@pytest.mark.parametrize("path", ["/status/feed.atom", "/status/feed.rss"])
def test_an_empty_feed_is_a_feed_and_unchanged(path: str) -> None:
    answer = Browser().get(path)
    assert answer["Cache-Control"] == "public, max-age=60"
    root = ElementTree.fromstring(answer.content)  # noqa: S314
    assert root.findall(f"{ATOM}entry") == root.findall("channel/item") == []
    assert Browser().get(path, headers={"If-None-Match": answer["ETag"]}).status_code == 304


def test_an_incident_is_updated_when_something_is_said(incident: Incident) -> None:
    said = incident.updates.get()
    answer = Browser().get("/status/feed.atom")
    root = ElementTree.fromstring(answer.content)  # noqa: S314
    opened = root.findall(f"{ATOM}entry")[1]
    assert opened.findtext(f"{ATOM}published") == rfc3339_date(incident.created_at)
    assert opened.findtext(f"{ATOM}updated") == rfc3339_date(said.at)
    assert root.findtext(f"{ATOM}updated") == rfc3339_date(said.at)
    assert answer["Last-Modified"] == http_date(said.at.timestamp())


def test_a_change_of_the_incident_itself_moves_updated_and_last_modified(incident: Incident) -> None:
    """Rescheduled maintenance and corrected titles did not move them."""
    later = timezone.now().replace(microsecond=0) + timedelta(minutes=5)
    incident.title = "Uplink"
    admin = UserFactory.create(role=Role.ADMIN)
    change_incident(incident=incident, fields=["title"], by=admin, at=later)
    answer = Browser().get("/status/feed.atom")
    root = ElementTree.fromstring(answer.content)  # noqa: S314
    opened = root.findall(f"{ATOM}entry")[1]
    assert opened.findtext(f"{ATOM}updated") == root.findtext(f"{ATOM}updated") == rfc3339_date(later)
    assert opened.findtext(f"{ATOM}published") == rfc3339_date(incident.created_at)
    assert answer["Last-Modified"] == http_date(later.timestamp())


def test_incidents_state_their_real_end() -> None:
    start = datetime(2026, 6, 1, 22, tzinfo=UTC)
    Incident.objects.create(
        title="Uplink",
        starts_at=start,
        ends_at=start + timedelta(hours=9),
        resolved_at=start + timedelta(hours=3),
    )
    Incident.objects.create(
        title="Off",
        kind="maintenance",
        starts_at=start,
        ends_at=start + timedelta(hours=4),
        resolved_at=start - timedelta(hours=1),
    )
    feed = Browser().get("/status/feed.atom").content.decode()
    assert "Info, the whole network, from 1 Jun 2026, 22:00 to 2 Jun 2026, 01:00 UTC." in feed
    assert "from 1 Jun 2026, 22:00 to 2 Jun 2026, 02:00 UTC. Cancelled." in feed


def test_maintenance_states_its_times() -> None:
    start = datetime(2030, 6, 1, 22, tzinfo=UTC)
    Incident.objects.create(
        kind="maintenance", title="Switches", starts_at=start, ends_at=start + timedelta(hours=3)
    )
    feed = Browser().get("/status/feed.atom").content.decode()
    assert (
        "Scheduled maintenance, the whole network, from 1 Jun 2030, 22:00 to 2 Jun 2030, 01:00 UTC." in feed
    )


def test_the_addresses_are_those_of_the_console_whatever_host_was_asked(incident: Incident) -> None:
    with override_settings(BASE_URL="https://console.example.org", ALLOWED_HOSTS=["*"]):
        content = Browser().get("/status/feed.atom", headers={"Host": "evil.example.org"}).content.decode()
    assert "evil.example.org" not in content
    assert f"https://console.example.org/status/incidents/{incident.pk}/" in content
    assert f"tag:console.example.org,2026-11-24:incident/{incident.pk}<" in content


def test_the_queries_do_not_grow_with_incidents_or_updates(incident: Incident) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            Browser().get("/status/feed.atom")
        return len(queries)

    count()
    one = count()
    for number in range(8):
        other = Incident.objects.create(title=f"i-{number}")
        IncidentUpdate.objects.create(incident=other, text="more")
    assert count() == one <= 4


def test_while_the_flag_is_off_the_feed_is_for_who_is_signed_in(incident: Incident) -> None:
    Switch.objects.update_or_create(name="allow_anonymous_overview", defaults={"active": False})
    for path in ("/status/feed.atom", "/status/feed.rss"):
        assert Browser().get(path).status_code == 404
    answer = Browser().hold_session(UserFactory.create(role=Role.VIEWER)).get("/status/feed.atom")
    assert answer.status_code == 200
    assert "private" in answer["Cache-Control"]
    assert "Cookie" in answer["Vary"]


def test_the_status_page_announces_its_feeds() -> None:
    page = Browser().get("/status/").content.decode()
    assert 'type="application/atom+xml"' in page
    assert 'href="/status/feed.atom"' in page
