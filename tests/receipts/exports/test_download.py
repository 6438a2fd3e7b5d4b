"""Resuming a download of a stored export: ranges, ETags, and bytes that are never compressed again."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine

from jatevo.audit.models import AuditEvent
from jatevo.web.capped_work import DOWNLOADS
from receipts.models import ReceiptExport
from tests.accounts.browser import Browser
from tests.receipts.exports.conftest import NOW, Many, write_all

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("small")]


@pytest.fixture(autouse=True)
def now() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def export(operator: Browser, many: Many) -> ReceiptExport:
    many(30)
    operator.post("/receipts/~export/", {"format": "csv"}, headers=operator.csrf)
    return write_all()


def get(browser: Browser, export: ReceiptExport, **headers: str) -> Any:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return browser.get(f"/receipts/~export/{export.pk}/file/", headers={"Accept-Encoding": "gzip", **named})


def test_whole_file_says_its_length_and_that_ranges_work(operator: Browser, export: ReceiptExport) -> None:
    answer = get(operator, export)
    data = answer.getvalue()
    assert answer["Content-Length"] == str(len(data)) == str(export.size_bytes)
    assert answer["Accept-Ranges"] == "bytes"
    assert "Content-Encoding" not in answer, (
        "the server must not compress it, or ranges would mean other bytes"
    )
    assert answer["ETag"].startswith('"'), "a weak ETag resumes nothing"
    head = operator.head(f"/receipts/~export/{export.pk}/file/")
    assert (head["Content-Length"], head["ETag"], head.getvalue()) == (str(len(data)), answer["ETag"], b"")


def test_any_range_is_those_bytes_of_the_file(operator: Browser, export: ReceiptExport) -> None:
    data = get(operator, export).getvalue()
    size, chance = len(data), random.Random(7)
    ranges = [(0, 0), (0, size - 1), (size - 1, size - 1), (5, size + 100)]
    starts = [first for (first,) in export.parts.values_list("first_byte")]
    ranges += [(first - 1, first) for first in starts[1:]]  # across the parts
    ranges += [(first, chance.randrange(first, size)) for first in chance.sample(range(size), 20)]
    for first, last in ranges:
        answer = get(operator, export, Range=f"bytes={first}-{last}")
        assert answer.status_code == 206
        assert answer.getvalue() == data[first : last + 1]
        assert answer["Content-Range"] == f"bytes {first}-{min(last, size - 1)}/{size}"
        assert answer["Content-Length"] == str(len(data[first : last + 1]))
    assert get(operator, export, Range="bytes=-9").getvalue() == data[-9:]
    assert get(operator, export, Range=f"bytes=-{size + 9}").getvalue() == data
    assert get(operator, export, Range="bytes=100-").getvalue() == data[100:]


def test_an_interrupted_download_is_completed(operator: Browser, export: ReceiptExport) -> None:
    """As curl -C - and browsers do: they send what they have, and the ETag that it is of."""
    first = get(operator, export)
    data = first.getvalue()
    had = data[:1234]
    rest = get(operator, export, Range=f"bytes={len(had)}-", If_Range=first["ETag"])
    assert (rest.status_code, had + rest.getvalue()) == (206, data)
    other = get(operator, export, Range=f"bytes={len(had)}-", If_Range='"another-version"')
    assert (other.status_code, other.getvalue()) == (200, data)
    assert get(operator, export, If_None_Match=first["ETag"]).status_code == 304
    downloads = AuditEvent.objects.filter(verb="receipts.export_downloaded")
    assert downloads.count() == 2, "the rest of a download is no new one"


@pytest.mark.parametrize("text", ["bytes=999999-", "bytes=999999-1000000", "bytes=-0"])
def test_what_lies_beyond_the_end_is_416(operator: Browser, export: ReceiptExport, text: str) -> None:
    answer = get(operator, export, Range=text)
    assert answer.status_code == 416
    assert answer["Content-Range"] == f"bytes */{export.size_bytes}"


@pytest.mark.parametrize(
    "text", ["bytes=5-3", "bytes=0-1,5-6", "items=0-1", "bytes=-", "bytes=a-b", "nonsense", ""]
)
def test_what_is_no_plain_range_gets_the_whole_file(
    operator: Browser, export: ReceiptExport, text: str
) -> None:
    answer = get(operator, export, Range=text)
    assert (answer.status_code, len(answer.getvalue())) == (200, export.size_bytes)


def test_downloads_are_capped_apart_from_exports(operator: Browser, export: ReceiptExport) -> None:
    running = [DOWNLOADS.held_through(iter([b"x"])) for _ in range(3)]
    DOWNLOADS._wait_seconds, before = 0.01, DOWNLOADS._wait_seconds
    try:
        assert get(operator, export).status_code == 503
    finally:
        DOWNLOADS._wait_seconds = before
        del running
    assert len(get(operator, export).getvalue()) == export.size_bytes
