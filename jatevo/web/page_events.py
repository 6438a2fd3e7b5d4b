"""What people do on pages, counted on the server by the name of the page (PRD §11).

A count has no person, no address and nothing of what was looked at. Browsers that ask not to be tracked (Global Privacy
Control, Do Not Track) are not counted. Nor is a page that refreshes itself.
"""

from enum import StrEnum
from typing import Final

from django.http import HttpRequest, HttpResponse
from django_htmx.middleware import HtmxDetails

from jatevo.telemetry import metrics


class PageEvent(StrEnum):
    VIEW_OVERVIEW = "view_overview"
    FILTER_NODES = "filter_nodes"
    OPEN_NODE_DETAIL = "open_node_detail"
    VIEW_RECEIPT = "view_receipt"
    EXPORT_CSV = "export_csv"
    GENERATE_AGENT_YAML = "generate_agent_yaml"


DRAWER: Final = "drawer-body"
NODES_PAGE: Final = "nodes-page"

_OPENED: Final = {
    "overview:home": PageEvent.VIEW_OVERVIEW,
    "nodes:detail": PageEvent.OPEN_NODE_DETAIL,
    "receipts:detail": PageEvent.VIEW_RECEIPT,
    "onboarding:config": PageEvent.GENERATE_AGENT_YAML,
    "onboarding:node_config": PageEvent.GENERATE_AGENT_YAML,
}
NODE_FILTERS: Final = ("q", "status", "reachable", "region", "runtime", "reputation_range", "mine")

metrics.expect(events=tuple(PageEvent))


def count_event(request: HttpRequest, response: HttpResponse) -> None:
    """Counts what the request did, if it is one of the events."""
    match = request.resolver_match
    if match is None or request.method != "GET" or response.status_code != 200:
        return
    event = _event(request, response, match.view_name)
    if event is not None and not _asks_for_privacy(request):
        metrics.happened(event)


def _event(request: HttpRequest, response: HttpResponse, view: str) -> PageEvent | None:
    if response.get("Content-Type", "").startswith("text/csv"):
        return PageEvent.EXPORT_CSV
    if view in _OPENED:
        return _OPENED[view] if _is_opened(request, DRAWER) else None
    if view == "nodes:list" and "page" not in request.GET and _is_opened(request, NODES_PAGE):
        return PageEvent.FILTER_NODES if any(map(request.GET.get, NODE_FILTERS)) else None
    return None


def _is_opened(request: HttpRequest, target: str) -> bool:
    """Whether a person asked for it, as a page or into `target`. Parts that refresh themselves have other targets."""
    htmx = HtmxDetails(request)
    return not htmx or (htmx.target == target and not htmx.history_restore_request)


def _asks_for_privacy(request: HttpRequest) -> bool:
    return request.headers.get("Sec-GPC") == "1" or request.headers.get("DNT") == "1"
