"""Rows for one statement, column by column: `FROM unnest(%(ids)s, %(names)s) AS t (id, name)`.

Each function makes an array in PostgreSQL's binary format, which the server reads several times faster than JSON, and
which takes psycopg's own arrays longer to write than all else in such a statement takes. All columns of a statement have
the same length. See `array_recv` and the `…_recv` functions of the types in PostgreSQL's sources.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import ClassVar, Final
from uuid import UUID

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format


@dataclass(frozen=True, slots=True)
class Column:
    """An array as the server receives it. Its subclasses are the types of elements."""

    data: bytes

    ARRAY: ClassVar[int]  # as in pg_type.oid
    ELEMENT: ClassVar[int]


class Texts(Column):
    ARRAY, ELEMENT = 1009, 25


class Blobs(Column):
    ARRAY, ELEMENT = 1001, 17


class Uuids(Column):
    ARRAY, ELEMENT = 2951, 2950


class Jsons(Column):
    ARRAY, ELEMENT = 3807, 3802


class Floats(Column):
    ARRAY, ELEMENT = 1022, 701


class Integers(Column):
    ARRAY, ELEMENT = 1016, 20


class Booleans(Column):
    ARRAY, ELEMENT = 1000, 16


def texts(values: Iterable[str]) -> Texts:
    """A `text[]`. The values must not hold U+0000 or lone surrogates."""
    return Texts(_of_any_size(Texts, [value.encode() for value in values]))


def blobs(values: Sequence[bytes]) -> Blobs:
    """A `bytea[]`."""
    return Blobs(_of_any_size(Blobs, values))


def uuids(values: Iterable[UUID]) -> Uuids:
    """A `uuid[]`."""
    return Uuids(_of_any_size(Uuids, [value.bytes for value in values]))


def jsons(values: Iterable[bytes]) -> Jsons:
    """A `jsonb[]` of JSON texts."""
    return Jsons(_of_any_size(Jsons, [_JSONB_VERSION + value for value in values]))


def floats(values: Sequence[float | None]) -> Floats:
    """A `float8[]`."""
    return Floats(_of_size(Floats, "d", values))


def integers(values: Sequence[int]) -> Integers:
    """A `bigint[]`. Raises struct.error beyond 64 bits."""
    return Integers(_of_size(Integers, "q", values))


def booleans(values: Sequence[bool]) -> Booleans:
    """A `boolean[]`."""
    return Booleans(_of_size(Booleans, "?", values))


_HEAD: Final = struct.Struct("!iiIii")  # dimensions, whether it has NULLs, type, length, lowest index
_LENGTH: Final = struct.Struct("!i")
_NULL: Final = _LENGTH.pack(-1)
_JSONB_VERSION: Final = b"\x01"


def _head(kind: type[Column], length: int, *, has_nulls: bool = False) -> bytes:
    return _HEAD.pack(1, has_nulls, kind.ELEMENT, length, 1)


def _of_any_size(kind: type[Column], values: Sequence[bytes]) -> bytes:
    pack = _LENGTH.pack
    parts = [_head(kind, len(values))]
    for value in values:
        parts.append(pack(len(value)))
        parts.append(value)
    return b"".join(parts)


def _of_size(kind: type[Column], code: str, values: Sequence[float | None]) -> bytes:
    size = struct.calcsize("!" + code)
    if None in values:
        one = struct.Struct("!i" + code)
        parts = (_NULL if value is None else one.pack(size, value) for value in values)
        return _head(kind, len(values), has_nulls=True) + b"".join(parts)
    packed = struct.pack(f"!{('i' + code) * len(values)}", *chain.from_iterable(zip(repeat(size), values)))
    return _head(kind, len(values)) + packed


class _ColumnDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Column) -> bytes:
        return obj.data


for _kind in (Texts, Blobs, Uuids, Jsons, Floats, Integers, Booleans):
    psycopg.adapters.register_dumper(
        _kind, type(f"{_kind.__name__}Dumper", (_ColumnDumper,), {"oid": _kind.ARRAY})
    )
