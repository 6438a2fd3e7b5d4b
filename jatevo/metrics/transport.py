"""The interface of a connection to ClickHouse, and its errors."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

Scalar = str | int | float | bool | datetime
Param = Scalar | Sequence[Scalar]
Cell = Scalar | UUID | None
Row = tuple[Any, ...]


class MetricsError(Exception):
    """Any error between the console and ClickHouse."""


class MetricsUnavailable(MetricsError):
    """ClickHouse cannot answer now: down, hung, overloaded, not migrated. Trying later may help."""


class CircuitOpen(MetricsUnavailable):
    """ClickHouse failed repeatedly a moment ago, so it was not asked."""


class QueryRefused(MetricsError):
    """ClickHouse, or the client on its behalf, read the statement and refused it. Trying later won't help.

    `code` is ClickHouse's error code.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    @property
    def about_rows(self) -> bool:
        """Whether the inserted values are at fault, rather than the statement."""
        return self.code in ROW_CODES


# Numbers from ClickHouse's src/Common/ErrorCodes.cpp; they have kept their meaning since 18.16.
TYPE_MISMATCH = 53
ROW_CODES = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        TYPE_MISMATCH,
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        131,  # TOO_LARGE_STRING_SIZE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        376,  # CANNOT_PARSE_UUID
    }
)
# Refusals that pass once the server has been mended, freed or migrated.
UNAVAILABLE_CODES = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE
        16,  # NO_SUCH_COLUMN_IN_TABLE: not migrated yet
        60,  # UNKNOWN_TABLE: not migrated yet
        81,  # UNKNOWN_DATABASE: likewise
        159,  # TIMEOUT_EXCEEDED
        160,  # TOO_SLOW
        164,  # READONLY
        192,  # UNKNOWN_USER
        193,  # WRONG_PASSWORD
        194,  # REQUIRED_PASSWORD
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        236,  # ABORTED
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        394,  # QUERY_WAS_CANCELLED
        516,  # AUTHENTICATION_FAILED
    }
)


def refusal(code: int, message: str) -> MetricsError:
    """The error to raise for an answer of ClickHouse with this code; only the message's first line stays."""
    line = message.split("Stack trace:", 1)[0].strip()[:500]
    if code in UNAVAILABLE_CODES:
        return MetricsUnavailable(line)
    return QueryRefused(line, code)


class Transport(Protocol):
    """One way to run SQL on ClickHouse. Safe to share between threads.

    Every method raises MetricsUnavailable or QueryRefused, within CLICKHOUSE_TIMEOUT_SECONDS of a hang. Rows
    hold values of their columns' declared types: a Float64 is a float also where it is whole. A number is an
    int, float or Decimal, a time an aware UTC datetime, a day a date, a UUID a str, an array a list, a tuple
    a tuple; NULL, NaN and infinities are None. A result column that is a DateTime without a time zone is
    refused, because servers disagree on what it means.
    """

    def execute(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        """The rows of one statement; `{name}` in it stands for the quoted parameter (see quoting.py)."""

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Appends rows, whose cells are in the order of `columns`. All or nothing is not promised.

        A DateTime may be given as whole unix seconds, which is faster; a UUID as str. None is for Nullable
        columns: a number that is None elsewhere is refused by a server and a 0 in chDB.
        """

    def create_database(self) -> None:
        """Makes the database that the tables live in, if there is none."""

    def ping(self) -> None:
        """Returns if ClickHouse answers."""

    def close(self) -> None:
        """Gives back files and sockets; the next call opens them anew."""
