"""One URL, the whole page or a part of it: what htmx asks for decides.

The element that htmx will fill (HX-Target) names the part. A history restore is a request for the page.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
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
    version: object = None,
    status: int = 200,
) -> HttpResponse:
    """The page, or the part that was asked for.

    `version` stands for all that a fragment shows; while it stays the same, a poll is answered with 304.
    """
    fragment = wanted_fragment(request, fragments)
    etag = None
    if fragment is not None and version is not None:
        digest = hashlib.sha256(
            repr((template, fragment, version, timezone.get_current_timezone_name())).encode()
        ).hexdigest()
        etag = quote_etag(digest[:32])
        unchanged = get_conditional_response(request, etag=etag)
        if unchanged is not None and unchanged.status_code == 304:
            return _guarded(unchanged, etag)
    name = template if fragment is None else f"{template}#{fragment}"
    return _guarded(render(request, name, context, status=status), etag)


def _guarded(response: HttpResponse, etag: str | None) -> HttpResponse:
    """Keeps caches from mixing the page with its parts, or one person's with another's."""
    if etag:
        response["ETag"] = etag
    patch_vary_headers(response, ["HX-Request", "HX-Target", "Cookie"])
    patch_cache_control(response, private=True, no_cache=True)
    return response
