"""Quotes values for SQL, for both transports. ClickHouse 18.16 has no server-side parameters."""

import math
import re
from collections.abc import Mapping
from datetime import datetime

from jatevo.metrics.transport import Param

_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
# https://clickhouse.com/docs/sql-reference/syntax#string : quote and backslash end or extend a literal. The
# others would be safe, but escaping them keeps a statement on one line of the log.
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def bind(sql: str, params: Mapping[str, Param] | None = None) -> str:
    """`sql` with each `{name}` replaced by its quoted parameter.

    Raises KeyError for a placeholder without a parameter, ValueError for a parameter without a placeholder.
    """
    values = params or {}
    used: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        used.add(match[1])
        return quote(values[match[1]])

    bound = _PLACEHOLDER.sub(replace, sql)
    if unused := values.keys() - used:
        raise ValueError(f"parameters that the statement does not name: {', '.join(sorted(unused))}")
    return bound


def quote(value: Param) -> str:
    """The value as a SQL literal. A list or tuple becomes a list in parentheses, for IN.

    Raises TypeError for other types, and ValueError for values without a literal.
    """
    if isinstance(value, (list, tuple)):
        if not value:
            raise ValueError("an empty list has no SQL literal; answer without a query")
        return f"({', '.join(_scalar(item) for item in value)})"
    return _scalar(value)


def identifier(name: str) -> str:
    """`name`, if it can stand unquoted as a table or column. Raises ValueError."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"not a table or column name: {name!r}")
    return name


def _scalar(value: object) -> str:
    match value:
        case bool() | int():
            return str(int(value))
        case float():
            if not math.isfinite(value):
                raise ValueError("only finite numbers can be parameters")
            return repr(value)
        case str():
            value.encode()  # a lone surrogate has no UTF-8
            return f"'{value.translate(_ESCAPES)}'"
        case datetime():
            if value.tzinfo is None:
                raise ValueError("a parameter's time must have a time zone")
            # From unix seconds, because the server would read a text in its own time zone.
            return f"toDateTime({int(value.timestamp())})"
    raise TypeError(f"not a parameter: {type(value).__name__}")
