"""POST /v1/auth/login."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from jatevo.accounts.models import RefreshSession, Role, User
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser
from tests.accounts.people import PASSWORD, make_user

LOGIN = "/v1/auth/login"


def attempt(visitor: Browser, email: str, password: str = PASSWORD, **more: Any) -> Any:
    return visitor.post_json(LOGIN, {"email": email, "password": password, **more})


def test_login_answers_access_token_and_its_seconds(visitor: Browser, operator: User) -> None:
    answer = attempt(visitor, operator.email)
    assert answer.status_code == 200
    assert set(answer.json()) == {"access", "expires_in"}
    assert answer.json()["expires_in"] == 300
    assert answer["Cache-Control"] == "no-store"


def test_login_sets_both_cookies_out_of_reach_of_scripts(visitor: Browser, operator: User) -> None:
    answer = attempt(visitor, operator.email)
    for name in ("jatevo_access", "jatevo_refresh"):
        cookie = answer.cookies[name]
        assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["path"] == "/"
        assert not cookie["secure"]
    assert answer.cookies["jatevo_access"]["max-age"] == 300
    assert answer.cookies["jatevo_refresh"]["max-age"] == 14 * 86400


def test_cookies_are_secure_over_tls(visitor: Browser, operator: User, settings: Any) -> None:
    settings.SECURE = True
    answer = attempt(visitor, operator.email)
    assert answer.cookies["jatevo_access"]["secure"] and answer.cookies["jatevo_refresh"]["secure"]


def test_email_is_matched_whatever_its_case(visitor: Browser, operator: User) -> None:
    assert attempt(visitor, operator.email.upper()).status_code == 200


def test_login_gives_scripts_a_csrf_cookie(visitor: Browser, operator: User) -> None:
    assert "csrftoken" in attempt(visitor, operator.email).cookies


def test_login_ignores_stale_cookies_and_bearer_tokens(visitor: Browser, operator: User) -> None:
    visitor.cookies["jatevo_access"] = "stale"
    visitor.cookies["jatevo_refresh"] = "stale"
    answer = visitor.post_json(
        LOGIN,
        {"email": operator.email, "password": PASSWORD},
        headers={"Authorization": "Bearer stale"},
    )
    assert answer.status_code == 200


def test_the_answer_does_not_say_which_credential_was_wrong(visitor: Browser, operator: User) -> None:
    gone = make_user(Role.VIEWER, email="gone@example.org", is_active=False)
    guarded = make_user(Role.ADMIN, email="guarded@example.org")
    TOTPDevice.objects.create(user=guarded, name="phone", confirmed=True)
    refused = [
        attempt(visitor, "stranger@example.org"),
        attempt(visitor, operator.email, "not the password"),
        attempt(visitor, gone.email),
        attempt(visitor, guarded.email, otp="000000x"),
    ]
    assert {answer.status_code for answer in refused} == {401}
    assert len({answer.json()["error"]["message"] for answer in refused}) == 1
    assert {answer.json()["error"]["type"] for answer in refused} == {"unauthenticated"}
    assert {answer["WWW-Authenticate"] for answer in refused} == {"Bearer"}
    assert not any("jatevo_access" in answer.cookies for answer in refused)
    assert not RefreshSession.objects.exists()


def counting(name: str, calls: list[str]) -> Callable[..., Any]:
    """The hasher's own method, which also counts its calls."""
    original = getattr(Argon2PasswordHasher, name)

    def counted(*args: Any) -> Any:
        calls.append(name)
        return original(*args)

    return counted


def test_unknown_and_known_addresses_cost_one_hash_each(
    visitor: Browser, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    for name in ("encode", "verify"):
        monkeypatch.setattr(Argon2PasswordHasher, name, counting(name, hashed))
    attempt(visitor, "stranger@example.org", "guess")
    attempt(visitor, operator.email, "guess")
    assert hashed == ["encode", "verify"]


def test_second_factor_is_asked_for_only_after_the_right_password(visitor: Browser, admin: User) -> None:
    device = TOTPDevice.objects.create(user=admin, name="phone", confirmed=True)
    wrong = attempt(visitor, admin.email, "not the password")
    missing = attempt(visitor, admin.email)
    assert "required" not in wrong.json()["error"]["message"]
    assert missing.status_code == 401
    assert missing.json()["error"]["message"] == "The one-time code is required."
    code = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift).token()
    assert attempt(visitor, admin.email, otp=f"{code:06}").status_code == 200


