"""A test client that keeps cookies like a browser and must pass CSRF checks."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.test import Client
from django.utils import timezone

from jatevo.accounts import cookies, sessions
from jatevo.accounts.models import User
from tests.accounts.people import PASSWORD


class Browser(Client):
    """Sends the CSRF token only on request, so that a test states when it matters."""

    def __init__(self, **defaults: Any) -> None:
        super().__init__(enforce_csrf_checks=True, **defaults)

    def sign_in(self, user: User, password: str = PASSWORD) -> "Browser":
        """Signs in with POST /v1/auth/login."""
        answer = self.post_json("/v1/auth/login", {"email": user.email, "password": password})
        assert answer.status_code == 200, answer.content
        return self

    def hold_session(self, user: User, *, at: datetime | None = None) -> "Browser":
        """Signs in without the login form, for tests of later steps."""
        at = at or timezone.now()
        pair = sessions.start(user=user, at=at)
        self.cookies[cookies.ACCESS] = pair.access
        self.cookies[cookies.REFRESH] = pair.refresh
        return self

    def post_json(self, path: str, body: Any = None, **kwargs: Any) -> Any:
        return self.post(path, data={} if body is None else body, content_type="application/json", **kwargs)

    def lose_access_token(self) -> None:
        """Drops the access cookie, as a browser does when its max-age is over."""
        del self.cookies[cookies.ACCESS]

    @property
    def refresh_token(self) -> str:
        return str(self.cookies[cookies.REFRESH].value)

    @property
    def csrf(self) -> dict[str, str]:
        """The CSRF header. Also sets the cookie that it must match, as a visit to the login page does."""
        if "csrftoken" not in self.cookies:
            self.cookies["csrftoken"] = Client().get("/login/").cookies["csrftoken"].value
        return {"X-CSRFToken": str(self.cookies["csrftoken"].value)}

    def submit(self, path: str, fields: Mapping[str, str | list[str]]) -> Any:
        """Opens the page, takes the token from its form and posts the fields."""
        return self.submit_to(path, fields, page=path)

    def submit_to(self, path: str, fields: Mapping[str, str | list[str]] | None = None, *, page: str) -> Any:
        """Like `submit`, for a form that posts to another address than its page."""
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(page).content.decode())
        assert found, f"{page} has no form"
        return self.post(path, {**(fields or {}), "csrfmiddlewaretoken": found[1]})


def text_of(answer: Any) -> str:
    """A page's text. Fails unless the answer is a 200."""
    assert answer.status_code == 200, answer.content
    return str(answer.content.decode())
