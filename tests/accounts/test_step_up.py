"""Confirming one's identity again: what it opens, for how long, for whom, and what it keeps of a form."""

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice

from jatevo.accounts.models import Org, Role, User
from jatevo.accounts.permissions import Permission, require
from jatevo.accounts.step_up import COOKIE, step_up_required
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import PASSWORD, make_user

PAGE = "/account/confirm/"
ACT = "/act/"


@require(Permission.PAY_OUT)
@step_up_required
def act(request: HttpRequest) -> HttpResponse:
    """A form of a sensitive page, with two nodes and a reason."""
    if request.method == "POST":
        return HttpResponse(f"done {request.POST.getlist('node')} {request.POST['reason']}")
    return HttpResponse("form")


urlpatterns = [path("act/", act), path("", include("jatevo.urls"))]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]
SENT = {"node": ["n-1", "n-2"], "reason": 'because "<b>"'}


@pytest.fixture
def desk(admin: User) -> Browser:
    return Browser().hold_session(admin)


def post(browser: Browser, **more: Any) -> Any:
    return browser.post(ACT, {**SENT, **more}, headers=browser.csrf)


def hidden(answer: Any) -> list[tuple[str, str]]:
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', answer.content.decode())
    return [(name, value) for name, value in found if name != "csrfmiddlewaretoken"]


def test_looking_needs_no_proof(desk: Browser) -> None:
    assert text_of(desk.get(ACT)) == "form"


def test_what_was_sent_is_kept_and_done_once_the_password_is_there(desk: Browser) -> None:
    asked = post(desk)
    assert asked.status_code == 403 and "no-store" in asked["Cache-Control"]
    assert hidden(asked) == [
        ("node", "n-1"), ("node", "n-2"), ("reason", "because &quot;&lt;b&gt;&quot;")
    ]  # fmt: skip
    done = post(desk, **{"identity-current": PASSWORD})
    assert text_of(done) == "done ['n-1', 'n-2'] because \"<b>\""
    assert done.cookies[COOKIE]["httponly"] and done.cookies[COOKIE]["samesite"] == "Lax"
    assert AuditEvent.objects.get(verb="session.identity_confirmed").details["page"] == ACT
    assert post(desk).status_code == 200  # no second time


def test_wrong_password_does_nothing_and_keeps_the_form(desk: Browser) -> None:
    answer = post(desk, **{"identity-current": "wrong"})
    assert answer.status_code == 422 and "The password is wrong." in answer.content.decode()
    assert len(hidden(answer)) == 3 and COOKIE not in answer.cookies
    assert AuditEvent.objects.filter(verb="user.password_wrong").exists()
    assert "wrong" not in str(hidden(answer))


def test_proof_holds_for_fifteen_minutes(desk: Browser) -> None:
    now = timezone.now()
    with time_machine.travel(now, tick=False):
        post(desk, **{"identity-current": PASSWORD})
    with time_machine.travel(now + timedelta(minutes=14, seconds=59), tick=False):
        assert post(desk).status_code == 200
    with time_machine.travel(now + timedelta(minutes=15, seconds=1), tick=False):
        assert post(desk).status_code == 403


def test_proof_is_of_one_login_and_one_person(desk: Browser, admin: User) -> None:
    post(desk, **{"identity-current": PASSWORD})
    proof = desk.cookies[COOKIE].value
    other_login = Browser().hold_session(admin)
    other_login.cookies[COOKIE] = proof
    assert post(other_login).status_code == 403
    colleague = Browser().hold_session(make_user(Role.ADMIN, email="colleague@example.org"))
    colleague.cookies[COOKIE] = proof
    assert post(colleague).status_code == 403


def test_signing_out_ends_it(desk: Browser) -> None:
    post(desk, **{"identity-current": PASSWORD})
    desk.submit_to("/logout/", page="/password/")
    assert not desk.cookies[COOKIE].value


def test_new_password_ends_it(desk: Browser, admin: User) -> None:
    post(desk, **{"identity-current": PASSWORD})
    admin.set_password("another battery staple horse")
    admin.save()
    assert post(desk).status_code == 403


@pytest.mark.parametrize("value", ["", "x", "x" * 4000, "abc:def:ghi"])
def test_forged_proof_is_none(desk: Browser, value: str) -> None:
    desk.cookies[COOKIE] = value
    assert post(desk).status_code == 403


def test_second_factor_is_asked_for_where_it_is_set_up(desk: Browser, admin: User) -> None:
    device = StaticDevice.objects.create(user=admin, name="codes", confirmed=True)
    device.token_set.create(token="123456")
    assert "One-time code" in post(desk).content.decode()
    assert post(desk, **{"identity-current": PASSWORD}).status_code == 422
    wrong = post(desk, **{"identity-current": PASSWORD, "identity-otp": "000000"})
    assert wrong.status_code == 422 and AuditEvent.objects.filter(verb="user.otp_wrong").exists()
    assert device.token_set.exists()
    with time_machine.travel(timezone.now() + timedelta(seconds=30)):  # a wrong code makes the next one wait
        done = post(desk, **{"identity-current": PASSWORD, "identity-otp": "123456"})
    assert done.status_code == 200


def test_guessing_is_limited_like_signing_in(desk: Browser) -> None:
    answers = [post(desk, **{"identity-current": f"guess {n}"}) for n in range(12)]
    assert "Too many attempts" in answers[-1].content.decode()
    assert "Too many attempts" in post(desk, **{"identity-current": PASSWORD}).content.decode()


def test_page_leads_to_where_the_person_was_going(desk: Browser) -> None:
    answer = desk.submit(
        f"{PAGE}?next=/nodes/%3Fq%3Dx", {"identity-current": PASSWORD, "next": "/nodes/?q=x"}
    )
    assert (answer.status_code, answer["Location"]) == (302, "/nodes/?q=x")
    assert post(desk).status_code == 200


@pytest.mark.parametrize("onward", ["https://evil.example/", "//evil.example", "nodes:list"])
def test_page_leads_nowhere_else(desk: Browser, onward: str) -> None:
    answer = desk.submit(PAGE, {"identity-current": PASSWORD, "next": onward})
    assert answer["Location"] == "/"


def test_visitor_is_sent_to_sign_in_and_an_operator_is_refused(
    visitor: Browser, operator: User, org: Org
) -> None:
    assert visitor.get(PAGE)["Location"].startswith("/login/")
    refused = post(Browser().hold_session(operator), **{"identity-current": PASSWORD})
    assert refused.status_code == 403 and COOKIE not in refused.cookies
