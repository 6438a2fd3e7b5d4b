"""Input from strangers is bounded before it is stored or logged, and so is its rate."""

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.conf import settings as django_settings
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from jatevo.accounts.models import Role
from jatevo.audit.models import AuditEvent
from jatevo.audit.record import SYSTEM, record
from jatevo.web import logs
from jatevo.web.bounds import bounded
from tests.accounts.browser import Browser
from tests.factories import UserFactory


def test_texts_lists_and_objects_are_cut_and_say_so() -> None:
    assert bounded("a" * 500) == "a" * 500
    assert bounded("a" * 501) == "a" * 499 + "…"
    assert bounded("a\x00b") == "a\ufffdb"
    assert bounded({"inner": ["x" * 600, 7, None, True]}) == {"inner": ["x" * 499 + "…", 7, None, True]}
    assert bounded(list(range(150)))[-1] == "… 50 more"
    assert bounded({str(number): number for number in range(150)})["…"] == 50
    deep: Any = "bottom"
    for _ in range(1000):
        deep = [deep]
    assert "bottom" not in json.dumps(bounded(deep))


@pytest.mark.django_db
def test_all_audit_rows_are_bounded() -> None:
    with transaction.atomic():
        record(
            "test.huge", by=SYSTEM, subject_kind="test", subject_id="s" * 5000, reason="r" * 50_000,
            query="q" * 200_000, nested={"list": ["v" * 200_000] * 5000},
        )  # fmt: skip
    event = AuditEvent.objects.get(verb="test.huge")
    assert (len(event.subject_id), len(event.reason)) == (160, 2000)
    assert len(json.dumps(event.details)) < 60_000
    assert len(event.details["query"]) == 500


@pytest.mark.django_db
def test_query_of_an_export_is_bounded_and_exports_have_a_limit() -> None:
    viewer = UserFactory.create(role=Role.VIEWER)
    browser = Browser().hold_session(viewer)
    assert browser.get("/nodes/~export.csv", {"q": "x" * 200_000}).status_code == 414
    answers = [browser.get("/nodes/~export.csv", {"columns": "region," * 700}).status_code for _ in range(12)]
    assert answers == [200] * 10 + [429] * 2
    kept = AuditEvent.objects.filter(verb="node.export")
    assert kept.count() == 10
    assert all(len(json.dumps(event.details)) < 600 for event in kept)
    assert Browser().hold_session(UserFactory.create()).get("/nodes/~export.csv").status_code == 200


@pytest.mark.django_db
def test_pages_have_a_limit_that_says_when_to_come_back(settings: Settings) -> None:
    settings.RATE_LIMITS = {**django_settings.RATE_LIMITS, "pages": "3/minute"}
    browser = Browser().hold_session(UserFactory.create())
    assert [browser.get(path).status_code for path in ("/", "/nodes/", "/nowhere/", "/")] == [
        200,
        200,
        404,
        429,
    ]
    page = browser.get("/nodes/")
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert 0 < int(page["Retry-After"]) <= 60
    assert "<html" in page.content.decode()
    assert f"{page['Retry-After']} seconds" in page.content.decode()
    fragment = browser.get("/nodes/", headers={"HX-Request": "true", "HX-Target": "nodes-list"})
    assert (fragment.status_code, "<html" in fragment.content.decode()) == (429, False)
    assert 'role="alert"' in fragment.content.decode()
    # requests that are not pages, and another person
    assert browser.get("/healthz").status_code == 200
    assert browser.get("/v1/users/me").status_code == 200
    assert Browser().hold_session(UserFactory.create()).get("/").status_code == 200
    with contextlib.closing(browser.get("/static/favicon.svg")) as static:
        assert static.status_code == 200


@pytest.mark.django_db
def test_strangers_are_counted_by_address_and_ipv6_by_network(settings: Settings) -> None:
    settings.RATE_LIMITS = {**django_settings.RATE_LIMITS, "pages": "2/minute"}

    def status(address: str) -> int:
        return int(Client().get("/login/", REMOTE_ADDR=address).status_code)

    assert [status("10.0.0.1") for _ in range(3)] == [200, 200, 429]
    assert status("10.0.0.2") == 200
    assert [status(f"2001:db8:1:2::{number}") for number in (1, 2, 3)] == [200, 200, 429]
    assert status("2001:db8:1:3::1") == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("forwarded", "kept"),
    [
        ("1.2.3.4", "1.2.3.4"), ("6.6.6.6, 1.2.3.4:5678", "1.2.3.4"), ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"), ("x" * 5000, "127.0.0.1"), ("unknown", "127.0.0.1"), ("", "127.0.0.1"),
    ],
)  # fmt: skip
def test_forwarded_address_is_an_address_or_not_used(settings: Settings, forwarded: str, kept: str) -> None:
    settings.TRUSTED_PROXIES = 1
    body = {"email": "nobody@example.org", "password": "x"}
    Client().post(
        "/v1/auth/login", body, content_type="application/json", headers={"X-Forwarded-For": forwarded}
    )
    assert AuditEvent.objects.get(verb="session.login_failed").actor_id == kept


@pytest.fixture
def lines(tmp_path: Path) -> Any:
    """The lines that are written to the console's own log."""
    handler = logging.FileHandler(tmp_path / "log")
    structured = structlog.stdlib.ProcessorFormatter(processors=logs.RENDER, foreign_pre_chain=logs.ENRICH)
    handler.setFormatter(structured)
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    logging.getLogger().removeHandler(handler)
    handler.close()


@pytest.mark.django_db
def test_foreign_host_writes_one_short_line(lines: Any) -> None:
    for path in ("/", "/v1/summary", "/login/", "/receipts/"):
        Client().get(path, headers={"Host": "evil.example" + "x" * 5000})
    assert [line["event"] for line in lines()] == ["host refused"] * 4
    assert all(len(json.dumps(line)) < 600 for line in lines())


@pytest.mark.django_db
def test_what_django_finds_suspicious_is_a_line_without_a_traceback(lines: Any) -> None:
    Client().get(f"/login/?{'a&' * 1500}")
    (line,) = [line for line in lines() if line["logger"].startswith("django.security")]
    assert "exception" not in line
    assert len(json.dumps(line)) < 2000


def test_log_lines_and_tracebacks_are_bounded(lines: Any) -> None:
    def deeper(levels: int) -> None:
        if not levels:
            raise RuntimeError("x" * 200_000)
        deeper(levels - 1)

    try:
        deeper(50)
    except RuntimeError:
        structlog.get_logger("test").exception("a crash", text="y" * 200_000, many=["z" * 9000] * 5000)
    (line,) = lines()
    assert len(json.dumps(line)) < 250_000
    assert len(line["text"]) == logs.LONGEST_VALUE
    assert len(line["exception"]) == logs.LONGEST_TRACEBACK
