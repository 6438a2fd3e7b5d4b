"""POST /v1/auth/refresh: rotation, its grace period, and stolen tokens."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from jatevo.accounts import sessions
from jatevo.accounts.models import RefreshSession, User
from jatevo.accounts.tasks import purge_sessions
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser

REFRESH = "/v1/auth/refresh"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def refresh(visitor: Browser) -> int:
    return visitor.post_json(REFRESH, headers=visitor.csrf).status_code


def test_refresh_gives_a_new_pair(visitor: Browser, operator: User) -> None:
    visitor.sign_in(operator)
    before = visitor.refresh_token
    answer = visitor.post_json(REFRESH, headers=visitor.csrf)
    assert answer.status_code == 200
    assert set(answer.json()) == {"access", "expires_in"}
    assert visitor.refresh_token != before
    assert visitor.cookies["jatevo_access"].value == answer.json()["access"]


def test_refresh_needs_the_csrf_token(visitor: Browser, operator: User) -> None:
    visitor.sign_in(operator)
    answer = visitor.post_json(REFRESH)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "csrf_failed")
    assert RefreshSession.objects.get().rotated_at is None


def test_refresh_without_cookie_is_unauthenticated(visitor: Browser, db: None) -> None:
    answer = visitor.post_json(REFRESH)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "unauthenticated")


@pytest.mark.parametrize("text", ["garbage", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_refresh_with_a_forged_cookie_is_refused(visitor: Browser, db: None, text: str) -> None:
    visitor.cookies["jatevo_refresh"] = text
    answer = visitor.post_json(REFRESH, headers=visitor.csrf)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_token")


def test_access_token_does_not_refresh(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    visitor.cookies["jatevo_refresh"] = visitor.cookies["jatevo_access"].value
    assert refresh(visitor) == 401


def test_late_parallel_request_gets_the_same_successor(visitor: Browser, operator: User) -> None:
    with time_machine.travel(START, tick=False) as clock:
        visitor.hold_session(operator, at=START)
        old = visitor.refresh_token
        assert refresh(visitor) == 200
        successor = visitor.refresh_token
        clock.shift(timedelta(seconds=59))
        visitor.cookies["jatevo_refresh"] = old
        assert refresh(visitor) == 200
        assert visitor.refresh_token == successor
    assert RefreshSession.objects.count() == 2


def test_within_the_grace_the_newest_token_is_given(visitor: Browser, operator: User) -> None:
    with time_machine.travel(START, tick=False) as clock:
        visitor.hold_session(operator, at=START)
        old = visitor.refresh_token
        for _ in range(2):
            clock.shift(timedelta(seconds=10))
            assert refresh(visitor) == 200
        newest = visitor.refresh_token
        visitor.cookies["jatevo_refresh"] = old
        assert refresh(visitor) == 200
        assert visitor.refresh_token == newest


def test_rotated_token_after_the_grace_ends_the_whole_family(visitor: Browser, operator: User) -> None:
    with time_machine.travel(START, tick=False) as clock:
        visitor.hold_session(operator, at=START)
        thief = Browser()
        thief.cookies["jatevo_refresh"] = visitor.refresh_token
        assert refresh(visitor) == 200
        clock.shift(timedelta(seconds=61))
        assert refresh(thief) == 401
        assert refresh(visitor) == 401, "the honest holder must sign in again, and so hears of it"
        assert refresh(thief) == 401
    event = AuditEvent.objects.get(verb="session.reuse_detected")
    assert (event.subject_id, event.actor_kind) == (str(operator.pk), "system")
    assert not RefreshSession.objects.filter(revoked_at=None).exists()


def test_access_tokens_of_a_revoked_family_stop_at_once(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    other = Browser().hold_session(operator)
    family = sessions.family_of(visitor.refresh_token)
    assert family is not None
    sessions.revoke_family(family, at=datetime.now(UTC))
    assert visitor.get("/v1/users/me").status_code == 401
    assert other.get("/v1/users/me").status_code == 200


def test_expired_refresh_token_is_refused(visitor: Browser, operator: User) -> None:
    with time_machine.travel(START, tick=False) as clock:
        visitor.hold_session(operator, at=START)
        clock.shift(timedelta(days=14, seconds=1))
        assert refresh(visitor) == 401
    assert not AuditEvent.objects.filter(verb="session.reuse_detected").exists()


def test_deactivated_user_cannot_refresh(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    User.objects.filter(pk=operator.pk).update(is_active=False)
    assert refresh(visitor) == 401
    assert visitor.get("/v1/users/me").status_code == 401


def test_purge_forgets_what_expired_long_ago(operator: User) -> None:
    pair = sessions.start(user=operator, at=START)
    with time_machine.travel(START, tick=False):
        sessions.rotate(pair.refresh, at=START)
    sessions.start(user=operator, at=START + timedelta(days=10))
    assert sessions.purge(at=START + timedelta(days=20)) == 0
    assert purge_sessions(int((START + timedelta(days=21, seconds=1)).timestamp())) == 2
    assert RefreshSession.objects.count() == 1
