"""Without DATABASE_REPLICA_URL there is one PostgreSQL server."""

import pytest

from jatevo.web.postgresql.replica import ReadingRouter, is_configured, read, reading_connection

pytestmark = pytest.mark.django_db


def test_without_the_setting_everything_is_read_from_the_primary() -> None:
    assert not is_configured()
    assert read(lambda: reading_connection().alias) == "default"


def test_nothing_is_written_or_migrated_anywhere_but_on_the_primary() -> None:
    router = ReadingRouter()
    assert router.db_for_write(object) == router.db_for_read(object) == "default"
    assert not router.allow_migrate("replica", "receipts")
