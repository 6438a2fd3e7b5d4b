"""The interface of a connection to ClickHouse, and its errors."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from jatevo.metrics.cluster import Cluster

Scalar = str | int | float | bool | datetime
Param = Scalar | Sequence[Scalar]
Cell = Scalar | Decimal | UUID | None
Row = tuple[Any, ...]


class MetricsError(Exception):
    """Any error between the console and ClickHouse."""


class MetricsUnavailable(MetricsError):
    """ClickHouse cannot answer now: it is down, hung, overloaded or not migrated. A retry may help."""


class CircuitOpen(MetricsUnavailable):
    """ClickHouse failed repeatedly a moment ago, so it was not asked."""


class QueryRefused(MetricsError):
    """ClickHouse or its client has read the statement and refused it. A retry will not help.

    `code` is ClickHouse's error code.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    @property
    def about_rows(self) -> bool:
        """Whether the inserted values are at fault, rather than the statement."""
        return self.code in ROW_CODES


# Numbers from ClickHouse's src/Common/ErrorCodes.cpp. Their meaning has not changed since 18.16.
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
# Refusals that end when the server is repaired, has free resources or is migrated.
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
        279,  # ALL_CONNECTION_TRIES_FAILED: a shard of the cluster
        394,  # QUERY_WAS_CANCELLED
        516,  # AUTHENTICATION_FAILED
    }
)


def refusal(code: int, message: str) -> MetricsError:
    """The error to raise for an error of ClickHouse with this code. Keeps only the message's first line."""
    line = message.split("Stack trace:", 1)[0].strip()[:500]
    if code in UNAVAILABLE_CODES:
        return MetricsUnavailable(line)
    return QueryRefused(line, code)


class Transport(Protocol):
    """One way to run SQL on ClickHouse. Safe to share between threads.

    Every method raises MetricsUnavailable or QueryRefused. If ClickHouse hangs, it does so within
    CLICKHOUSE_TIMEOUT_SECONDS.

    A value in a row has its column's declared type, so a Float64 is always a float. A number is an int, float
    or Decimal, a time an aware UTC datetime, a day a date, a UUID a str, an array a list, a tuple a tuple.
    NULL, NaN and infinities are None. A result column that is a DateTime without a time zone is refused,
    because servers interpret it differently.
    """

    @property
    def cluster(self) -> "Cluster | None":
        """The cluster on which the tables are. None for one server."""

    def execute(self, sql: str, params: Mapping[str, Param] | None = None) -> list[Row]:
        """The rows of one statement. `{name}` in it is replaced by the quoted parameter (see quoting.py)."""

    def execute_on_each(self, sql: str, params: Mapping[str, Param] | None = None) -> None:
        """Runs a statement on every server of the cluster. Tables in it are named by `cluster.target`.

        It may have been run on some of them when it raises, and a server that is away may run it later.
        """

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Appends rows, whose cells are in the order of `columns`. It is not atomic.

        A DateTime may be given as whole unix seconds, which is faster, and a UUID as str. None is only for
        Nullable columns. In other columns of numbers, a server refuses it and chDB stores 0.
        """

    def create_database(self) -> None:
        """Creates the database of the tables if it does not exist."""

    def ping(self) -> None:
        """Returns if ClickHouse answers."""

    def close(self) -> None:
        """Closes files and sockets. The next call opens them again."""
