"""POST /v1/auth/logout and the sign-out button."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connection, transaction
from django.utils import timezone

from jatevo.accounts import sessions
from jatevo.accounts.models import RefreshSession, Role, User
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser
from tests.accounts.people import PASSWORD, make_user

LOGOUT = "/v1/auth/logout"


def logouts() -> int:
    return AuditEvent.objects.filter(verb="session.logout").count()


def test_logout_by_cookie_ends_the_login_and_clears_the_cookies(visitor: Browser, operator: User) -> None:
    visitor.sign_in(operator)
    kept = visitor.cookies["jatevo_access"].value
    answer = visitor.post_json(LOGOUT, headers=visitor.csrf)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.cookies["jatevo_access"].value == answer.cookies["jatevo_refresh"].value == ""
    assert RefreshSession.objects.get().revoked_at is not None
    stolen = visitor.get("/v1/users/me", headers={"Authorization": f"Bearer {kept}"})
    assert stolen.status_code == 401
    assert logouts() == 1


def test_logout_by_cookie_needs_the_csrf_token(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    answer = visitor.post_json(LOGOUT)
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "csrf_failed")
    assert RefreshSession.objects.get().revoked_at is None


def test_logout_works_after_the_access_token_expired(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    visitor.lose_access_token()
    assert visitor.post_json(LOGOUT, headers=visitor.csrf).status_code == 204
    assert RefreshSession.objects.get().revoked_at is not None


def test_logout_by_bearer_needs_no_csrf_token_and_is_idempotent(visitor: Browser, operator: User) -> None:
    access = visitor.hold_session(operator).cookies["jatevo_access"].value
    script = Browser()
    for _ in range(2):
        answer = script.post_json(LOGOUT, headers={"Authorization": f"Bearer {access}"})
        assert answer.status_code == 204
    assert logouts() == 1


def test_logout_by_cookie_is_idempotent(visitor: Browser, operator: User) -> None:
    visitor.sign_in(operator)
    assert visitor.post_json(LOGOUT, headers=visitor.csrf).status_code == 204
    assert visitor.post_json(LOGOUT, headers=visitor.csrf).status_code == 204
    assert logouts() == 1


def test_logout_of_a_stranger_does_nothing(visitor: Browser, db: None) -> None:
    assert visitor.post_json(LOGOUT).status_code == 204
    assert logouts() == 0


def test_logout_with_a_forged_bearer_token_is_refused(visitor: Browser, db: None) -> None:
    answer = visitor.post_json(LOGOUT, headers={"Authorization": "Bearer forged"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_token")


def test_logout_ends_one_login_and_not_the_others(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    elsewhere = Browser().hold_session(operator)
    visitor.post_json(LOGOUT, headers=visitor.csrf)
    assert elsewhere.get("/v1/users/me").status_code == 200


def test_sign_out_button_ends_the_login(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    page = visitor.get("/password/")
    assert page.status_code == 200
    refused = visitor.post("/logout/")
    assert refused.status_code == 403
    answer = visitor.post("/logout/", headers=visitor.csrf)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert visitor.get("/password/").status_code == 302
    assert logouts() == 1


def test_a_link_cannot_sign_out(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    assert visitor.get("/logout/").status_code == 405
    assert RefreshSession.objects.get().revoked_at is None


def test_sign_out_does_not_bring_back_an_expired_login(visitor: Browser, operator: User) -> None:
    visitor.hold_session(operator)
    visitor.lose_access_token()  # the middleware refreshes on the way in; the view must have the last word
    answer = visitor.post("/logout/", headers=visitor.csrf)
    assert answer.cookies["jatevo_refresh"].value == ""
    assert not RefreshSession.objects.filter(revoked_at=None).exists()


def waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_a_refresh_in_flight_does_not_outlive_the_logout(transactional_db: None) -> None:
    pair = sessions.start(user=make_user(Role.VIEWER), at=timezone.now())
    family = sessions.family_of(pair.refresh)
    assert family is not None

    def end() -> None:
        try:
            sessions.revoke_family(family, at=timezone.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            sessions.rotate(pair.refresh, at=timezone.now())  # the successor is there, but not committed yet
            ending = pool.submit(end)
            while not waiting_for_a_lock():
                assert not ending.done(), "the logout must wait for the refresh"
        ending.result()
    assert RefreshSession.objects.count() == 2
    assert not RefreshSession.objects.filter(revoked_at=None).exists()


def test_nothing_personal_is_left_in_the_browser(visitor: Browser, operator: User) -> None:
    visitor.sign_in(operator)
    fields = {"platform": "mac", "node_id": "mine-1", "region": "eu", "runtime": "ollama"}
    fields |= {
        "endpoint": "http://203.0.113.7:11435",
        "wallet_chain": "solana",
        "wallet_address": "So1anaAddress",
    }
    made = visitor.submit_to("/run-a-node/", fields, page="/run-a-node/?platform=mac")
    assert made.status_code == 201 and "So1anaAddress" in made.content.decode()
    answer = visitor.post("/logout/", headers=visitor.csrf)
    assert answer.status_code == 302
    left = {name: cookie.value for name, cookie in visitor.cookies.items() if cookie.value}
    assert set(left) <= {"csrftoken", "jatevo_device"}
    assert "So1ana" not in str(left)


def test_session_of_who_left_without_signing_out_is_not_the_next_persons(
    visitor: Browser, viewer: User
) -> None:
    session = visitor.session
    session["run_a_node"] = {"wallet_address": "So1anaAddress"}  # as older versions kept it
    session.save()
    visitor.cookies["sessionid"] = str(session.session_key)
    assert visitor.submit("/login/", {"email": viewer.email, "password": PASSWORD}).status_code == 302
    assert not visitor.cookies["sessionid"].value
