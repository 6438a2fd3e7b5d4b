"""Stores are waited for longer than in production, because tests keep the machine busy.

The console's limits (docs/decisions/0009-every-store-has-a-budget.md) tell a store that hangs from one that works. On a
machine with more tests than processors a store that works may exceed them, and tests that are about something else
would fail by chance. Tests about the limits choose short ones themselves, or use `patience_of_production`. Consoles
that tests start as programs of their own have production's.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.conf import settings

from jatevo.metrics import patience
from jatevo.web import health, middleware
from jatevo.web.postgresql import connections
from jatevo.web.postgresql.budgets import INGEST, PAGE, READINESS, Work

SECONDS = 50.0  # less than a test has
CLICKHOUSE_SECONDS = 6.0  # after which chDB ends a query, for which one test waits
_WAIT_FOR_CLICKHOUSE_SECONDS = patience.WAIT_SECONDS


def _patient(work: Work) -> Work:
    return replace(
        work, statement_seconds=SECONDS, lock_seconds=SECONDS, total_seconds=SECONDS, pool_seconds=SECONDS
    )


@pytest.fixture(scope="session", autouse=True)
def patient_with_stores() -> Iterator[None]:
    redis = settings.CACHES["default"]["OPTIONS"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(middleware, "INGEST", _patient(INGEST))
        patch.setattr(middleware, "PAGE", _patient(PAGE))
        patch.setattr(health, "READINESS", _patient(READINESS))
        patch.setattr(connections, "CHECK_SECONDS", SECONDS)
        patch.setattr(patience, "WAIT_SECONDS", SECONDS)
        patch.setattr(settings, "REDIS_TIMEOUT_SECONDS", SECONDS)
        patch.setattr(settings, "CLICKHOUSE_TIMEOUT_SECONDS", CLICKHOUSE_SECONDS)
        patch.setitem(redis, "SOCKET_CONNECT_TIMEOUT", SECONDS)
        patch.setitem(redis, "SOCKET_TIMEOUT", SECONDS)
        yield


@pytest.fixture
def patience_of_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page waits for ClickHouse as long as in production."""
    monkeypatch.setattr(patience, "WAIT_SECONDS", _WAIT_FOR_CLICKHOUSE_SECONDS)
