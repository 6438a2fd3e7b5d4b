"""One URL, the whole page or a part of it: what htmx asks for decides.

The element that htmx will fill (HX-Target) names the part. A history restore is a request for the page.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import get_conditional_response, patch_cache_control, patch_vary_headers
from django.utils.http import quote_etag
from django_htmx.middleware import HtmxDetails


def wanted_fragment(request: HttpRequest, fragments: Mapping[str, str]) -> str | None:
    """The partial for the element that htmx wants to fill; None means the whole page.

    `fragments` maps ids of elements to names of `{% partialdef %}`s.
    """
    htmx = HtmxDetails(request)
    if not htmx or htmx.history_restore_request:
        return None
    return fragments.get(htmx.target or "")


def page_or_fragment(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    *,
    fragments: Mapping[str, str],
    status: int = 200,
) -> HttpResponse:
    """The page, or the part that was asked for.

    A part bears an ETag of what it shows, so that a poll is answered with 304 while nothing of that changes.
    """
    fragment = wanted_fragment(request, fragments)
    if fragment is None:
        return _guarded(render(request, template, context, status=status))
    part = render(request, f"{template}#{fragment}", context, status=status)
    if status != 200:
        return _guarded(part)
    part["ETag"] = etag = etag_of(part.content)
    return _guarded(get_conditional_response(request, etag=etag, response=part) or part)


# What is new in every rendering without being news: words that the page itself keeps fresh, a masked CSRF token.
_ALWAYS_NEW = re.compile(rb"(?<= data-relative>)[^<]*|(?<=name=\"csrfmiddlewaretoken\" value=\")[^\"]*")


def etag_of(rendered: bytes) -> str:
    """An ETag of what a part shows: of its HTML, but for the words of relative times and CSRF tokens."""
    return quote_etag(hashlib.sha256(_ALWAYS_NEW.sub(b"", rendered)).hexdigest()[:32])


def _guarded(response: HttpResponse) -> HttpResponse:
    """Keeps caches from mixing the page with its parts, or one person's with another's."""
    patch_vary_headers(response, ["HX-Request", "HX-Target", "Cookie"])
    patch_cache_control(response, private=True, no_cache=True)
    return response
