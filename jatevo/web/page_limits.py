"""Rate limits of pages and exports, by person, and by address for visitors.

They are generous, since open pages refresh every few seconds. Static files, the API and load balancers'
probes do not count.
"""

from collections.abc import Callable

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse

from jatevo.web.address import client_network
from jatevo.web.errors import ApiError
from jatevo.web.front_door import is_api, refusal
from jatevo.web.throttling import hit

UNCOUNTED = frozenset({"/healthz", "/readyz", "/metrics"})


class PageLimitMiddleware:
    """Answers 429 as a page or as a fragment for htmx.

    Must come after the middleware that sets the person.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_api(request) and request.path_info not in UNCOUNTED:
            try:
                hit("pages", *_who(request))
            except ApiError as error:
                return refusal(request, error)
        return self.get_response(request)


def count_export(request: HttpRequest) -> None:
    """Counts one export of this person or address. Raises ApiError 429."""
    hit("exports", *_who(request))


def _who(request: HttpRequest) -> tuple[str, str]:
    try:
        user = request.user
        if user.is_authenticated:
            return "person", str(user.pk)
    except DatabaseError:
        pass  # the person is unknown while PostgreSQL does not answer
    return "address", client_network(request)
