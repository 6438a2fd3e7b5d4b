"""Queries of PostgreSQL that are given up after a while, so that the page can do something else."""

from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, transaction
from psycopg.errors import QueryCanceled

from jatevo.web.postgresql.replica import reading_connection

T = TypeVar("T")


def in_time(work: Callable[[], T], *, seconds: float) -> T | None:
    """The result, or None if one of its queries takes longer. A page's other queries still have their time."""
    try:
        server = reading_connection()
        with transaction.atomic(using=server.alias), server.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{round(seconds * 1000)}ms"])
            result = work()
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")
            return result
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            return None
        raise
