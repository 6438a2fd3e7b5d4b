"""Sessions of PostgreSQL for one test."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from jatevo.web.postgresql.base import close_pools
from jatevo.web.postgresql.budgets import Work, working


@contextmanager
def session(work: Work) -> Iterator[None]:
    """A session that nothing used before, and that nothing uses afterwards."""
    _close()
    with working(work):
        yield
        _close()


def _close() -> None:
    connection.close()
    close_pools()
