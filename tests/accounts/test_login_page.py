"""The page /login/."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django_otp.plugins.otp_static.models import StaticDevice

from jatevo.accounts.models import RefreshSession, User
from tests.accounts.browser import Browser
from tests.accounts.people import PASSWORD


def submit(visitor: Browser, email: str, password: str = PASSWORD, path: str = "/login/", **more: str) -> Any:
    return visitor.submit(path, {"email": email, "password": password, **more})


def test_signing_in_leads_to_the_overview(visitor: Browser, operator: User) -> None:
    answer = submit(visitor, operator.email)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert visitor.get("/v1/users/me").json()["email"] == operator.email


def test_stranger_comes_back_to_the_page_that_was_asked_for(visitor: Browser, operator: User) -> None:
    sent_away = visitor.get("/password/?from=menu")
    assert sent_away["Location"] == "/login/?next=/password/%3Ffrom%3Dmenu"
    page = visitor.get(sent_away["Location"])
    assert page.context["next"] == "/password/?from=menu"
    answer = submit(visitor, operator.email, next="/password/?from=menu")
    assert answer["Location"] == "/password/?from=menu"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "///evil.example",
        "javascript:alert(1)",
        "http:evil.example",
        "\thttps://evil.example",
        "http://testserver@evil.example/",
    ],
)
def test_login_never_sends_people_to_other_sites(visitor: Browser, operator: User, target: str) -> None:
    assert submit(visitor, operator.email, next=target)["Location"] == "/"
    assert visitor.get("/login/", {"next": target})["Location"] == "/"


def test_login_form_needs_the_csrf_token(visitor: Browser, operator: User) -> None:
    answer = visitor.post("/login/", {"email": operator.email, "password": PASSWORD})
    assert answer.status_code == 403
    assert not RefreshSession.objects.exists()


def test_wrong_password_says_so_without_saying_which(visitor: Browser, operator: User) -> None:
    known = submit(visitor, operator.email, "not the password")
    unknown = submit(visitor, "stranger@example.org", "not the password")
    assert known.status_code == unknown.status_code == 422
    assert known.context["form"].non_field_errors() == unknown.context["form"].non_field_errors()
    assert b"not the password" not in known.content, "a password is never written into a page"


def test_empty_form_names_its_fields(visitor: Browser, db: None) -> None:
    answer = visitor.submit("/login/", {})
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {"email", "password"}


def test_one_time_password_is_asked_for_when_it_is_needed(visitor: Browser, admin: User) -> None:
    device = StaticDevice.objects.create(user=admin, name="paper", confirmed=True)
    device.token_set.create(token="abcd1234")
    assert b'name="otp"' not in visitor.get("/login/").content
    asked = submit(visitor, admin.email)
    assert asked.status_code == 422
    assert b'name="otp"' in asked.content
    wrong = submit(visitor, admin.email, otp="nope")
    assert wrong.status_code == 422 and b'name="otp"' in wrong.content
    # After a wrong one-time password the device itself waits, a second at first.
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=2)):
        assert submit(visitor, admin.email, otp="abcd1234").status_code == 302


def test_signed_in_person_is_sent_onward(visitor: Browser, operator: User) -> None:
    answer = visitor.hold_session(operator).get("/login/?next=/password/")
    assert (answer.status_code, answer["Location"]) == (302, "/password/")


def test_login_page_is_never_cached(visitor: Browser, db: None) -> None:
    assert "no-store" in visitor.get("/login/")["Cache-Control"]


def test_csrf_token_changes_with_the_login(visitor: Browser, operator: User) -> None:
    visitor.get("/login/")
    before = visitor.cookies["csrftoken"].value
    submit(visitor, operator.email)
    assert visitor.cookies["csrftoken"].value != before
