"""Password resets: a link by mail or from an admin, which works once."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from django.contrib.auth.hashers import check_password, make_password
from django.core import mail
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from jatevo.accounts.models import User
from jatevo.accounts.password_reset import LinkInvalid, link_for, use_link
from jatevo.accounts.tasks import mail_reset_link
from jatevo.audit.models import AuditEvent
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import PASSWORD

NEW = "a much better passphrase"
FORGOTTEN = "/forgot-password/"


@pytest.fixture
def mailing(settings: Any) -> None:
    settings.SENDS_MAIL = True


def ask(email: str, address: str = "192.0.2.1") -> Any:
    browser = Browser(REMOTE_ADDR=address)
    return browser.submit(FORGOTTEN, {"email": email})


def run_jobs() -> None:
    """Runs the queued jobs as the worker does."""
    for job in ProcrastinateJob.objects.filter(task_name="accounts.mail_reset_link", status="todo").order_by(
        "id"
    ):
        mail_reset_link(**job.args)


def mailed_link() -> str:
    (message,) = mail.outbox
    found = re.search(r"http\S+/reset-password/\S+", str(message.body))
    assert found
    return urlsplit(found[0]).path


def stored(user: User) -> str:
    return User.objects.get(pk=user.pk).password


def test_login_page_leads_to_it(visitor: Browser, db: None) -> None:
    page = text_of(visitor.get("/login/"))
    assert f'href="{FORGOTTEN}"' in page and "Forgot your password?" in page


def test_link_by_mail_sets_a_new_password_and_ends_every_login(mailing: None, operator: User) -> None:
    elsewhere = Browser().sign_in(operator)
    assert ask(operator.email.upper()).status_code == 200
    run_jobs()
    assert mail.outbox[0].to == [operator.email]
    link, browser = mailed_link(), Browser()
    assert operator.email in text_of(browser.get(link))
    assert check_password(PASSWORD, stored(operator))  # opening it uses nothing up
    answer = browser.submit(link, {"new": NEW, "again": NEW})
    assert (answer.status_code, answer["Location"]) == (302, "/login/")
    assert "Password changed. Sign in with your new password." in text_of(browser.get("/login/"))
    assert elsewhere.get("/v1/users/me").status_code == 401
    Browser().sign_in(operator, NEW)
    verbs = ["password.reset_asked", "password.reset_mailed", "user.password_reset"]
    assert (
        list(AuditEvent.objects.filter(verb__in=verbs).order_by("id").values_list("verb", flat=True)) == verbs
    )
    assert link not in str(list(AuditEvent.objects.values_list("details", flat=True)))


def test_link_works_once(operator: User) -> None:
    link = urlsplit(link_for(operator)).path
    assert Browser().submit(link, {"new": NEW, "again": NEW}).status_code == 302
    used = Browser().get(link)
    assert used.status_code == 410 and "This link no longer works" in used.content.decode()
    assert check_password(NEW, stored(operator))


def test_second_use_at_the_same_moment_is_refused(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    who, token = urlsplit(link_for(operator)).path.strip("/").split("/")[1:]
    hashing = "jatevo.accounts.password_reset.make_password"

    def meanwhile(text: str) -> str:
        monkeypatch.setattr(hashing, make_password)
        use_link(who=who, token=token, new="the other one was faster", at=timezone.now())
        return make_password(text)

    monkeypatch.setattr(hashing, meanwhile)
    with pytest.raises(LinkInvalid):
        use_link(who=who, token=token, new=NEW, at=timezone.now())
    assert check_password("the other one was faster", stored(operator))


def test_link_expires_after_an_hour(operator: User) -> None:
    link = urlsplit(link_for(operator)).path
    with time_machine.travel(timezone.now() + timedelta(minutes=59)):
        assert Browser().get(link).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        assert Browser().get(link).status_code == 410


def test_link_of_a_deactivated_person_is_dead(operator: User) -> None:
    link = urlsplit(link_for(operator)).path
    User.objects.update(is_active=False)
    assert Browser().get(link).status_code == 410


@pytest.mark.parametrize("path", ["x/y/", "MQ/abc-def/", "%00/x-y/", "é/x/"])
def test_made_up_links_are_refused(db: None, path: str) -> None:
    assert Browser().get(f"/reset-password/{path}").status_code in (404, 410)


def test_link_of_one_person_opens_no_other(operator: User, viewer: User) -> None:
    theirs, mine = urlsplit(link_for(viewer)).path, urlsplit(link_for(operator)).path
    mixed = "/".join([*mine.split("/")[:3], *theirs.split("/")[3:]])
    assert Browser().get(mixed).status_code == 410


def test_weak_new_password_is_refused_and_the_link_stays_good(operator: User) -> None:
    link, browser = urlsplit(link_for(operator)).path, Browser()
    assert browser.submit(link, {"new": "aaaaaaaaaaaa", "again": "aaaaaaaaaaaa"}).status_code == 422
    assert browser.submit(link, {"new": NEW, "again": NEW + "!"}).status_code == 422
    assert browser.submit(link, {"new": NEW, "again": NEW}).status_code == 302


def test_unknown_address_hears_the_same_and_causes_the_same_work(mailing: None, operator: User) -> None:
    pages, jobs = [], []
    for email in (operator.email, "nobody@example.org"):
        pages.append(re.sub(r'value="\w+"', "", text_of(ask(email))))
        jobs.append(ProcrastinateJob.objects.filter(args={"email": email}).count())
    assert pages[0].replace("csrf", "") == pages[1].replace("csrf", "")
    assert jobs == [1, 1]
    assert AuditEvent.objects.filter(verb="password.reset_asked").count() == 2
    run_jobs()
    assert [message.to for message in mail.outbox] == [[operator.email]]


def test_deactivated_person_gets_no_mail(mailing: None, operator: User) -> None:
    User.objects.update(is_active=False)
    ask(operator.email)
    run_jobs()
    assert mail.outbox == []


def test_asking_is_limited_by_account_and_by_address(mailing: None, operator: User, settings: Any) -> None:
    statuses = [ask(operator.email, f"192.0.2.{number}").status_code for number in range(4)]
    assert statuses == [200, 200, 200, 429]
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"reset_address": "2/hour"}
    statuses = [ask(f"nobody{number}@example.org", "192.0.2.77").status_code for number in range(3)]
    assert statuses == [200, 200, 429]


def test_asking_again_while_the_mail_is_on_its_way_sends_one(mailing: None, operator: User) -> None:
    ask(operator.email)
    ask(operator.email)
    assert ProcrastinateJob.objects.filter(task_name="accounts.mail_reset_link").count() == 1


def test_without_mail_the_page_says_whom_to_ask(visitor: Browser, operator: User, settings: Any) -> None:
    page = text_of(visitor.get(FORGOTTEN))
    assert "This console does not send email" in page and "an admin of this console" in page
    assert "<form" not in page
    settings.SUPPORT_CONTACT = "ops@example.org"
    assert "ops@example.org" in text_of(visitor.get(FORGOTTEN))
    visitor.post(FORGOTTEN, {"email": operator.email}, headers=visitor.csrf)
    assert not ProcrastinateJob.objects.filter(task_name="accounts.mail_reset_link").exists()


def test_admin_hands_out_a_link_that_is_shown_once(visitor: Browser, admin: User, operator: User) -> None:
    visitor.hold_session(admin)
    users = "/admin/accounts/user/"
    answer = visitor.submit(users, {"action": "one_time_link", "_selected_action": str(operator.pk)})
    page = visitor.get(answer["Location"]).content.decode()
    found = re.search(r"http\S+/reset-password/[^\s<]+", page)
    assert found and "/reset-password/" not in visitor.get(users).content.decode()
    assert Browser().submit(urlsplit(found[0]).path, {"new": NEW, "again": NEW}).status_code == 302
    assert AuditEvent.objects.get(verb="password.reset_handed_out").actor_user_id == admin.pk
