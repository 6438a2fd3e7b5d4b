"""chDB is refused where several processes would open it."""

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
