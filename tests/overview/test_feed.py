"""The feed is valid, stable and safe to read, whatever staff write."""

from datetime import timedelta
from xml.etree import ElementTree

import pytest
from django.utils import timezone
from waffle.models import Switch

from jatevo.overview.models import Incident, IncidentUpdate
from tests.accounts.browser import Browser

pytestmark = pytest.mark.django_db
ATOM = "{http://www.w3.org/2005/Atom}"
HOSTILE = '<script>alert(1)</script> & ]]> "quotes" \x0b control'


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


def test_an_empty_feed_is_a_feed() -> None:
    root = ElementTree.fromstring(Browser().get("/status/feed.atom").content)  # noqa: S314
    assert root.findall(f"{ATOM}entry") == []


def test_while_the_flag_is_off_there_is_no_feed() -> None:
    Switch.objects.update_or_create(name="allow_anonymous_overview", defaults={"active": False})
    assert Browser().get("/status/feed.atom").status_code == 404


def test_the_status_page_announces_its_feeds() -> None:
    page = Browser().get("/status/").content.decode()
    assert 'type="application/atom+xml"' in page
    assert 'href="/status/feed.atom"' in page
