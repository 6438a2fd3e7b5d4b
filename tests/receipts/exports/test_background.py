"""Exports that the worker writes: the page, what is in the file, who may have it, and how it ends."""

import gzip
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import IntegrityError, OperationalError, connection, transaction
from guardian.shortcuts import assign_perm, remove_perm
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from jatevo.accounts.models import Org, Role, User
from jatevo.audit.models import AuditEvent
from jatevo.metrics.retention_policy import Dropped, rules
from nodes.models import Node
from receipts.exports import writing
from receipts.models import ExportState, Receipt, ReceiptExport, ReceiptExportPart, ReceiptQuerySet
from receipts.tasks import go_on_with_exports, mail_export
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory
from tests.receipts.exports.conftest import NOW, Many, write_all

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("small")]

PAGE = "/receipts/~export/"
AS_OF = "2026-03-06T11:00:00Z"


@pytest.fixture(autouse=True)
def now() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def start(browser: Browser, file_format: str = "csv", **search: str) -> Any:
    fields = {"as_of": AS_OF, "format": file_format, **search}
    answer = browser.post(PAGE, fields, headers=browser.csrf)
    assert answer.status_code == 302, answer.content
    return answer


def file_of(browser: Browser, export: ReceiptExport) -> Any:
    return browser.get(f"{PAGE}{export.pk}/file/")


def status_of(browser: Browser, export: ReceiptExport) -> int:
    answer = file_of(browser, export)
    if answer.streaming:
        answer.getvalue()  # gives its place among the downloads back
    return int(answer.status_code)


