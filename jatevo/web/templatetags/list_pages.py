"""Links to the other pages of a list."""

from typing import Any

from django import template
from django.core.paginator import Page
from django.http import QueryDict


def pagination(
    context: template.Context, page: Page[Any], target: str = "", query: QueryDict | None = None
) -> dict[str, Any]:
    """`{% pagination page_obj %}`: numbered pages of a Paginator, in `?page=`; other parameters are kept.

    The other parameters are those of the request, or of `query` if the page passes one.
    """
    request = context["request"]
    asked = request.GET if query is None else query
    numbered = page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    return {
        "page": page,
        "links": [(number, _page_url(request.path, asked, number)) for number in numbered],
        "previous_url": _page_url(request.path, asked, page.previous_page_number())
        if page.has_previous()
        else "",
        "next_url": _page_url(request.path, asked, page.next_page_number()) if page.has_next() else "",
        "target": target,
    }


def _page_url(path: str, query: QueryDict, number: int | str) -> str:
    """The URL of that page of the list. The first page has no number."""
    asked = query.copy()
    asked.pop("page", None)
    if number != 1:
        asked["page"] = str(number)
    return f"{path}?{asked.urlencode(safe=',')}" if asked else path


def cursor_pagination(
    context: template.Context, next_cursor: str | None, target: str = "", previous: str | None = None
) -> dict[str, Any]:
    """`{% cursor_pagination page.next %}`: onward by `?cursor=`, and back to the first page.

    With `previous=page.previous` also back by `?before=`.
    """
    request = context.get("request")
    onward = bool(request is not None and (request.GET.get("cursor") or request.GET.get("before")))
    return {
        "next_cursor": next_cursor,
        "previous_cursor": previous,
        "onward": onward,
        "target": target,
        "request": request,
    }
