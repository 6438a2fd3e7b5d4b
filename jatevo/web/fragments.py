"""Answers a URL with the whole page or a part of it, depending on what htmx asks for.

The id of the element that htmx will fill (HX-Target) selects the part. A history restore gets the whole page.
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
    """The partial for the element that htmx will fill. None means the whole page.

    `fragments` maps element ids to names of `{% partialdef %}`s.
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

    A part has an ETag of its content, so that a poll gets a 304 while the content is unchanged.
    """
    fragment = wanted_fragment(request, fragments)
    if fragment is None:
        return _guarded(render(request, template, context, status=status))
    part = render(request, f"{template}#{fragment}", context, status=status)
    if status != 200:
        return _guarded(part)
    part["ETag"] = etag = etag_of(part.content)
    return _guarded(get_conditional_response(request, etag=etag, response=part) or part)


# What differs in every rendering without a change of content: relative times, and masked CSRF tokens.
_ALWAYS_NEW = re.compile(rb"(?<= data-relative>)[^<]*|(?<=name=\"csrfmiddlewaretoken\" value=\")[^\"]*")


def etag_of(rendered: bytes) -> str:
    """An ETag of a part's HTML without relative times and CSRF tokens."""
    return quote_etag(hashlib.sha256(_ALWAYS_NEW.sub(b"", rendered)).hexdigest()[:32])


def _guarded(response: HttpResponse) -> HttpResponse:
    """Sets headers that keep caches from mixing the page with its parts, or pages of different people."""
    patch_vary_headers(response, ["HX-Request", "HX-Target", "Cookie"])
    patch_cache_control(response, private=True, no_cache=True)
    return response
