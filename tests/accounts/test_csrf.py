"""A mutation with a login cookie needs a CSRF token. One with a bearer token does not."""

import pytest

from jatevo.accounts.models import User
from tests.accounts.browser import Browser

pytestmark = pytest.mark.urls("tests.accounts.mutation_urls")

THING = "/v1/thing"
MUTATIONS = ["POST", "PUT", "PATCH", "DELETE"]


@pytest.mark.parametrize("method", MUTATIONS)
def test_a_cookie_without_csrf_token_changes_nothing(visitor: Browser, operator: User, method: str) -> None:
    visitor.hold_session(operator)
    answer = visitor.generic(method, THING)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "csrf_failed")
    other = visitor.generic(method, THING, headers={"X-CSRFToken": "x" * 32})
    assert (other.status_code, other.json()["error"]["type"]) == (403, "csrf_failed")


@pytest.mark.parametrize("method", MUTATIONS)
def test_cookie_with_its_token_may(visitor: Browser, operator: User, method: str) -> None:
    visitor.hold_session(operator)
    assert visitor.generic(method, THING, headers=visitor.csrf).status_code == 200


@pytest.mark.parametrize("method", MUTATIONS)
def test_bearer_needs_no_csrf_token(visitor: Browser, operator: User, method: str) -> None:
    access = visitor.hold_session(operator).cookies["jatevo_access"].value
    headers = {"Authorization": f"Bearer {access}"}
    assert Browser().generic(method, THING, headers=headers).status_code == 200
    assert visitor.generic(method, THING, headers=headers).status_code == 200, (
        "cookies beside it do not matter"
    )


def test_reading_by_cookie_needs_no_csrf_token(visitor: Browser, operator: User) -> None:
    assert visitor.hold_session(operator).get(THING).status_code == 200


def test_stranger_is_unauthenticated_before_csrf_is_asked_for(visitor: Browser, db: None) -> None:
    answer = visitor.post_json(THING)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "unauthenticated")


def test_another_site_is_refused_even_with_the_token(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    headers = {**visitor.csrf, "Origin": "https://evil.example"}
    assert visitor.post_json(THING, headers=headers).status_code == 403
