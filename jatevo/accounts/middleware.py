"""Authenticates pages by the login cookies, and refreshes an expired access token without the person
noticing.
"""

from collections.abc import Callable
from typing import Any, cast

from django.contrib.auth.models import AnonymousUser
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.functional import SimpleLazyObject

from jatevo.accounts import cookies
from jatevo.accounts.authentication import bearer
from jatevo.accounts.models import User
from jatevo.accounts.sessions import RefreshRefused, SignedIn, current_user, rotate
from jatevo.accounts.tokens import read_access, read_refresh

# These routes set or delete the cookies themselves.
OWN_COOKIES = "/v1/auth/"


class CookieLogin:
    """The login in the cookies of a request.

    A valid access token costs one query; without cookies there is none.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._refresh = request.COOKIES.get(cookies.REFRESH, "")
        self._claims = read_access(request.COOKIES.get(cookies.ACCESS, ""))
        self._found: User | AnonymousUser | None = None
        self.rotated: SignedIn | None = None
        self.dead = False  # the cookies are genuine, but the login has ended

    @property
    def looked_up(self) -> bool:
        return self._found is not None

    def refresh_if_due(self) -> None:
        """Rotates the tokens if the access token is missing or expired and the refresh token may be valid.

        This happens before the view. A view might first use the user inside a transaction that it rolls back,
        or after the headers were sent. In both cases the new tokens would be lost.
        """
        if self._claims is not None or read_refresh(self._refresh) is None:
            return
        try:
            self.rotated = rotate(self._refresh, at=timezone.now())
            self._found = self.rotated.user
        except RefreshRefused:
            self._found, self.dead = AnonymousUser(), True

    def user(self) -> User | AnonymousUser:
        if self._found is None:
            user = current_user(self._claims) if self._claims else None
            self.dead = self._claims is not None and user is None
            self._found = user or AnonymousUser()
        return self._found


class UnreadableLogin(CookieLogin):
    """PostgreSQL was down when the refresh was due, so the person is unknown.

    They are not treated as a visitor.
    """

    def __init__(self, request: HttpRequest, error: Exception) -> None:
        super().__init__(request)
        self._error = error

    def user(self) -> User | AnonymousUser:
        raise self._error


class CookieLoginMiddleware:
    """Sets request.user from the cookies, and sets new cookies on the response after a rotation.

    While PostgreSQL is down, code that needs the user fails with the
    database's error (503), so that the person is not treated as a visitor.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        login = CookieLogin(request)
        if not request.path_info.startswith(OWN_COOKIES) and bearer(request) is None:
            try:
                login.refresh_if_due()
            except (OperationalError, InterfaceError) as error:
                login = UnreadableLogin(request, error)
        # DRF overwrites request.user on views without an authentication class; request.cookie_user stays
        request.user = cast(Any, request).cookie_user = cast(User, SimpleLazyObject(login.user))
        response = self.get_response(request)
        self._settle(request, response, login)
        return response

    @staticmethod
    def _settle(request: HttpRequest, response: HttpResponse, login: CookieLogin) -> None:
        if login.looked_up:
            patch_vary_headers(response, ["Cookie"])
        if cookies.touched(response):
            return
        if login.rotated is not None:
            cookies.set_login(response, login.rotated, at=timezone.now())
            patch_cache_control(response, private=True)
        elif login.dead and not request.headers.get("HX-Request"):
            # A fragment's poll may still have cookies from before a new login, so only pages delete cookies.
            cookies.clear_login(response)
