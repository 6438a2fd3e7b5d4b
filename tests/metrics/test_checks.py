"""Invalid settings are refused at the start."""

import pytest
from django.core.checks import run_checks
from pytest_django import Settings


@pytest.mark.parametrize(
    ("url", "embedded", "refused"),
    [("", False, True), ("", True, False), ("clickhouse://db:9000/jatevo", False, False)],
)
def test_services_need_a_clickhouse_server(
    settings: Settings, url: str, embedded: bool, refused: bool
) -> None:
    settings.CLICKHOUSE_URL = url
    settings.EMBEDDED = embedded
    assert ("metrics.E001" in {found.id for found in run_checks()}) == refused


@pytest.mark.parametrize(
    ("kept", "days", "refused"),
    [
        ("receipts", 179, True),
        ("receipts", 180, False),
        ("reputation", 14, True),
        ("rollups", 89, True),
        ("raw_minutes", 9, False),
    ],
)
def test_nothing_that_is_needed_may_be_forgotten(
    settings: Settings, kept: str, days: int, refused: bool
) -> None:
    settings.RETENTION_DAYS = {**settings.RETENTION_DAYS, kept: days}
    found = [check for check in run_checks() if check.id == "metrics.E002"]
    assert bool(found) == refused
    assert all(f"JATEVO_KEEP_{kept.upper()}_DAYS" in (check.hint or "") for check in found)
