"""DRF authentication: by bearer token, or else by cookies, with a CSRF check for unsafe methods."""

from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.request import Request

from jatevo.accounts.models import User
from jatevo.accounts.sessions import current_user
from jatevo.accounts.tokens import AccessClaims, read_access
from jatevo.web.errors import ApiError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class JwtAuthentication(BaseAuthentication):
    """Raises ApiError 401 `invalid_token` for an invalid bearer token.

    With cookies, an unsafe method without a CSRF token is a 403 `csrf_failed`.
    """

    def authenticate(self, request: Request) -> tuple[User, AccessClaims | None] | None:
        text = bearer(request)
        return self._by_cookie(request._request) if text is None else self._by_bearer(text)

    @staticmethod
    def _by_bearer(text: str) -> tuple[User, AccessClaims | None]:
        claims = read_access(text)
        user = current_user(claims) if claims else None
        if user is None:
            raise invalid_token()
        return user, claims

    @staticmethod
    def _by_cookie(request: HttpRequest) -> tuple[User, AccessClaims | None] | None:
        user = getattr(request, "cookie_user", None)  # set lazily by the middleware; absent on ingress routes
        if not isinstance(user, User):
            return None
        if request.method not in SAFE_METHODS:
            enforce_csrf(request)
        return user, None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def bearer(request: Request | HttpRequest) -> str | None:
    """The text after `Authorization: Bearer`, or None. Other schemes are ignored."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


def invalid_token() -> ApiError:
    return ApiError(
        401,
        "invalid_token",
        "The token is invalid, expired or revoked. Sign in again.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def enforce_csrf(request: HttpRequest) -> None:
    """Django's own CSRF check, from which DRF's views are exempt."""
    check = CSRFCheck(_view)
    check.process_request(request)
    if check.process_view(request, _view, (), {}):
        raise ApiError(
            403, "csrf_failed", "The CSRF token is missing or wrong. Send it in the X-CSRFToken header."
        )


def _view(request: HttpRequest) -> HttpResponse:
    """The view that the CSRF middleware needs as an argument. It is never called."""
    return HttpResponse()
