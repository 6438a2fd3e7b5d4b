"""The access token and the refresh token."""

import base64
import json
from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
from django.conf import settings
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from jatevo.accounts.models import RefreshSession
from jatevo.accounts.tokens import read_access, read_refresh, sign_access, sign_refresh


def encoded(header: str) -> str:
    return base64.urlsafe_b64encode(header.encode()).decode().rstrip("=")


def session() -> RefreshSession:
    at = timezone.now()
    return RefreshSession(
        id=uuid4(), user_id=uuid4(), family=uuid4(), issued_at=at, expires_at=at + timedelta(days=1)
    )


def test_refresh_token_is_a_pure_function_of_its_row() -> None:
    row = session()
    assert sign_refresh(row) == sign_refresh(row)
    assert read_refresh(sign_refresh(row)) == row.pk


def test_tokens_do_not_stand_in_for_each_other() -> None:
    assert read_access(sign_refresh(session())) is None
    assert read_refresh(sign_access(user_id=uuid4(), family=uuid4(), at=timezone.now())) is None


def test_token_ends_with_its_time() -> None:
    at = timezone.now()
    claims = {"user_id": uuid4(), "family": uuid4()}
    assert read_access(sign_access(**claims, at=at - timedelta(seconds=298))) is not None
    assert read_access(sign_access(**claims, at=at - timedelta(seconds=306))) is None


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"user_id": "nobody", "family": "none"},
        {"user_id": 1, "family": None},
        {"user_id": str(uuid4())},
    ],
)
def test_genuine_signature_over_other_claims_is_refused(payload: dict[str, object]) -> None:
    body = {"token_type": "access", "exp": 4_000_000_000, "iat": 1, "jti": "x", "iss": "jatevo", **payload}
    assert read_access(jwt.encode(body, settings.SECRET_KEY, algorithm="HS256")) is None


@pytest.mark.parametrize(
    ("key", "issuer"), [("another key of at least 32 bytes", "jatevo"), (None, "elsewhere")]
)
def test_other_keys_and_issuers_are_refused(key: str | None, issuer: str) -> None:
    body = {
        "token_type": "access",
        "exp": 4_000_000_000,
        "iat": 1,
        "jti": "x",
        "iss": issuer,
        "user_id": str(uuid4()),
        "family": str(uuid4()),
    }
    assert read_access(jwt.encode(body, key or settings.SECRET_KEY, algorithm="HS256")) is None


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"none","typ":"JWT"}',
        '{"alg":["HS256"],"typ":"JWT"}',
        '{"alg":"HS512","typ":"JWT"}',
        '{"alg":"HS256","typ":"JWT","kid":{}}',
        "[" * 1500,
        "null",
    ],
)
def test_strange_headers_are_refused(header: str) -> None:
    payload = encoded(json.dumps({"token_type": "access", "exp": 4_000_000_000}))
    assert read_access(f"{encoded(header)}.{payload}.") is None


@given(st.text(max_size=200))
def test_any_text_is_read_without_a_crash(text: str) -> None:
    genuine = sign_access(user_id=uuid4(), family=uuid4(), at=timezone.now())
    assert read_access(text) is None
    assert read_access(genuine.partition(".")[0] + "." + text) is None
    assert read_refresh(genuine.partition(".")[0] + "." + text) is None
