"""Password guessing: what it costs the server, what it reveals, and who is locked out."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
import time_machine
from django.contrib.auth.hashers import Argon2PasswordHasher, identify_hasher
from django_otp.plugins.otp_static.models import StaticDevice

from jatevo.accounts.hashers import HASHING, CappedArgon2
from jatevo.accounts.models import User
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser
from tests.accounts.people import PASSWORD

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEW = "a much better passphrase"


def guess(visitor: Browser, email: str, typed: str = "guess", address: str = "192.0.2.1") -> Any:
    return visitor.post_json("/v1/auth/login", {"email": email, "password": typed}, REMOTE_ADDR=address)


def attack(user: User) -> None:
    """Sends wrong attempts, each from another address, until strangers are refused."""
    statuses = [
        guess(Browser(), user.email, address=f"198.51.100.{number}").status_code for number in range(11)
    ]
    assert set(statuses[:7]) == {401} and statuses[-1] == 429
    assert guess(Browser(), user.email, PASSWORD, address="198.51.100.99").status_code == 429


# --- what a guess costs


def test_hashes_follow_the_lighter_owasp_profile(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["jatevo.accounts.hashers.CappedArgon2"]
    encoded = CappedArgon2().encode("a password", "a salt of some length")
    assert encoded.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")


def test_heavier_hash_is_replaced_at_the_next_login(settings: Any, operator: User) -> None:
    settings.PASSWORD_HASHERS = ["jatevo.accounts.hashers.CappedArgon2"]
    heavy = Argon2PasswordHasher()
    heavy.memory_cost, heavy.parallelism = 25_600, 8
    User.objects.filter(pk=operator.pk).update(password=heavy.encode(PASSWORD, "a salt of some length"))
    Browser().sign_in(operator)
    stored = User.objects.get(pk=operator.pk).password
    assert "m=19456,t=2,p=1" in stored
    Browser().sign_in(operator)
    assert User.objects.get(pk=operator.pk).password == stored


def test_a_crowd_of_guesses_is_refused_and_everyone_else_is_served(operator: User) -> None:
    with HASHING.held(), HASHING.held():
        with mock.patch.object(HASHING, "_wait_seconds", 0.01):
            busy = guess(Browser(), operator.email)
            page = Browser().submit("/login/", {"email": operator.email, "password": PASSWORD})
        assert Browser().get("/healthz").status_code == 200
        assert Browser().get("/").status_code == 200
    assert (busy.status_code, busy.json()["error"]["type"]) == (503, "unavailable")
    assert busy["Retry-After"]
    assert page.status_code == 503 and "Try again in a few seconds" in page.content.decode()
    assert guess(Browser(), operator.email, PASSWORD).status_code == 200


@pytest.mark.parametrize("exists", [True, False])
def test_unknown_address_costs_the_same_hash_as_a_wrong_password(operator: User, exists: bool) -> None:
    with (
        mock.patch.object(CappedArgon2, "encode", autospec=True, side_effect=CappedArgon2.encode) as encoded,
        mock.patch.object(CappedArgon2, "verify", autospec=True, side_effect=CappedArgon2.verify) as verified,
    ):
        answer = guess(Browser(), operator.email if exists else "nobody@example.org")
    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "The email address, password or one-time code is wrong."
    assert encoded.call_count + verified.call_count == 1


def test_tests_hash_with_the_consoles_own_hasher(operator: User) -> None:
    assert isinstance(identify_hasher(operator.password), CappedArgon2)


def test_hashing_never_runs_on_more_threads_than_the_cap() -> None:
    together, most, lock = 0, 0, threading.Lock()
    gate = threading.Event()

    def work() -> None:
        nonlocal together, most
        with HASHING.held():
            with lock:
                together += 1
                most = max(most, together)
            gate.wait(timeout=20)
            with lock:
                together -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(timeout=20)
    assert 1 <= most <= 2


# --- whom guesses lock out


def test_owner_gets_in_from_a_known_device_while_strangers_are_refused(operator: User) -> None:
    with time_machine.travel(START, tick=False):
        owner = Browser().sign_in(operator)
        owner.post("/logout/", headers=owner.csrf)
        attack(operator)
        assert guess(owner, operator.email, PASSWORD, address="198.51.100.1").status_code == 200
        page = Browser()
        page.cookies["jatevo_device"] = owner.cookies["jatevo_device"].value
        answer = page.submit("/login/", {"email": operator.email, "password": PASSWORD})
        assert answer.status_code == 302


def test_a_known_device_has_its_own_limit(operator: User) -> None:
    with time_machine.travel(START, tick=False):
        stolen = Browser().sign_in(operator)
        statuses = [guess(stolen, operator.email).status_code for _ in range(11)]
        assert statuses == [401] * 10 + [429]
        assert guess(Browser(), operator.email, PASSWORD).status_code == 200  # the account's own are left


def test_device_of_one_person_is_a_stranger_to_another(operator: User, viewer: User) -> None:
    with time_machine.travel(START, tick=False):
        theirs = Browser().sign_in(viewer)
        attack(operator)
        assert guess(theirs, operator.email, PASSWORD).status_code == 429


def test_device_is_forgotten_after_three_months(operator: User) -> None:
    with time_machine.travel(START, tick=False) as clock:
        owner = Browser().sign_in(operator)
        clock.shift(timedelta(days=91))
        attack(operator)
        assert guess(owner, operator.email, PASSWORD).status_code == 429


def test_change_of_the_password_ends_every_known_device_but_this_one(operator: User) -> None:
    with time_machine.travel(START, tick=False):
        elsewhere, here = Browser().sign_in(operator), Browser().sign_in(operator)
        fields = {"current": PASSWORD, "new": NEW, "again": NEW}
        assert here.submit("/password/", fields).status_code == 302
        attack(operator)
        assert guess(elsewhere, operator.email, NEW).status_code == 429
        assert guess(here, operator.email, NEW).status_code == 200


def test_deactivated_persons_device_is_a_strangers(operator: User) -> None:
    with time_machine.travel(START, tick=False):
        owner = Browser().sign_in(operator)
        User.objects.update(is_active=False)
        attack(operator)
        assert guess(owner, operator.email, PASSWORD).status_code == 429


@pytest.mark.parametrize("text", ["", "x", "a:b:c", "é", "x" * 5000])
def test_forged_device_counts_as_a_stranger(operator: User, text: str) -> None:
    with time_machine.travel(START, tick=False):
        attack(operator)
        forger = Browser()
        forger.cookies["jatevo_device"] = text
        assert guess(forger, operator.email, PASSWORD).status_code == 429


def test_device_cookie_is_http_only_and_does_not_identify_the_person(operator: User) -> None:
    cookie = Browser().sign_in(operator).cookies["jatevo_device"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    assert operator.email not in cookie.value and str(operator.pk) not in cookie.value


def test_strangers_guesses_do_not_keep_the_owner_from_changing_the_password(operator: User) -> None:
    with time_machine.travel(START, tick=False):
        attack(operator)
        owner = Browser().hold_session(operator)
        fields = {"current": PASSWORD, "new": NEW, "again": NEW}
        assert owner.submit("/password/", fields).status_code == 302


# --- what is on record


def test_right_password_with_a_wrong_code_is_on_record(visitor: Browser, operator: User) -> None:
    StaticDevice.objects.create(user=operator, name="codes", confirmed=True).token_set.create(token="135790")
    body = {"email": operator.email, "password": PASSWORD}
    assert visitor.post_json("/v1/auth/login", body).status_code == 401
    assert visitor.post_json("/v1/auth/login", {**body, "otp": "000000"}).status_code == 401
    verbs = ["session.otp_asked", "session.otp_failed"]
    rows = list(AuditEvent.objects.filter(verb__in=verbs).order_by("id"))
    assert [row.verb for row in rows] == verbs
    assert {row.subject_id for row in rows} == {str(operator.pk)}
    assert "000000" not in str([row.details for row in rows])
