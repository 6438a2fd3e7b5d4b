"""The feed of incidents: an entry for each, and for each thing that was said in its course."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.syndication.views import Feed
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.feedgenerator import Atom1Feed, Rss201rev2Feed, SyndicationFeed
from django.utils.http import quote_etag

from jatevo.overview.access import may_see_overview
from jatevo.overview.models import Incident, IncidentUpdate

ENTRIES = 50
# When this console began to mint tag: URIs (RFC 4151); it never changes.
_TAG_DATE = "2026-11-24"


@dataclass(frozen=True)
class Entry:
    """`key` is stable: readers know by it what they have seen."""

    key: str
    title: str
    text: str
    link: str
    published: datetime
    updated: datetime


class IncidentFeed(Feed):
    """Atom, for readers and for the systems of partners."""

    feed_type: type[SyndicationFeed] = Atom1Feed
    title = "Jatevo network status"
    subtitle = "Incidents and maintenance of the Jatevo inference network"
    author_name = "Jatevo"

    def __call__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not may_see_overview(request.user):
            raise Http404
        answer = super().__call__(request, *args, **kwargs)
        patch_cache_control(answer, max_age=60)
        etag = quote_etag(hashlib.sha256(answer.content).hexdigest()[:32])
        answer["ETag"] = etag
        return get_conditional_response(request, etag=etag, response=answer) or answer

    def link(self) -> str:
        return f"{settings.BASE_URL}{reverse('overview:status')}"

    def feed_guid(self) -> str:
        return _tag("status")

    def feed_url(self) -> str:
        return f"{settings.BASE_URL}{reverse('overview:status_feed')}"

    def items(self) -> Iterable[Entry]:
        return entries()

    def item_title(self, item: Any) -> str:
        return str(item.title)

    def item_description(self, item: Any) -> str:
        return str(item.text)

    def item_link(self, item: Entry) -> str:
        return item.link

    def item_guid(self, item: Entry) -> str:
        return _tag(item.key)

    def item_pubdate(self, item: Entry) -> datetime:
        return item.published

    def item_updateddate(self, item: Entry) -> datetime:
        return item.updated


class IncidentRss(IncidentFeed):
    """The same as RSS 2.0."""

    feed_type = Rss201rev2Feed
    description = IncidentFeed.subtitle
    item_guid_is_permalink = False

    def feed_url(self) -> str:
        return f"{settings.BASE_URL}{reverse('overview:status_rss')}"


def entries() -> list[Entry]:
    """The latest ENTRIES, incidents and updates together. Two queries."""
    incidents = Incident.objects.order_by("-created_at")[:ENTRIES]
    updates = IncidentUpdate.objects.select_related("incident").order_by("-at", "-id")[:ENTRIES]
    found = [_of_incident(each) for each in incidents] + [_of_update(each) for each in updates]
    return sorted(found, key=lambda entry: entry.published, reverse=True)[:ENTRIES]


def _of_incident(incident: Incident) -> Entry:
    where = incident.region or "the whole network"
    text = f"{incident.get_severity_display()}, {where}. {incident.description}".strip()
    key = f"incident/{incident.pk}"
    return Entry(
        key, _plain(incident.title), _plain(text), _link(incident), incident.created_at, incident.created_at
    )


def _of_update(update: IncidentUpdate) -> Entry:
    title = f"{update.get_state_display()}: {update.incident.title}"
    key = f"update/{update.pk}"
    return Entry(key, _plain(title), _plain(update.text), _link(update.incident), update.at, update.at)


def _plain(text: str) -> str:
    """XML 1.0 has no control characters but tab and line ends."""
    return "".join(char for char in text if char >= " " or char in "\t\n\r")


def _link(incident: Incident) -> str:
    return f"{settings.BASE_URL}{reverse('overview:incident', args=[incident.pk])}"


def _tag(key: str) -> str:
    host = urlsplit(settings.BASE_URL).hostname or "localhost"
    return f"tag:{host},{_TAG_DATE}:{key}"
