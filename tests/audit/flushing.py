"""Lets the test runner empty the audit log between transactional tests, which the console itself never can.

The trigger is an ordinary one, so that a superuser's session in replication mode passes it by; only the flush
of Django's TransactionTestCase runs in that mode, not the tests.
"""

from collections.abc import Iterable, Iterator

import pytest
from django.db import transaction
from django.db.backends.postgresql.operations import DatabaseOperations


def _execute_sql_flush(self: DatabaseOperations, sql_list: Iterable[str]) -> None:
    with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for sql in sql_list:
            cursor.execute(sql)


@pytest.fixture(autouse=True, scope="session")
def audit_log_is_flushed_between_tests() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "execute_sql_flush", _execute_sql_flush)
        yield
