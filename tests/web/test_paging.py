"""An invalid cursor is refused in the error shape, on every route with pages."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.utils import timezone

from jatevo.accounts.models import Org, Role
from jatevo.overview.models import Incident
from jatevo.web.errors import ApiError
from jatevo.web.paging import keyset_page
from tests.accounts.browser import Browser
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
BIGINT = 1 << 63
# Hostile for a key of any type.
NEVER = [
    b"x",
    b"{}",
    b"null",
    b'"x"',
    b"[]",
    b"[null]",
    b"[[1]]",
    b'[{"x":1}]',
    b"[true]",
    b"[1.5]",
    b"[NaN]",
    b"[1e400]",
    b"[1e308]",
    b'["\\u0000"]',
    b'["\\ud800"]',
    b'["\xff"]',
    b"\xff\xfe",
    b"[1,2,3,4]",
    b"[" * 2000,
    str([BIGINT]).encode(),
    str([BIGINT * BIGINT]).encode(),
]
# Of a wrong type, but only for that route.
ALSO = {
    "/v1/incidents": [b'["x"]', b'["1"]', b'["\\ufeff1"]', b"[1.0]", b'["2026-06-01T12:00:00+00:00"]'],
    "/v1/nodes": [b"[1]", b"[0]", str(["x" * 5_000]).replace("'", '"').encode()],
    "/v1/receipts": [
        b'["x",1]',
        b'["2026-06-01",1]',
        b'["2026-06-01T12:00:00",1]',
        b'["2026-06-01T12:00:00+14:00",1]',
        b'["0001-01-01T00:00:00+14:00",1]',
        b'["2026-06-01T12:00:00+00:00","x"]',
        b'["2026-06-01T12:00:00+00:00",true]',
        f'["2026-06-01T12:00:00+00:00",{BIGINT}]'.encode(),
        b"[1,1]",
    ],
}


def cursor_of(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@pytest.fixture
def ask() -> Callable[..., Any]:
    org = Org.objects.create(name="Alpine Compute")
    browsers = {
        role: Browser().hold_session(UserFactory.create(role=role, org=org))
        for role in (Role.OPERATOR, Role.VIEWER)
    }

    def answer(path: str, cursor: str, role: Role = Role.OPERATOR) -> Any:
        return browsers[role].get(f"{path}?cursor={quote(cursor)}")

    return answer


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.VIEWER])  # strangers page by other keys
@pytest.mark.parametrize("path", ALSO)
def test_a_cursor_that_is_none_of_ours_is_refused_at_its_field(
    path: str, role: Role, ask: Callable[..., Any]
) -> None:
    for cursor in [*map(cursor_of, NEVER + ALSO[path]), "!", "é", "%00", "=", "a", "\u2028", "W" * 5000]:
        answer = ask(path, cursor, role)
        assert answer.status_code == 422, (cursor, answer.content)
        error = answer.json()["error"]
        assert (error["type"], [problem["field"] for problem in error["details"]]) == (
            "invalid_request",
            ["cursor"],
        )


def test_the_receipts_page_takes_a_hostile_cursor_for_none(ask: Callable[..., Any]) -> None:
    for content in NEVER + ALSO["/v1/receipts"]:
        assert ask("/receipts/", cursor_of(content)).status_code == 200


def test_the_ends_of_a_keys_range_are_keys(ask: Callable[..., Any]) -> None:
    for key in (-BIGINT, 0, BIGINT - 1):
        assert ask("/v1/incidents", cursor_of(str([key]).encode())).status_code == 200
    for time in ("0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"):
        assert ask("/v1/receipts", cursor_of(f'["{time}",1]'.encode())).status_code == 200


def test_times_and_numbers_page_on_where_they_ended() -> None:
    now = timezone.now()
    for number in range(3):
        Incident.objects.create(title=str(number), starts_at=now)

    def page(cursor: str | None) -> Any:
        return keyset_page(Incident.objects.all(), cursor=cursor, limit=2, fields=["-starts_at", "-id"])

    first = page(None)
    assert [each.title for each in first.rows + page(first.next).rows] == ["2", "1", "0"]
    padded = first.next + "=" * (-len(first.next) % 4)
    assert page(padded).rows == page(first.next).rows
    with pytest.raises(ApiError):
        page(first.next[:-4])