def test_one_time_password_works_once(visitor: Browser, admin: User) -> None:
    device = StaticDevice.objects.create(user=admin, name="paper", confirmed=True)
    device.token_set.create(token="abcd1234")
    assert attempt(visitor, admin.email, otp="abcd1234").status_code == 200
    assert attempt(visitor, admin.email, otp="abcd1234").status_code == 401


def test_unconfirmed_device_asks_for_nothing(visitor: Browser, admin: User) -> None:
    TOTPDevice.objects.create(user=admin, name="phone", confirmed=False)
    assert attempt(visitor, admin.email).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "type_"),
    [
        ("{", 400, "invalid_json"),
        ('{"email": "a@example.org", "email": "b@example.org", "password": "x"}', 400, "invalid_json"),
        ('{"email": "a\\u0000", "password": "x"}', 400, "invalid_json"),
        ("[]", 422, "invalid_request"),
        ("{}", 422, "invalid_request"),
        ('{"email": "a@example.org"}', 422, "invalid_request"),
        ('{"email": {"a": 1}, "password": ["x"]}', 422, "invalid_request"),
        ('{"email": "", "password": ""}', 422, "invalid_request"),
        (json.dumps({"email": "a" * 321, "password": "x"}), 422, "invalid_request"),
        (json.dumps({"email": "a@example.org", "password": "x" * 1025}), 422, "invalid_request"),
        (json.dumps({"email": "a@example.org", "password": "x", "otp": "1" * 33}), 422, "invalid_request"),
        (json.dumps({"email": "a@example.org", "password": "x", "otp": None}), 422, "invalid_request"),
    ],
)
def test_malformed_bodies_are_refused_in_the_error_shape(
    visitor: Browser, db: None, body: str, status: int, type_: str
) -> None:
    answer = visitor.generic("POST", LOGIN, body, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, type_)
    assert answer.json()["error"]["request_id"] == answer["x-request-id"]
    assert not AuditEvent.objects.exists()


def test_a_form_of_another_site_cannot_sign_anyone_in(visitor: Browser, operator: User) -> None:
    body = json.dumps({"email": operator.email, "password": PASSWORD})
    answer = visitor.generic("POST", LOGIN, body, content_type="text/plain")
    assert (answer.status_code, answer.json()["error"]["type"]) == (415, "unsupported_media_type")


def test_get_is_not_a_login(visitor: Browser, db: None) -> None:
    answer = visitor.get(LOGIN)
    assert (answer.status_code, answer.json()["error"]["type"]) == (405, "method_not_allowed")


def test_logins_and_failures_are_audited_without_passwords(visitor: Browser, operator: User) -> None:
    attempt(visitor, "Typed@Example.org" + "x" * 300, "a secret guess")
    attempt(visitor, operator.email)
    failed, succeeded = AuditEvent.objects.order_by("id")
    assert (failed.verb, failed.actor_kind, failed.actor_id) == (
        "session.login_failed",
        "anonymous",
        "127.0.0.1",
    )
    assert failed.details["email"].startswith("Typed@Example.org")
    assert len(failed.subject_id) == 160
    assert "a secret guess" not in str(failed.__dict__)
    assert (succeeded.verb, succeeded.actor_user_id) == ("session.login", operator.pk)
    assert succeeded.org_id == operator.org_id


def test_long_addresses_can_sign_in(visitor: Browser, db: None) -> None:
    user = make_user(Role.VIEWER, email="a" * 60 + "@" + "b" * 60 + ".example.org")
    assert attempt(visitor, user.email).status_code == 200
