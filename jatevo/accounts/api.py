"""/v1/auth/* and /v1/users/me."""

from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.middleware.csrf import rotate_token
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response

from jatevo.accounts import cookies, sessions
from jatevo.accounts.actions import OneTimePasswordRequired, WrongCredentials, sign_in, sign_out
from jatevo.accounts.authentication import bearer, enforce_csrf, invalid_token
from jatevo.accounts.devices import device_in, remember_device
from jatevo.accounts.permissions import user_of
from jatevo.accounts.serializers import AccessGranted, LoginRequest, Me
from jatevo.accounts.sessions import SignedIn
from jatevo.accounts.tokens import read_access
from jatevo.web.address import client_address
from jatevo.web.errors import ApiError, unauthenticated
from jatevo.web.query_values import takes_query

NO_MATCH = "The email address, password or one-time code is wrong."
OTP_MISSING = "The one-time code is required."


@extend_schema(
    request=LoginRequest,
    responses={200: AccessGranted},
    auth=[],
    summary="Sign in",
    description="Sets both JWTs as HttpOnly cookies, and returns the access token for scripts.",
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
def login(request: Request) -> Response:
    body = LoginRequest(data=request.data)
    body.is_valid(raise_exception=True)
    at = timezone.now()
    try:
        signed_in = sign_in(
            **body.validated_data,
            address=client_address(request._request),
            device=device_in(request._request),
            at=at,
        )
    except OneTimePasswordRequired as error:
        raise _unauthenticated(OTP_MISSING) from error
    except WrongCredentials as error:
        raise _unauthenticated(NO_MATCH) from error
    rotate_token(request._request)
    response = _granted(signed_in)
    cookies.set_login(response, signed_in, at=at)
    remember_device(response, signed_in.user)
    return response


@extend_schema(
    request=None,
    responses={200: AccessGranted},
    auth=[],
    summary="Trade the refresh cookie for a new pair",
    description="Needs the CSRF token. Parallel calls with one cookie all get the same successor.",
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
def refresh(request: Request) -> Response:
    token = request.COOKIES.get(cookies.REFRESH)
    if not token:
        raise unauthenticated()
    enforce_csrf(request._request)
    at = timezone.now()
    try:
        signed_in = sessions.rotate(token, at=at)
    except sessions.RefreshRefused as error:
        raise invalid_token() from error
    response = _granted(signed_in)
    cookies.set_login(response, signed_in, at=at)
    return response


@extend_schema(
    request=None,
    auth=cast(Any, [{"bearer": []}, {"cookie": []}, {}]),  # annotated as names there, but used as it is
    responses={204: OpenApiResponse(description="Signed out, or was not signed in")},
    summary="Sign out",
    description="Ends the login of the bearer token, or of the cookies (with the CSRF token). Idempotent.",
)
@api_view(["POST"])
@authentication_classes([])
@permission_classes([])
def logout(request: Request) -> Response:
    family = _family_to_end(request)
    if family is not None:
        sign_out(family=family, at=timezone.now())
    response = Response(status=204)
    if bearer(request) is None:
        cookies.clear_login(response)
    return response


@extend_schema(responses={200: Me}, summary="Who am I")
@api_view(["GET", "HEAD"])
@takes_query()
def me(request: Request) -> Response:
    return Response(Me(user_of(request)).data)


def _family_to_end(request: Request) -> UUID | None:
    text = bearer(request)
    if text is not None:
        claims = read_access(text)
        if claims is None:
            raise invalid_token()
        return claims.family
    if cookies.ACCESS in request.COOKIES or cookies.REFRESH in request.COOKIES:
        enforce_csrf(request._request)
    return cookies.family_in(request._request)


def _granted(signed_in: SignedIn) -> Response:
    body = {"access": signed_in.access, "expires_in": int(settings.ACCESS_TOKEN_TTL.total_seconds())}
    return Response(body, headers={"Cache-Control": "no-store"})


def _unauthenticated(message: str) -> ApiError:
    return ApiError(401, "unauthenticated", message, headers={"WWW-Authenticate": "Bearer"})
