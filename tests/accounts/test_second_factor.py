"""/second-factor/: people set up their own authenticator app, and only they see its secret."""

import re
from base64 import b32decode
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from jatevo.accounts.models import User
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import PASSWORD

PAGE = "/second-factor/"


def code_of(secret: str) -> str:
    totp = TOTP(b32decode(secret))
    totp.time = timezone.now().timestamp()
    return f"{totp.token():06}"


def begin(browser: Browser) -> str:
    page = text_of(browser.submit(PAGE, {"do": "begin", "current": PASSWORD}))
    found = re.search(r'id="otp-key">([A-Z2-7=]+)<', page)
    assert found and "<svg" in page and "otpauth://" in page
    return found[1]


def sign_in(user: User, **more: str) -> Any:
    return Browser().post_json("/v1/auth/login", {"email": user.email, "password": PASSWORD, **more})


def test_person_sets_it_up_and_signs_in_with_it(operator: User) -> None:
    browser = Browser().hold_session(operator)
    secret = begin(browser)
    assert sign_in(operator).status_code == 200  # not before it is confirmed
    assert browser.submit(PAGE, {"do": "confirm", "code": code_of(secret)}).status_code == 302
    page = text_of(browser.get(PAGE))
    assert "On. Signing in asks for a code" in page and secret not in page
    assert sign_in(operator).status_code == 401
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        assert sign_in(operator, otp=code_of(secret)).status_code == 200
    verbs = AuditEvent.objects.filter(verb__startswith="user.second_factor").values_list("verb", flat=True)
    assert set(verbs) == {"user.second_factor_begin", "user.second_factor_add"}
    assert secret not in str(list(AuditEvent.objects.values_list("details", flat=True)))


def test_wrong_code_turns_nothing_on(operator: User) -> None:
    browser = Browser().hold_session(operator)
    secret = begin(browser)
    wrong = f"{(int(code_of(secret)) + 1) % 1_000_000:06}"
    answer = browser.submit(PAGE, {"do": "confirm", "code": wrong})
    assert answer.status_code == 422 and "code is wrong" in answer.content.decode()
    assert not TOTPDevice.objects.filter(confirmed=True).exists()


@pytest.mark.parametrize("do", ["begin", "remove"])
def test_stolen_session_changes_nothing_without_the_password(operator: User, do: str) -> None:
    TOTPDevice.objects.create(user=operator, name="app", confirmed=True)
    answer = Browser().hold_session(operator).submit(PAGE, {"do": do, "current": "guess"})
    assert answer.status_code == 422 and "otp-key" not in answer.content.decode()
    assert TOTPDevice.objects.get().confirmed
    assert AuditEvent.objects.filter(verb="user.password_wrong").count() == 1


def test_new_app_replaces_the_old_one_and_its_codes(operator: User) -> None:
    TOTPDevice.objects.create(user=operator, name="old", confirmed=True)
    StaticDevice.objects.create(user=operator, name="codes", confirmed=True)
    browser = Browser().hold_session(operator)
    secret = begin(browser)
    assert browser.submit(PAGE, {"do": "confirm", "code": code_of(secret)}).status_code == 302
    assert TOTPDevice.objects.get().confirmed and not StaticDevice.objects.exists()


def test_person_turns_it_off(operator: User) -> None:
    TOTPDevice.objects.create(user=operator, name="app", confirmed=True)
    browser = Browser().hold_session(operator)
    assert browser.submit(PAGE, {"do": "remove", "current": PASSWORD}).status_code == 302
    assert sign_in(operator).status_code == 200
    assert AuditEvent.objects.get(verb="user.second_factor_remove").actor_user_id == operator.pk


def test_confirming_what_was_never_begun_is_refused(operator: User) -> None:
    answer = Browser().hold_session(operator).submit(PAGE, {"do": "confirm", "code": "123456"})
    assert answer.status_code == 422 and "nothing to confirm" in answer.content.decode()


def test_no_one_else_can_confirm_it(operator: User, viewer: User) -> None:
    secret = begin(Browser().hold_session(operator))
    answer = Browser().hold_session(viewer).submit(PAGE, {"do": "confirm", "code": code_of(secret)})
    assert answer.status_code == 422
    assert not TOTPDevice.objects.filter(confirmed=True).exists()


def test_strangers_are_sent_to_the_login_page(visitor: Browser, db: None) -> None:
    assert visitor.get(PAGE)["Location"] == f"/login/?next={PAGE}"
