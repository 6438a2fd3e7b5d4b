"""The feed of incidents, with an entry for each incident and each update."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.syndication.views import Feed
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.cache import get_conditional_response, patch_cache_control, patch_vary_headers
from django.utils.feedgenerator import Atom1Feed, Rss201rev2Feed, SyndicationFeed
from django.utils.html import escape, linebreaks
from django.utils.http import quote_etag

from jatevo.flags.registry import Flag, enabled
from jatevo.overview.access import may_see_overview
from jatevo.overview.models import Incident, IncidentKind, IncidentUpdate

ENTRIES = 50
CACHED_SECONDS = 60
# The date in the console's tag: URIs (RFC 4151). It must never change.
_TAG_DATE = "2026-11-24"
# Characters that XML 1.0 does not allow (production 2, Char).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Entry:
    """`key` is stable, so that feed readers recognise the entry. `title` and `text` are plain text."""

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
        found = entries()
        version = repr((self.feed_type.__name__, settings.BASE_URL, found))
        etag = quote_etag(hashlib.sha256(version.encode()).hexdigest()[:32])
        unchanged = get_conditional_response(request, etag=etag)
        answer = unchanged or super().__call__(request, *args, found=found, **kwargs)
        answer["ETag"] = etag
        patch_vary_headers(answer, ["Cookie"])
        if enabled(Flag.ALLOW_ANONYMOUS_OVERVIEW):
            patch_cache_control(answer, public=True, max_age=CACHED_SECONDS)
        else:
            patch_cache_control(answer, private=True, no_cache=True)
        return answer

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return kwargs["found"]

    def items(self, found: Sequence[Entry]) -> Sequence[Entry]:
        return found

    def link(self) -> str:
        return f"{settings.BASE_URL}{reverse('overview:status')}"

    def feed_guid(self) -> str:
        return _tag("status")

    def feed_url(self) -> str:
        return f"{settings.BASE_URL}{reverse('overview:status_feed')}"

    def item_title(self, item: Any) -> str:
        """Atom's titles are plain text."""
        return str(item.title)

    def item_description(self, item: Any) -> str:
        """HTML in both formats, so text by staff is escaped."""
        return linebreaks(item.text, autoescape=True)

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

    def item_title(self, item: Any) -> str:
        """Escaped, because many readers treat RSS titles as HTML."""
        return escape(item.title)

    def feed_url(self) -> str:
        return f"{settings.BASE_URL}{reverse('overview:status_rss')}"


def entries() -> list[Entry]:
    """The latest ENTRIES, incidents and updates together. Three queries."""
    incidents = Incident.objects.order_by("-created_at")[:ENTRIES].prefetch_related("updates")
    updates = IncidentUpdate.objects.select_related("incident").order_by("-at", "-id")[:ENTRIES]
    found = [_of_incident(each) for each in incidents] + [_of_update(each) for each in updates]
    return sorted(found, key=lambda entry: (entry.published, entry.key), reverse=True)[:ENTRIES]


def _of_incident(incident: Incident) -> Entry:
    return Entry(
        key=f"incident/{incident.pk}",
        title=_xml(incident.title),
        text=_xml(f"{_facts(incident)}\n\n{incident.description}".strip()),
        link=_link(incident),
        published=incident.created_at,
        updated=max(
            [incident.created_at, incident.changed_at, *(each.at for each in incident.updates.all())]
        ),
    )


def _of_update(update: IncidentUpdate) -> Entry:
    return Entry(
        key=f"update/{update.pk}",
        title=_xml(f"{update.get_state_display()}: {update.incident.title}"),
        text=_xml(update.text),
        link=_link(update.incident),
        published=update.at,
        updated=update.at,
    )


def _facts(incident: Incident) -> str:
    """What, where and when, in a sentence."""
    maintenance = incident.kind == IncidentKind.MAINTENANCE
    what = "Scheduled maintenance" if maintenance else incident.get_severity_display()
    ends_at = incident.ends_at if incident.called_off else incident.ended_at or incident.ends_at
    end = f" to {ends_at:%-d %b %Y, %H:%M}" if ends_at else ""
    off = " Cancelled." if incident.called_off else ""
    return (
        f"{what}, {incident.region or 'the whole network'},"
        f" from {incident.starts_at:%-d %b %Y, %H:%M}{end} UTC.{off}"
    )


def _xml(text: str) -> str:
    """The text without characters that XML does not allow."""
    return _NOT_XML.sub("", text)


def _link(incident: Incident) -> str:
    return f"{settings.BASE_URL}{reverse('overview:incident', args=[incident.pk])}"


def _tag(key: str) -> str:
    host = urlsplit(settings.BASE_URL).hostname or "localhost"
    return f"tag:{host},{_TAG_DATE}:{key}"
