"""What PostgreSQL's connections are busy with, sampled many times: a profile by statement."""

import re
from collections import Counter

import psycopg

MOST_CHARACTERS = 100
_LOOK = """
SELECT query, COALESCE(wait_event_type, 'CPU') FROM pg_stat_activity
WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b|\$\d+")
_COMMENT = re.compile(r"--[^\n]*")


class Busy:
    """How often each statement was seen at work, by its beginning without values, and by what it waited for."""

    def __init__(self) -> None:
        self.looks = 0
        self._seen: Counter[tuple[str, str]] = Counter()

    def look(self, database: psycopg.Connection[tuple[str, str]]) -> None:
        self.looks += 1
        self._seen.update((statement_of(query), waits) for query, waits in database.execute(_LOOK).fetchall())

    def most(self, count: int) -> list[tuple[str, float, float]]:
        """The statements at work most of the time: their text, how many at a time, and how many of those used the CPU."""
        by_statement: Counter[str] = Counter()
        for (statement, _), times in self._seen.items():
            by_statement[statement] += times
        return [
            (statement, times / self.looks, self._seen[statement, "CPU"] / self.looks)
            for statement, times in by_statement.most_common(count)
        ]


def statement_of(query: str) -> str:
    """A statement's beginning, without comments and values."""
    words = " ".join(_LITERAL.sub("…", _COMMENT.sub("", query)).split())
    return words[:MOST_CHARACTERS]
