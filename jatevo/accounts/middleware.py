"""Who is looking at a page: the login cookies, with a silent refresh when the access token has run out."""

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
from jatevo.web.middleware import is_ingress

# These routes settle the cookies themselves.
OWN_COOKIES = "/v1/auth/"


class CookieLogin:
    """What the cookies of one request say. A valid access token costs one query, no cookies cost none."""

    def __init__(self, request: HttpRequest) -> None:
        self._refresh = request.COOKIES.get(cookies.REFRESH, "")
        self._claims = read_access(request.COOKIES.get(cookies.ACCESS, ""))
        self._found: User | AnonymousUser | None = None
        self.rotated: SignedIn | None = None
        self.dead = False  # the cookies are genuine, but the login is over

    @property
    def looked_up(self) -> bool:
        return self._found is not None

    def refresh_if_due(self) -> None:
        """Rotates now if the access token is missing or has expired and the refresh token may be good.

        Before the view, not on first sight of the user: a view may ask inside a transaction that it
        rolls back, or while its answer's headers are already gone. Either would lose the successor.
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
    """The store was down when the refresh was due: nobody can say who this is, and a page must not guess."""

    def __init__(self, request: HttpRequest, error: Exception) -> None:
        super().__init__(request)
        self._error = error

    def user(self) -> User | AnonymousUser:
        raise self._error


class CookieLoginMiddleware:
    """Sets request.user from the cookies, and puts the successors of rotated tokens on the answer.

    Ingress ignores cookies. While PostgreSQL is down, whatever needs the user fails with the database's
    own error (503), and is not mistaken for a stranger's request.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if is_ingress(request):
            request.user = AnonymousUser()
            return self.get_response(request)
        login = CookieLogin(request)
        if not request.path_info.startswith(OWN_COOKIES) and bearer(request) is None:
            try:
                login.refresh_if_due()
            except (OperationalError, InterfaceError) as error:
                login = UnreadableLogin(request, error)
        # DRF overwrites request.user on views that name no authentication class; the other name stays
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
            # A fragment's poll may still carry the cookies of before a new login: leave those to pages.
            cookies.clear_login(response)
