"""The pages of statements: who sees whose, storing on demand and by the nightly job, and the mail."""

import base64
import hashlib
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from earnings.accrual.fsck import examine
from earnings.models import Line, Statement, StatementPreference
from earnings.rules.periods import Month
from earnings.statements.mail import mail_statement, set_by_mail
from earnings.statements.storing import NotFinalYet, store_due, store_statement
from jatevo.accounts.models import Role, User
from jatevo.audit.models import AuditEvent
from nodes.models import Node
from tests.accounts.browser import Browser
from tests.earnings.rows import earn, finalise
from tests.earnings.statements.conftest import AFTER, MARCH
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory, UserFactory

pytestmark = pytest.mark.django_db

HERE = "/earnings/statements/"
MONTH = Month(2026, 3)


def signed_in(user: User | None) -> Client:
    return Browser().hold_session(user) if user else Client()


def get(user: User | None, path: str = "", **query: Any) -> Any:
    return signed_in(user).get(HERE + path, query)


def post(user: User, path: str, **data: str) -> Any:
    browser = Browser().hold_session(user)
    return browser.post(HERE + path, data, headers=browser.csrf)


def told(page: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode()))


def test_the_list_shows_every_month_and_its_state(operator: User, node: Node) -> None:
    store_statement(org=node.org, month=Month(2026, 2), at=AFTER)
    page = get(operator)
    text = told(page)
    assert "February 2026 Final" in text
    assert "March 2026 Make it now" in text
    assert f"{timezone.now():%B %Y} Preliminary" in text
    assert Statement.objects.get().sha256.hex() in page.content.decode()


def test_a_running_month_is_preliminary_and_never_stored(operator: User, node: Node) -> None:
    earn(node, timezone.now() - timedelta(minutes=1), request_id="r_now")
    month = f"{timezone.now():%Y-%m}"
    page = get(operator, f"{month}/")
    assert page.status_code == 200
    assert "Preliminary statement" in told(page)
    assert not Statement.objects.exists()
    with pytest.raises(NotFinalYet):
        store_statement(org=node.org, month=Month.parse(month), at=timezone.now())


def test_a_month_is_stored_once_and_shown_with_the_same_bytes_for_ever(operator: User, node: Node) -> None:
    first = store_statement(org=node.org, month=MONTH, at=AFTER)
    before = get(operator, "2026-03/").content
    assert hashlib.sha256(before).digest() == bytes(first.sha256)
    # whatever happens later: another rate of JTVO, a decision, a new name
    node.org.name = "New name"
    node.org.save()
    assert store_statement(org=node.org, month=MONTH, at=AFTER + timedelta(days=99)).pk == first.pk
    assert get(operator, "2026-03/").content == before
    with pytest.raises(DatabaseError), transaction.atomic():
        Statement.objects.update(made_at=AFTER)


@pytest.mark.parametrize("why", ["time", "line", "queue"])
def test_a_month_that_may_change_is_not_stored(operator: User, node: Node, why: str) -> None:
    at = AFTER
    if why == "time":
        at = datetime(2026, 4, 8, 23, 59, 59, tzinfo=UTC)
    elif why == "line":
        Line.objects.filter(day=date(2026, 3, 31)).update(final_at=None)
    else:
        ReceiptFactory(node=node, at=MARCH)
    with pytest.raises(NotFinalYet):
        store_statement(org=node.org, month=MONTH, at=at)
    assert not Statement.objects.exists()


def test_the_nightly_job_stores_what_is_due_for_every_organisation(operator: User, node: Node) -> None:
    assert store_due(at=AFTER) == 3  # February and March of ours, March of the rival
    assert store_due(at=AFTER) == 0
    months = Statement.objects.filter(org=operator.org).values_list("month", flat=True)
    assert set(months) == {date(2026, 2, 1), date(2026, 3, 1)}
    # a month with movements but no work has one too, a month with neither has none
    assert store_due(at=datetime(2026, 7, 1, tzinfo=UTC)) == 1
    april = Statement.objects.get(org=operator.org, month=date(2026, 4, 1))
    march = Statement.objects.get(org=operator.org, month=date(2026, 3, 1))
    assert april.balances["opening"] == march.balances["closing"]
    failed = [result.key for result in examine() if not result.ok]
    assert failed == []


def test_a_ledger_that_does_not_add_up_stops_only_its_own_statement(operator: User, node: Node) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE earnings_movement SET amount_usd = amount_usd + 1 WHERE kind = 'hold'")
        cursor.execute("SET session_replication_role = DEFAULT")
    assert store_due(at=AFTER) == 2
    assert not Statement.objects.filter(org=operator.org, month=date(2026, 3, 1)).exists()
    page = get(operator, "2026-03/")
    assert page.status_code == 503 and "does not add up" in told(page)
    assert post(operator, "2026-03/make/").status_code == 302
    assert not Statement.objects.filter(org=operator.org, month=date(2026, 3, 1)).exists()


