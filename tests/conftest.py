"""Every test gets an empty Redis, a database as the migrations create it, and collected static files.

The servers come from the plugin tests/stores.py.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
import redis
from django.conf import settings

from jatevo.local.static_files import collect
from jatevo.metrics.migrator import migrate
from jatevo.metrics.store import Store, get_store
from jatevo.web import health, throttling
from jatevo.web.postgresql.connections import breaker as postgresql_breaker
from jatevo.web.remembered import forget_alone
from nodes.ingress.authentication import REMEMBERED_TOKENS
from tests.database import django_db_setup
from tests.lane import both_adapters
from tests.patience import patience_of_production, patient_with_stores
from tests.web.middleware import one_chain_of_middleware

__all__ = [  # fixtures for all
    "both_adapters",
    "django_db_setup",
    "one_chain_of_middleware",
    "patience_of_production",
    "patient_with_stores",
]

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("without_deadline", deadline=None)
hypothesis.settings.load_profile("without_deadline")


@pytest.fixture(scope="session", autouse=True)
def static_files() -> None:
    """Pages link to collected files, as in `make run`."""
    collect(Path(os.environ["JATEVO_HOME"]))


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> None:
    """Argon2 takes a tenth of a second by design, and most tests create a person."""
    settings.PASSWORD_HASHERS = ["tests.accounts.people.QuickArgon2"]


@pytest.fixture(scope="session", autouse=True)
def chdb_migrated(patient_with_stores: None) -> Store:
    """chDB opens one folder per process, so all tests share one store."""
    store = get_store()
    migrate(store, at=datetime.now(UTC))
    return store


@pytest.fixture(scope="session")
def redis_client() -> Iterator[redis.Redis]:
    """This run's private Redis."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        yield client


@pytest.fixture(autouse=True)
def untroubled_process() -> None:
    """Closes the breakers, so that a store that one test has broken is not avoided in the next. Forgets tokens."""
    throttling.breaker.reset()
    postgresql_breaker.reset()
    forget_alone()
    health.forget()
    REMEMBERED_TOKENS.forget_all()


@pytest.fixture(autouse=True)
def empty_redis(redis_client: redis.Redis) -> None:
    """Rate counters, replay guards and cached pages of a test must not affect the next."""
    redis_client.flushall()
