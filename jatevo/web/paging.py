"""Keyset pagination: a page starts where the last one ended, even if rows were added in between."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import orjson
from django.core.exceptions import ValidationError
from django.db.models import DateTimeField, Field, Model, Q, QuerySet

from jatevo.web.errors import FieldProblem, invalid_request
from jatevo.web.query_values import BadValue, whole_number

M = TypeVar("M", bound=Model)
R = TypeVar("R")
DEFAULT_LIMIT = 25
MAX_LIMIT = 200


@dataclass(frozen=True)
class KeysetPage(Generic[M]):
    """Up to `limit` rows, and the cursor of the next page (None on the last).

    `previous` is the cursor for `page_before`, None on the first page.
    """

    rows: list[M]
    next: str | None
    previous: str | None = None


def keyset_page(
    queryset: QuerySet[M], *, cursor: str | None, limit: int, fields: Sequence[str]
) -> KeysetPage[M]:
    """One page, ordered by the fields, which are all ascending or all descending ("-field") and unique
    together.

    A field may be an annotation of the queryset. Raises ApiError 422 for an invalid cursor.
    """
    names = [field.removeprefix("-") for field in fields]
    rows, more = _read(queryset, cursor, limit, fields, names)
    return KeysetPage(
        rows,
        next=_cursor_of(rows[-1], names) if more else None,
        previous=_cursor_of(rows[0], names) if rows and cursor else None,
    )


def page_before(queryset: QuerySet[M], *, cursor: str, limit: int, fields: Sequence[str]) -> KeysetPage[M]:
    """The page that ends before the row of the cursor, which is `previous` of the page after it. Else like
    `keyset_page`.
    """
    names = [field.removeprefix("-") for field in fields]
    backwards = [
        name if field.startswith("-") else f"-{name}" for field, name in zip(fields, names, strict=True)
    ]
    rows, more = _read(queryset, cursor, limit, backwards, names)
    rows.reverse()
    return KeysetPage(
        rows,
        next=_cursor_of(rows[-1], names) if rows else None,
        previous=_cursor_of(rows[0], names) if more else None,
    )


@dataclass(frozen=True)
class GroupPage:
    """Up to `limit` groups as dictionaries, and the cursor of the next page (None on the last)."""

    rows: list[dict[str, Any]]
    next: str | None


def group_page(
    queryset: QuerySet[Any, dict[str, Any]], *, cursor: str | None, limit: int, fields: Sequence[str]
) -> GroupPage:
    """`keyset_page` for a query with `values()` and aggregates. The fields are what it groups by."""
    names = [field.removeprefix("-") for field in fields]
    rows, more = _read(queryset, cursor, limit, fields, names)
    return GroupPage(rows, _encode([rows[-1][name] for name in names]) if more else None)


def _read(
    queryset: QuerySet[Any, R], cursor: str | None, limit: int, fields: Sequence[str], names: Sequence[str]
) -> tuple[list[R], bool]:
    """The rows, and whether there are more."""
    queryset = queryset.order_by(*fields)
    if cursor:
        values = cursor_keys(queryset, cursor, names)
        queryset = queryset.filter(_beyond(names, values, descending=fields[0].startswith("-")))
    rows = list(queryset[: limit + 1])
    return rows[:limit], len(rows) > limit


def parse_limit(text: str | None) -> int:
    """The `limit` parameter: 1 to 200, 25 by default. Raises ApiError 422."""
    if not text:
        return DEFAULT_LIMIT
    try:
        return whole_number(text, least=1, most=MAX_LIMIT)
    except BadValue as error:
        raise invalid_request("Some parameters are invalid.", [FieldProblem("limit", str(error))]) from error


def _beyond(names: Sequence[str], values: Sequence[Any], descending: bool) -> Q:
    comparison = "lt" if descending else "gt"
    beyond = Q()
    for position, name in enumerate(names):
        equal = {names[before]: values[before] for before in range(position)}
        beyond |= Q(**equal, **{f"{name}__{comparison}": values[position]})
    # the redundant outer bound lets PostgreSQL start within the index and skip partitions
    return Q(**{f"{names[0]}__{comparison}e": values[0]}) & beyond


def _cursor_of(row: Model, names: Sequence[str]) -> str:
    return _encode([getattr(row, name) for name in names])


def _encode(values: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def cursor_keys(queryset: QuerySet[Any, Any], cursor: str, names: Sequence[str]) -> list[Any]:
    """The keys of the last row before the page, in the order of `names`. Raises ApiError 422."""
    refused = invalid_request(
        "Some parameters are invalid.", [FieldProblem("cursor", "is not a valid cursor")]
    )
    try:
        values = orjson.loads(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        )
        if not isinstance(values, list):
            raise ValueError("no list of keys")
        decoded = [_typed(queryset, name, value) for name, value in zip(names, values, strict=True)]
        # to_python is lenient (true, "1" and 1.5 become 1), so a value must also encode to the same text
        if orjson.dumps(decoded) != orjson.dumps(values):
            raise ValueError("keys of other types")
    # Django's ValidationError is not a ValueError; an infinite float overflows
    except (ValidationError, TypeError, ValueError, OverflowError) as error:
        raise refused from error
    return decoded


def _typed(queryset: QuerySet[Any, Any], name: str, value: Any) -> Any:
    """The value with the column's type, within its limits.

    Raises ValidationError, TypeError or ValueError.
    """
    annotation = queryset.query.annotations.get(name)
    field = queryset.model._meta.get_field(name) if annotation is None else annotation.output_field
    if not isinstance(field, Field):
        raise ValueError("no column")
    if isinstance(field, DateTimeField):
        at = datetime.fromisoformat(value)
        if at.utcoffset() != timedelta(0):
            raise ValueError("not UTC")
        return at
    if not isinstance(value, (str, int, float)) or (isinstance(value, str) and "\x00" in value):
        raise ValueError("no key of a row")
    typed = field.to_python(value)
    field.run_validators(typed)
    return typed