def test_somebody_can_have_it_made_now(operator: User, node: Node) -> None:
    assert post(operator, "2026-03/make/").status_code == 302
    assert Statement.objects.get().month == date(2026, 3, 1)
    assert get(operator, "2026-03/make/").status_code == 405


def test_the_document_runs_nothing_and_has_only_its_own_style(operator: User, node: Node) -> None:
    answer = get(operator, "2026-03/")
    style = answer.content.split(b"<style>")[1].split(b"</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in answer["Content-Security-Policy"]
    assert answer["Content-Disposition"] == 'inline; filename="jatevo-statement-2026-03-preliminary.html"'
    download = get(operator, "2026-03/", download="1")
    assert download["Content-Disposition"].startswith("attachment")


def test_another_organisations_statements_are_not_there(operator: User, node: Node) -> None:
    rival = Node.objects.get(pk="rival-node").org
    store_due(at=AFTER)
    for asked in (
        str(rival.pk),
        str(OrgFactory.create().pk),
        "00000000-0000-4000-8000-000000000000",
        "nonsense",
    ):
        for path in ("", "2026-03/", "2026-02/"):
            assert get(operator, path, org=asked).status_code == 404
    assert "Rivals" not in get(operator).content.decode()
    outsider = UserFactory.create()
    assert "No statements yet" in told(get(outsider))
    # a month without anything answers like one that others have
    assert get(outsider, "2026-03/").status_code == get(outsider, "2019-01/").status_code == 404
    assert post(outsider, "2026-03/make/").status_code == 404


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "0000-01", "2099-01"])
def test_a_month_that_is_none_is_not_found(operator: User, node: Node, month: str) -> None:
    assert get(operator, f"{month}/").status_code == 404


def test_an_admin_sees_any_organisations(node: Node) -> None:
    admin = UserFactory.create(role=Role.ADMIN, org=None)
    assert "Choose an organisation" in told(get(admin))
    assert "March 2026" in told(get(admin, org=str(node.org_id)))
    assert "Ours &amp; Co" in get(admin, "2026-03/", org=str(node.org_id)).content.decode()
    assert get(admin, "2026-03/").status_code == 404
    assert get(admin, org="nonsense").status_code == 404


@pytest.mark.parametrize("path", ["", "2026-03/"])
def test_viewers_see_none_and_visitors_sign_in(node: Node, path: str) -> None:
    assert get(UserFactory.create(role=Role.VIEWER, org=node.org), path).status_code == 403
    assert get(None, path).status_code == 302


def test_members_get_a_new_statement_by_mail_if_the_organisation_wants_it(operator: User, node: Node) -> None:
    UserFactory.create(org=node.org, role=Role.VIEWER)
    UserFactory.create(org=node.org, is_active=False)
    store_statement(org=node.org, month=Month(2026, 2), at=AFTER)
    assert not ProcrastinateJob.objects.filter(task_name="earnings.mail_statement").exists()
    assert post(operator, "by-mail/", by_mail="on").status_code == 302
    event = AuditEvent.objects.get(verb="statements.by_mail")
    assert (event.org_id, event.details["by_mail"]) == (node.org_id, True)
    statement = store_statement(org=node.org, month=MONTH, at=AFTER)
    store_statement(org=node.org, month=MONTH, at=AFTER)
    (job,) = ProcrastinateJob.objects.filter(task_name="earnings.mail_statement")
    assert job.args == {"user_id": str(operator.pk), "statement_id": statement.pk}
    assert mail_statement(**job.args)
    (sent,) = mail.outbox
    assert sent.to == [operator.email]
    assert "March 2026" in sent.subject
    assert bytes(statement.sha256).hex() in str(sent.body)
    name, content, kind = sent.attachments[0]
    assert (name, kind) == ("jatevo-statement-2026-03.html", "text/html")
    assert str(content).encode() == bytes(statement.body)


def test_who_left_before_the_mail_goes_out_gets_none(operator: User, node: Node) -> None:
    statement = store_statement(org=node.org, month=MONTH, at=AFTER)
    User.objects.filter(pk=operator.pk).update(org=OrgFactory.create())
    assert not mail_statement(user_id=str(operator.pk), statement_id=statement.pk)
    assert mail.outbox == []


def test_the_mail_can_be_turned_off_again(operator: User, node: Node) -> None:
    set_by_mail(org=node.org, by_mail=True, by=operator, at=AFTER)
    post(operator, "by-mail/")
    assert StatementPreference.objects.get().by_mail is False
    outsider = UserFactory.create()
    assert post(outsider, f"by-mail/?org={node.org_id}", by_mail="on").status_code == 404
    assert StatementPreference.objects.get().by_mail is False


def test_an_organisation_with_nothing_has_no_statement() -> None:
    NodeFactory.create()
    assert store_due(at=AFTER) == 0


def test_the_first_month_is_that_of_the_first_receipt(operator: User, node: Node) -> None:
    earn(node, datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), request_id="r_old")
    finalise(date(2025, 12, 31))
    assert "December 2025" in told(get(operator))
