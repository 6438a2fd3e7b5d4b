"""/password/: changing one's own password, and the effect on other logins."""

from typing import Any

from django.contrib.auth.hashers import check_password

from jatevo.accounts.models import User
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser
from tests.accounts.people import PASSWORD

NEW = "a much better passphrase"


def change(visitor: Browser, current: str = PASSWORD, new: str = NEW, again: str = NEW) -> Any:
    return visitor.submit("/password/", {"current": current, "new": new, "again": again})


def stored(user: User) -> str:
    return User.objects.get(pk=user.pk).password


def test_change_ends_every_other_login_and_keeps_this_one(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    elsewhere = Browser().hold_session(operator)
    answer = change(visitor)
    assert (answer.status_code, answer["Location"]) == (302, "/password/")
    assert check_password(NEW, stored(operator))
    assert visitor.get("/v1/users/me").status_code == 200
    assert elsewhere.get("/v1/users/me").status_code == 401
    elsewhere.lose_access_token()
    assert elsewhere.get("/v1/users/me").status_code == 401
    assert AuditEvent.objects.get(verb="user.password_change").actor_user_id == operator.pk


def test_wrong_current_password_changes_nothing(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    answer = change(visitor, current="not the password")
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {"current"}
    assert check_password(PASSWORD, stored(operator))


def test_new_password_must_be_typed_twice_alike(visitor: Browser, operator: User) -> None:
    answer = change(visitor.hold_session(operator), again=NEW + "!")
    assert answer.status_code == 422 and set(answer.context["form"].errors) == {"again"}


def test_weak_passwords_are_refused(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    for weak in ("short", "password1234", operator.email):
        answer = change(visitor, new=weak, again=weak)
        assert answer.status_code == 422 and set(answer.context["form"].errors) == {"new"}, weak
    assert check_password(PASSWORD, stored(operator))


def test_guessing_the_current_password_is_limited(visitor: Browser, operator: User, settings: Any) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"login_device": "2/minute"}
    visitor.hold_session(operator)
    statuses = [change(visitor, current="guess").status_code for _ in range(3)]
    assert statuses == [422, 422, 429]
    assert change(visitor)["Retry-After"]
    assert check_password(PASSWORD, stored(operator))


def test_change_needs_the_csrf_token(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    answer = visitor.post("/password/", {"current": PASSWORD, "new": NEW, "again": NEW})
    assert answer.status_code == 403
    assert check_password(PASSWORD, stored(operator))


def test_strangers_are_sent_to_the_login_page(visitor: Browser, db: None) -> None:
    assert visitor.get("/password/")["Location"] == "/login/?next=/password/"
