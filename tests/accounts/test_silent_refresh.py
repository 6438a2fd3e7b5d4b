"""Pages refresh their login. Twenty requests at once with an expired access token all stay signed in."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from jatevo.accounts.models import Org, RefreshSession, Role, User
from tests.accounts.browser import Browser
from tests.accounts.people import make_user

PAGE = "/password/"  # any page that strangers may not see
THREADS = 20


def test_page_refreshes_silently(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    before = visitor.refresh_token
    visitor.lose_access_token()
    assert visitor.get(PAGE).status_code == 200
    assert visitor.refresh_token != before
    assert visitor.cookies["jatevo_access"].value
    after = visitor.refresh_token
    assert visitor.get(PAGE).status_code == 200
    assert visitor.refresh_token == after, "a live access token refreshes nothing"


def test_api_read_by_cookie_refreshes_silently(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    visitor.cookies["jatevo_access"] = "expired"
    assert visitor.get("/v1/users/me").json()["email"] == operator.email
    assert RefreshSession.objects.count() == 2


def test_twenty_parallel_requests_with_an_expired_token_stay_signed_in(transactional_db: None) -> None:
    user = make_user(Role.OPERATOR, org=Org.objects.create(name="Alpine Compute"))
    original = Browser().hold_session(user).refresh_token
    together = Barrier(THREADS)

    def visit(number: int) -> Any:
        visitor = Browser()
        visitor.cookies["jatevo_refresh"] = original
        together.wait()
        try:
            return visitor.get(PAGE, headers={"HX-Request": "true"} if number % 2 else {})
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(visit, range(THREADS)))
    assert [answer.status_code for answer in answers] == [200] * THREADS
    successors = {answer.cookies["jatevo_refresh"].value for answer in answers}
    assert len(successors) == 1 and successors != {original}
    assert RefreshSession.objects.count() == 2
    assert not RefreshSession.objects.exclude(revoked_at=None).exists()


def test_twenty_parallel_refreshes_have_one_successor(transactional_db: None) -> None:
    user = make_user(Role.VIEWER)
    first = Browser().hold_session(user)
    csrf, original = first.csrf, first.refresh_token
    together = Barrier(THREADS)

    def refresh(_: int) -> Any:
        visitor = Browser()
        visitor.cookies["jatevo_refresh"] = original
        visitor.cookies["csrftoken"] = csrf["X-CSRFToken"]
        together.wait()
        try:
            return visitor.post_json("/v1/auth/refresh", headers=csrf)
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(refresh, range(THREADS)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.cookies["jatevo_refresh"].value for answer in answers}) == 1
    assert RefreshSession.objects.count() == 2


def test_dead_login_becomes_a_stranger_and_loses_its_cookies(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    RefreshSession.objects.update(revoked_at=RefreshSession.objects.get().issued_at)
    answer = visitor.get(PAGE)
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=/password/")
    assert answer.cookies["jatevo_access"].value == "" and answer.cookies["jatevo_refresh"].value == ""


def test_fragment_with_dead_cookies_does_not_clear_those_of_a_new_login(
    visitor: Browser, operator: User
) -> None:
    visitor.hold_session(operator)
    RefreshSession.objects.update(revoked_at=RefreshSession.objects.get().issued_at)
    answer = visitor.get(PAGE, headers={"HX-Request": "true"})
    assert answer.status_code == 302
    assert not answer.cookies


def test_strangers_cost_no_query(visitor: Browser, db: None, django_assert_num_queries: Any) -> None:
    visitor.get("/login/")
    with django_assert_num_queries(0):
        assert visitor.get(PAGE).status_code == 302
    visitor.cookies["jatevo_access"] = visitor.cookies["jatevo_refresh"] = "forged"
    with django_assert_num_queries(0):
        assert visitor.get(PAGE).status_code == 302


def test_signed_in_costs_one_query(visitor: Browser, operator: User, django_assert_num_queries: Any) -> None:
    visitor.hold_session(operator)
    with django_assert_num_queries(1):
        assert visitor.get("/v1/users/me").status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/nodes/register", "/v1/nodes/heartbeat", "/v1/receipts", "/v1/probes", "/v1/dispatches"]
)
def test_ingress_ignores_cookies(visitor: Browser, operator: User, path: str) -> None:
    visitor.hold_session(operator)
    visitor.lose_access_token()
    answer = visitor.post_json(path, headers=visitor.csrf)
    assert "jatevo_access" not in answer.cookies
    assert answer.status_code in (401, 404, 422)
    assert RefreshSession.objects.get().rotated_at is None


def test_a_bearer_request_does_not_change_the_cookies(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    access = visitor.cookies["jatevo_access"].value
    visitor.lose_access_token()
    answer = visitor.get("/v1/users/me", headers={"Authorization": f"Bearer {access}"})
    assert answer.status_code == 200
    assert RefreshSession.objects.get().rotated_at is None


def test_database_down_is_a_503_and_not_a_login_page(visitor: Browser, operator: User, db_down: Any) -> None:
    visitor.hold_session(operator)
    with db_down():
        fresh = visitor.get(PAGE)
        fresh_api = visitor.get("/v1/users/me")
        visitor.lose_access_token()
        expired = visitor.get(PAGE)
        expired_api = visitor.get("/v1/users/me")
    assert [fresh.status_code, expired.status_code] == [503, 503]
    assert [fresh_api.status_code, expired_api.status_code] == [503, 503]
    assert fresh_api.json()["error"]["type"] == expired_api.json()["error"]["type"] == "unavailable"
    assert not any(answer.cookies for answer in (fresh, expired, fresh_api, expired_api))
    assert visitor.get(PAGE).status_code == 200