def run_mails() -> int:
    jobs = ProcrastinateJob.objects.filter(task_name="receipts.mail_export", status="todo")
    return [mail_export(**job.args) for job in jobs].count(True)


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
@pytest.mark.parametrize("zone", ["", "mine"])
def test_file_is_the_one_that_would_have_been_streamed(
    operator: Browser, many: Many, file_format: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    User.objects.update(time_zone="Asia/Shanghai")
    many(30)
    search = {"hedged": "false", "from": "2026-03-04", **({"zone": zone} if zone else {})}
    start(operator, file_format, **search)
    export = write_all()
    assert (export.state, export.rows, export.expected_rows, export.parts_written) == ("ready", 20, 20, 3)
    answer = file_of(operator, export)
    assert answer["Content-Disposition"] == f'attachment; filename="{export.file_name}"'
    assert answer["Content-Type"] == "application/gzip"
    monkeypatch.setattr("receipts.exports.query.MOST_AT_ONCE", 100)
    streamed = operator.get(f"/receipts/~export.{file_format}", {**search, "as_of": AS_OF}).getvalue()
    assert gzip.decompress(answer.getvalue()) == streamed
    assert streamed.decode().count("\n") == 20 + (file_format == "csv")


@pytest.mark.parametrize("rows", [14, 15])
def test_rows_that_fill_their_parts_exactly_end_the_file_too(
    operator: Browser, many: Many, rows: int
) -> None:
    many(rows)
    start(operator, "jsonl")
    export = write_all()
    assert (export.state, export.rows) == ("ready", rows)
    assert gzip.decompress(file_of(operator, export).getvalue()).count(b"\n") == rows


def test_page_offers_it_says_how_far_it_is_and_when_it_is_ready(operator: Browser, many: Many) -> None:
    many(30)
    page = text_of(operator.get(PAGE, {"region": "eu"}))
    assert 'name="format" value="csv"' in page
    assert "formaction" not in page
    start(operator, region="eu")
    assert 'data-poll-seconds="2"' in text_of(operator.get(PAGE))
    poll = {"HX-Request": "true", "HX-Target": "export-files"}
    assert "0 of 30" in text_of(operator.get(PAGE, headers=poll))
    writing.write_part(ReceiptExport.objects.get(), at=NOW)
    part = operator.get(PAGE, headers=poll)
    assert "7 of 30" in text_of(part)
    assert "Writing, 23 %" in text_of(part)
    assert "<html" not in text_of(part)
    assert operator.get(PAGE, headers={**poll, "If-None-Match": part["ETag"]}).status_code == 304
    export = write_all()
    page = text_of(operator.get(PAGE))
    assert f'href="/receipts/~export/{export.pk}/file/"' in page
    assert "Region: eu</span>" in page
    assert "data-announce" in page and "The export is ready" in page
    assert "data-poll-seconds" not in page


def test_its_maker_gets_one_mail_when_it_is_ready(operator: Browser, many: Many) -> None:
    many(30)
    start(operator, region="eu")
    writing.write_part(ReceiptExport.objects.get(), at=NOW)
    assert run_mails() == 0
    export = write_all()
    assert run_mails() == 1
    (sent,) = mail.outbox
    assert sent.to == [User.objects.get().email]
    assert f"export of {export.rows} receipts" in sent.body
    assert "until 13 March 2026, 12:00 UTC" in sent.body
    assert "/receipts/~export/?region=eu&as_of=" in sent.body
    export.delete()
    assert run_mails() == 0, "deleted before the mail was sent"


def test_worker_goes_on_every_five_seconds_and_takes_turns(operator: Browser, many: Many) -> None:
    many(30)
    rival = Browser().hold_session(make_user(Role.ADMIN))
    start(operator)
    start(rival)
    periodic = app.periodic_registry.periodic_tasks["receipts.write_exports", "receipt-exports"]
    assert (periodic.cron, periodic.task.queueing_lock) == ("* * * * * */5", "receipt-exports")
    for expected in ([0, 1], [1, 1], [1, 2], [2, 2]):
        clock = iter([0.0, 0.0, 99.0])
        with (
            pytest.MonkeyPatch.context() as patch,
            time_machine.travel(NOW + timedelta(seconds=sum(expected)), tick=False),
        ):
            patch.setattr("receipts.exports.writing.time.monotonic", lambda clock=clock: next(clock))
            assert writing.write_exports() == 1
        assert sorted(ReceiptExport.objects.values_list("parts_written", flat=True)) == expected
    go_on_with_exports(timestamp=0)
    assert set(ReceiptExport.objects.values_list("state", flat=True)) == {ExportState.READY}


def test_a_part_that_another_worker_wrote_is_not_written_again(operator: Browser, many: Many) -> None:
    many(30)
    start(operator)
    stale = ReceiptExport.objects.select_related("user").get()
    assert writing.write_part(stale, at=NOW)
    assert not writing.write_part(stale, at=NOW)
    assert ReceiptExportPart.objects.count() == 1
    assert write_all().rows == 30


@pytest.mark.parametrize("moment", ["read", "stored", "queued"])
def test_a_worker_killed_at_any_moment_loses_and_doubles_nothing(
    operator: Browser, many: Many, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each part is committed, in the middle of its transaction, or at the last moment of it."""

    class Killed(BaseException):
        pass

    many(30)
    start(operator, "jsonl")
    original = {
        "read": (writing, "_store"),
        "stored": (ReceiptExportPart.objects, "create"),
        "queued": (app, "configure_task"),
    }[moment]
    kills = 0

    def killed(*args: Any, **kwargs: Any) -> None:
        raise Killed

    while ReceiptExport.objects.get().state == ExportState.WRITING:
        before = ReceiptExport.objects.values().get()
        with monkeypatch.context() as patch:
            patch.setattr(*original, killed)
            try:
                with transaction.atomic():
                    writing.write_part(ReceiptExport.objects.select_related("user").get(), at=NOW)
            except Killed:
                kills += 1
                assert ReceiptExport.objects.values().get() == before
        writing.write_part(ReceiptExport.objects.select_related("user").get(), at=NOW)
    assert kills == (1 if moment == "queued" else 5)
    export = ReceiptExport.objects.get()
    lines = gzip.decompress(file_of(operator, export).getvalue()).splitlines()
    expected = Receipt.objects.order_by("-accepted_at", "-id").values_list("request_id", flat=True)
    assert [re.findall(rb'"request_id":"(\w+)"', line)[0].decode() for line in lines] == list(expected)


def test_what_takes_too_long_to_count_is_counted_by_the_worker_and_said_before_it_is_written(
    operator: Browser, many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(30)
    counted = ReceiptQuerySet.count

    def slow_for_a_page(found: ReceiptQuerySet) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.05)")
        return counted(found)

    monkeypatch.setattr(ReceiptQuerySet, "count", slow_for_a_page)
    monkeypatch.setattr("receipts.exports.query.COUNT_SECONDS", 0.01)
    page = text_of(operator.get(PAGE))
    assert "Too many to count at once" in page
    assert 'value="jsonl"' in page
    start(operator, "jsonl")
    assert "Counting" in text_of(operator.get(PAGE))
    assert writing.write_part(ReceiptExport.objects.select_related("user").get(), at=NOW)
    assert "0 of 30" in text_of(operator.get(PAGE))
    export = write_all()
    assert (export.state, export.rows) == ("ready", 30)
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() != ("10ms",), "the connection goes back to the pool with its own limit"


# --- who may have it


def test_only_its_maker_may_see_download_or_delete_it(operator: Browser, org: Org, many: Many) -> None:
    many(30)
    start(operator)
    export = write_all()
    colleague = Browser().hold_session(make_user(Role.OPERATOR, org=org, email="colleague@example.org"))
    admin = Browser().hold_session(make_user(Role.ADMIN))
    for stranger in (colleague, admin):
        assert status_of(stranger, export) == 404
        assert str(export.pk) not in text_of(stranger.get(PAGE))
        stranger.post(f"{PAGE}{export.pk}/remove/", headers=stranger.csrf)
        assert ReceiptExport.objects.filter(pk=export.pk).exists()
    assert Browser().get(f"{PAGE}{export.pk}/file/")["Location"].startswith("/login/")
    assert status_of(operator, export) == 200
    assert (
        AuditEvent.objects.filter(verb="receipts.export_downloaded", subject_id=str(export.pk)).count() == 1
    )


@pytest.mark.parametrize("lost", ["role", "org", "node", "grant"])
def test_whoever_no_longer_sees_its_receipts_no_longer_gets_the_file(
    operator: Browser, org: Org, node: Node, many: Many, lost: str
) -> None:
    many(30)
    browser, user = operator, User.objects.get()
    if lost == "grant":
        user = make_user(Role.VIEWER)
        browser = Browser().hold_session(user)
        Node.objects.update(shared=True)
        assign_perm("nodes.view_node", user, node)
    start(browser)
    export = write_all()
    assert export.rows == 30
    assert status_of(browser, export) == 200
    match lost:
        case "role":
            User.objects.filter(pk=user.pk).update(role=Role.VIEWER)
        case "org":
            User.objects.filter(pk=user.pk).update(org=OrgFactory.create())
        case "node":
            Node.objects.filter(pk=node.pk).update(org=OrgFactory.create())
        case "grant":
            remove_perm("nodes.view_node", user, node)
    assert status_of(browser, export) == 403
    page = text_of(browser.get(PAGE))
    assert "You may no longer see some of its receipts." in page
    assert f'/receipts/~export/{export.pk}/file/"' not in page
    assert run_mails() == 0


def test_a_file_ends_while_it_is_written_when_its_maker_changes_role(operator: Browser, many: Many) -> None:
    many(30)
    start(operator)
    writing.write_part(ReceiptExport.objects.select_related("user").get(), at=NOW)
    User.objects.update(role=Role.VIEWER)
    export = write_all()
    assert (export.state, export.problem) == ("failed", "Your role or organisation has changed since.")
    assert not ReceiptExportPart.objects.exists()
    assert status_of(operator, export) == 404


def test_an_admins_file_has_every_node_and_is_theirs_while_they_are_admin(node: Node, many: Many) -> None:
    many(12)
    ReceiptFactory(node=NodeFactory.create(), at=NOW - timedelta(days=1))
    admin = make_user(Role.ADMIN)
    browser = Browser().hold_session(admin)
    start(browser)
    export = write_all()
    assert export.rows == 13
    assert not any(ReceiptExportPart.objects.values_list("nodes", flat=True))
    assert status_of(browser, export) == 200
    User.objects.filter(pk=admin.pk).update(role=Role.VIEWER)
    assert status_of(browser, export) == 403


# --- bounds and ends


def test_one_is_written_at_a_time_and_cancelling_makes_room(operator: Browser, many: Many) -> None:
    many(30)
    start(operator)
    first = ReceiptExport.objects.get()
    answer = start(operator)
    assert "still being written" in text_of(operator.get(answer["Location"]))
    assert ReceiptExport.objects.get() == first
    stale = ReceiptExport.objects.select_related("user").get()
    operator.post(f"{PAGE}{first.pk}/remove/", headers=operator.csrf)
    assert not ReceiptExport.objects.exists()
    assert not writing.write_part(stale, at=NOW), "a worker that had begun adds nothing"
    start(operator)
    assert write_all().rows == 30
    with pytest.raises(IntegrityError), transaction.atomic():
        for _ in range(2):
            ReceiptExport.objects.create(user=User.objects.get(), expected_rows=1)


def test_five_are_kept_and_the_oldest_make_room(operator: Browser, many: Many) -> None:
    many(11)
    made = []
    for number in range(7):
        with time_machine.travel(NOW + timedelta(minutes=number), tick=False):
            start(operator)
            made.append(write_all().pk)
    assert set(ReceiptExport.objects.values_list("pk", flat=True)) == set(made[2:])
    assert set(ReceiptExportPart.objects.values_list("export_id", flat=True)) == set(made[2:])


def test_file_expires_after_seven_days_and_retention_deletes_it(operator: Browser, many: Many) -> None:
    many(30)
    start(operator)
    export = write_all()
    (rule,) = [each for each in rules() if each.name == "receipts_receiptexport"]

    def deleted(after: timedelta, *, dry_run: bool = False) -> list[int]:
        return [
            each.rows for each in rule.drop(rule.before(NOW + after), dry_run) if isinstance(each, Dropped)
        ]

    last_second = timedelta(days=7) - timedelta(seconds=1)
    with time_machine.travel(NOW + last_second, tick=False):
        assert status_of(Browser().hold_session(User.objects.get()), export) == 200
        assert deleted(last_second) == []
    over = timedelta(days=7, seconds=1)
    with time_machine.travel(NOW + over, tick=False):
        browser = Browser().hold_session(User.objects.get())
        assert status_of(browser, export) == 404
        assert str(export.pk) not in text_of(browser.get(PAGE))
    assert deleted(over, dry_run=True) == [1]
    assert ReceiptExport.objects.exists()
    assert deleted(over) == [1]
    assert not ReceiptExport.objects.exists() and not ReceiptExportPart.objects.exists()


def test_export_that_fails_again_and_again_ends_and_says_so(
    operator: Browser, many: Many, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(30)
    start(operator)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("canceling statement due to statement timeout")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "rows_of", broken)
        for _ in range(4):
            assert not writing.write_part(ReceiptExport.objects.select_related("user").get(), at=NOW)
        assert ReceiptExport.objects.get().state == ExportState.WRITING
    writing.write_part(ReceiptExport.objects.select_related("user").get(), at=NOW)
    assert ReceiptExport.objects.get().failures == 0, "a part that was written starts the count again"
    with monkeypatch.context() as patch:
        patch.setattr(writing, "rows_of", broken)
        for _ in range(5):
            writing.write_part(ReceiptExport.objects.select_related("user").get(), at=NOW)
    assert ReceiptExport.objects.get().state == ExportState.FAILED
    assert "did not answer in time" in text_of(operator.get(PAGE))


@pytest.mark.parametrize("fields", [{"format": "xls"}, {"regoin": "eu"}, {"from": "tomorrow"}])
def test_what_makes_no_sense_starts_nothing(operator: Browser, many: Many, fields: dict[str, str]) -> None:
    answer = operator.post(PAGE, {"format": "csv", **fields}, headers=operator.csrf)
    assert answer.status_code == 302
    assert not ReceiptExport.objects.exists()
    assert "Nothing was exported" in operator.get(answer["Location"]).content.decode()
