"""Login attempts are limited by address and by account, with and without Redis."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import time_machine

from jatevo.accounts.models import LoginAttempt, User
from jatevo.audit.models import AuditEvent
from jatevo.web import throttling
from jatevo.web.breaker import CircuitBreaker
from tests.accounts.browser import Browser
from tests.accounts.people import PASSWORD

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def guess(visitor: Browser, email: str, typed: str = "guess", address: str = "192.0.2.1") -> Any:
    return visitor.post_json("/v1/auth/login", {"email": email, "password": typed}, REMOTE_ADDR=address)


@pytest.fixture
def few_per_account(settings: Any) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"login_account": "3/minute", "login_address": "100/minute"}


@pytest.fixture
def few_per_address(settings: Any) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"login_account": "100/minute", "login_address": "3/minute"}


@pytest.fixture(params=["redis", "postgres"])
def counted_in(request: pytest.FixtureRequest) -> Iterator[str]:
    """With Redis, and with a Redis that refuses connections (nothing listens on port 1)."""
    if request.param == "redis":
        yield "redis"
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(throttling, "client", lambda: redis.Redis.from_url("redis://127.0.0.1:1/0"))
        patch.setattr(throttling, "breaker", CircuitBreaker("Redis"))
        yield "postgres"


def test_account_is_limited_from_all_addresses_together(
    visitor: Browser, operator: User, few_per_account: None, counted_in: str
) -> None:
    with time_machine.travel(START, tick=False):
        spellings = [operator.email, operator.email.upper(), operator.email]
        for number, email in enumerate(spellings):
            assert guess(visitor, email, address=f"192.0.2.{number}").status_code == 401
        refused = guess(visitor, operator.email, PASSWORD, address="192.0.2.99")
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limited")
        assert 1 <= int(refused["Retry-After"]) <= 61
        assert guess(visitor, "somebody.else@example.org").status_code == 401
    assert LoginAttempt.objects.exists() is (counted_in == "postgres")


def test_address_is_limited_over_all_accounts_together(
    visitor: Browser, operator: User, few_per_address: None, counted_in: str
) -> None:
    with time_machine.travel(START, tick=False):
        for number in range(3):
            assert guess(visitor, f"stranger{number}@example.org").status_code == 401
        assert guess(visitor, operator.email, PASSWORD).status_code == 429
        assert guess(visitor, operator.email, PASSWORD, address="192.0.2.99").status_code == 200


def test_the_wait_ends(visitor: Browser, operator: User, few_per_account: None, counted_in: str) -> None:
    with time_machine.travel(START, tick=False) as clock:
        for _ in range(3):
            guess(visitor, operator.email)
        wait = guess(visitor, operator.email, PASSWORD)
        assert wait.status_code == 429
        if counted_in == "postgres":  # Redis keeps its own clock
            for _ in range(5):  # trying on meanwhile does not prolong it
                clock.shift(timedelta(seconds=5))
                assert guess(visitor, operator.email, PASSWORD).status_code == 429
            clock.move_to(START + timedelta(seconds=int(wait["Retry-After"])))
            assert guess(visitor, operator.email, PASSWORD).status_code == 200


def test_refused_tries_are_not_checked_and_not_audited(
    visitor: Browser, operator: User, few_per_account: None
) -> None:
    for _ in range(5):
        guess(visitor, operator.email)
    assert AuditEvent.objects.filter(verb="session.login_failed").count() == 3


def test_page_and_api_share_one_count(visitor: Browser, operator: User, few_per_account: None) -> None:
    for _ in range(2):
        guess(visitor, operator.email)
    fields = {"email": operator.email, "password": "guess"}
    assert visitor.submit("/login/", fields).status_code == 422
    refused = visitor.submit("/login/", fields)
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) >= 1
    assert "Too many attempts" in refused.content.decode()


def test_no_address_or_account_is_stored_readably(
    visitor: Browser, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttling, "client", lambda: redis.Redis.from_url("redis://127.0.0.1:1/0"))
    monkeypatch.setattr(throttling, "breaker", CircuitBreaker("Redis"))
    guess(visitor, operator.email)
    assert {len(attempt.key) for attempt in LoginAttempt.objects.all()} == {64}
