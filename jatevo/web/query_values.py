"""Strict parsing of query values, for /v1, pages and exports.

An invalid value is refused with a reason (`BadValue`). The API answers 422 with the reason; a page shows it
next to the field.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import wraps
from typing import Any, TypeVar

from django.http import QueryDict
from rest_framework.request import Request

from jatevo.web.errors import FieldProblem, invalid_request

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
MOMENT_HELP = "an RFC 3339 time with its offset, a date, or unix seconds, from the years 2000 to 2100"

# RFC 3339 only. Python's parser accepts all of ISO 8601, including week dates and times without an offset.
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_UNIX = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,12}", re.ASCII)
_LONGEST_NAME_SHOWN = 64
_NO_VALUE, _UNKNOWN = "has no value", "unknown parameter"

F = TypeVar("F", bound=Callable[..., Any])


class BadValue(ValueError):
    """The text is not a valid value. The message says what would be."""


@dataclass(frozen=True)
class Moment:
    """An instant (`start` and `end` are equal), or a whole day from `start` until `end`.

    A list "from" a moment begins at `start`. A list "to" it ends before `end`, so that a whole day is
    included.
    """

    start: datetime
    end: datetime


def moment(text: str, *, zone: tzinfo = UTC) -> Moment:
    """RFC 3339 with an offset, a date (a day in `zone`), or unix seconds, from 2000 to 2100.

    Raises BadValue.
    """
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
            start, end = (
                datetime(each.year, each.month, each.day, tzinfo=zone).astimezone(UTC)
                for each in (day, day + timedelta(days=1))
            )
        elif _RFC_3339.fullmatch(text):
            start = end = datetime.fromisoformat(text.upper()).astimezone(UTC)
        elif _UNIX.fullmatch(text):
            start = end = datetime.fromtimestamp(float(text), UTC)
        else:
            raise BadValue(MOMENT_HELP)
    except (ValueError, OverflowError, OSError) as error:
        raise BadValue(MOMENT_HELP) from error
    if not EARLIEST <= start <= LATEST:
        raise BadValue(MOMENT_HELP)
    return Moment(start, end)


def whole_number(text: str, *, least: int, most: int) -> int:
    """A number of digits only, within the limits. Raises BadValue."""
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise BadValue(f"{least} to {most}")
    return int(text)


def strangers(query: QueryDict, known: Collection[str]) -> list[FieldProblem]:
    """The problems with parameter names: unknown parameters, repeated ones, and ones without a value."""
    problems = []
    for name in query:
        if name not in known:
            problems.append(FieldProblem(name[:_LONGEST_NAME_SHOWN], _UNKNOWN))
        elif len(query.getlist(name)) > 1:
            problems.append(FieldProblem(name, "given more than once"))
        elif not query[name]:
            problems.append(FieldProblem(name, _NO_VALUE))
    return problems


def strangers_in_words(query: QueryDict, filters: Collection[str], others: Collection[str] = ()) -> list[str]:
    """The same for a page, as sentences. `others` are its parameters that are no filters.

    A form that is sent without a script sends its empty fields too, which is no problem.
    """
    found = []
    for each in strangers(query, {*filters, *others}):
        if each.message != _NO_VALUE:
            near = get_close_matches(each.field, filters, n=1) if each.message == _UNKNOWN else ()
            found.append(f"{each.field}: {each.message}{f'. Did you mean {near[0]}?' if near else ''}")
    return found


def takes_query(*known: str) -> Callable[[F], F]:
    """Decorates a view of /v1, below `@api_view`: GET and HEAD accept only these parameters, once each.

    Without names the route accepts none. Raises ApiError 422, after the caller's permissions were checked.
    """

    def decorate(view: F) -> F:
        @wraps(view)
        def checked(request: Request, *args: Any, **kwargs: Any) -> Any:
            if request.method in ("GET", "HEAD") and (problems := strangers(request.query_params, known)):
                raise invalid_request("Some parameters are invalid.", problems)
            return view(request, *args, **kwargs)

        return checked  # type: ignore[return-value]

    return decorate
