"""Arrays that are written in PostgreSQL's binary format mean what the server reads back."""

import json
import struct
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from jatevo.web.postgresql import columns
from jatevo.web.postgresql.columns import Column
from jatevo.web.postgresql.statements import fetch

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(
    st.tuples(TEXTS, st.binary(), st.uuids(), JSONS, FLOATS, st.none() | FLOATS, INTEGERS, st.booleans()),
    max_size=20,
)


def read_back(*given_columns: Column) -> list[tuple[Any, ...]]:
    return fetch("SELECT * FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s) AS t", given_columns)


class TestColumns(TestCase):
    @given(ROWS)
    def test_rows_are_read_as_they_were_written(self, rows: list[tuple[Any, ...]]) -> None:
        text, blob, uuid, value, number, perhaps, integer, boolean = (
            zip(*rows, strict=True) if rows else ((),) * 8
        )
        found = read_back(
            columns.texts(text),
            columns.blobs(blob),
            columns.uuids(uuid),
            columns.jsons([json.dumps(each).encode() for each in value]),
            columns.floats(number),
            columns.floats(perhaps),
            columns.integers(integer),
            columns.booleans(boolean),
        )
        assert [(text, bytes(blob), *rest) for text, blob, *rest in found] == rows


@pytest.mark.django_db
def test_server_knows_the_types() -> None:
    kinds = [columns.texts(["a"]), columns.blobs([b"a"]), columns.uuids([UUID(int=1)]), columns.jsons([b"1"]),
             columns.floats([1.0]), columns.integers([1]), columns.booleans([True])]  # fmt: skip
    with connection.cursor() as cursor:
        for kind in kinds:
            cursor.execute("SELECT oid, typelem FROM pg_type WHERE oid = %s", [kind.ARRAY])
            assert cursor.fetchone() == (kind.ARRAY, kind.ELEMENT)


def test_integers_beyond_64_bits_are_refused() -> None:
    with pytest.raises(struct.error):
        columns.integers([2**63])
