"""The audit log is append-only, and an event is committed together with the change that it records."""

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from jatevo.audit.models import AuditEvent
from jatevo.audit.record import SYSTEM, record


def entry() -> AuditEvent:
    with transaction.atomic():
        return record("test.happened", by=SYSTEM, subject_kind="test", subject_id="1", note="kept")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_auditevent SET verb = 'nothing'",
        "UPDATE audit_auditevent SET verb = 'nothing' WHERE false",
        "DELETE FROM audit_auditevent",
        "TRUNCATE audit_auditevent",
    ],
)
def test_postgresql_refuses_to_change_the_past(statement: str) -> None:
    entry()
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert AuditEvent.objects.get().verb == "test.happened"


@pytest.mark.django_db
def test_the_orm_cannot_change_it_either() -> None:
    event = entry()
    event.verb = "nothing"
    for attempt in (event.save, event.delete, AuditEvent.objects.all().delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            attempt()
    assert AuditEvent.objects.get().details == {"note": "kept"}


def test_recording_outside_a_transaction_is_refused(transactional_db: Any) -> None:
    with pytest.raises(RuntimeError, match="transaction"):
        record("test.happened", by=SYSTEM, subject_kind="test", subject_id="1")


def test_a_change_that_fails_leaves_no_record(transactional_db: Any) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record("test.happened", by=SYSTEM, subject_kind="test", subject_id="1")
        raise ZeroDivisionError
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("run", [1, 2])
def test_the_log_is_empty_at_the_start_of_every_transactional_test(transactional_db: Any, run: int) -> None:
    assert not AuditEvent.objects.exists()
    entry()
