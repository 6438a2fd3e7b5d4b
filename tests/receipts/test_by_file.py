"""A receipt is found by its file: by the exact bytes, and else by the receipt that the file names."""

import json
import re

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile

from nodes.models import Node
from receipts.models import Receipt
from tests.accounts.browser import Browser
from tests.factories import NodeFactory, ReceiptFactory

pytestmark = pytest.mark.django_db
PAGE = "/receipts/~file/"


def send(
    browser: Browser, content: bytes, *, page: str = PAGE, name: str = "receipt.json"
) -> tuple[int, str]:
    """The status, and the text of the answer or where it leads."""
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(page).content.decode())
    assert token
    file = SimpleUploadedFile(name, content, content_type="application/json")
    answer = browser.post(PAGE, {"csrfmiddlewaretoken": token[1], "file": file})
    return answer.status_code, answer.get("Location") or answer.content.decode()


@pytest.fixture
def receipt(node: Node) -> Receipt:
    return ReceiptFactory(node=node, request_id="r_1")


@pytest.mark.parametrize("page", [PAGE, "/receipts/"])
def test_the_file_leads_to_its_receipt(operator: Browser, receipt: Receipt, page: str) -> None:
    assert send(operator, bytes(receipt.raw), page=page) == (302, "/receipts/macbook-001/r_1/")


def test_bytes_that_differ_are_said_with_a_link_to_the_receipt(operator: Browser, receipt: Receipt) -> None:
    indented = json.dumps(receipt.payload, indent=2).encode()
    changed = json.dumps({**receipt.payload, "tokens_output": 10_000}).encode()
    for content, words in ((indented, "only white space or the order"), (changed, "They state other values")):
        status, page = send(operator, content)
        assert status == 200
        assert "The bytes differ" in page
        assert words in page
        assert 'href="/receipts/macbook-001/r_1/"' in page
        assert bytes(receipt.sha256).hex() in page


@pytest.mark.parametrize(
    "content",
    [
        b"no json", b"\xff\xfe", b"[]", b"{}", b'{"node_id": 1, "request_id": null}', b'"r_1"', b"[" * 2000,
        b'{"node_id": "macbook-001", "request_id": "r_unknown"}', b'{"node_id": "a\\u0000", "request_id": "r_1"}',
        b'{"node_id": "macbook-001", "node_id": "macbook-001", "request_id": "r_1"}',
    ],
)  # fmt: skip
def test_a_file_that_is_no_receipt_here_is_said_not_to_be_found(
    operator: Browser, receipt: Receipt, content: bytes
) -> None:
    status, page = send(operator, content, name="<b>.json")
    assert status == 200
    assert "No receipt that you can see has these bytes." in page
    assert "<b>.json" not in page


def test_what_a_person_may_not_see_is_as_if_it_did_not_exist(operator: Browser, node: Node) -> None:
    rivals = ReceiptFactory(node=NodeFactory.create(id="rival-001"), request_id="r_secret")
    for content in (bytes(rivals.raw), json.dumps(rivals.payload, indent=1).encode()):
        status, page = send(operator, content)
        assert status == 200
        assert "No receipt that you can see has these bytes." in page
        assert "r_secret" not in page
        assert "differ" not in page


def test_a_file_that_is_too_large_or_empty_or_missing_is_refused(operator: Browser, receipt: Receipt) -> None:
    status, page = send(operator, bytes(receipt.raw) + b" " * settings.MAX_BODY_BYTES)
    assert status == 422
    assert "too large to be a receipt" in page
    largest = bytes(receipt.raw).ljust(settings.MAX_BODY_BYTES)
    assert "The bytes differ" in send(operator, largest)[1]
    assert "The submitted file is empty." in send(operator, b"")[1]
    answer = operator.submit_to(PAGE, {}, page=PAGE)
    assert answer.status_code == 422
    assert "Choose a file, or enter a SHA-256." in answer.content.decode()


def test_a_pasted_hash_leads_to_its_receipt(operator: Browser, receipt: Receipt) -> None:
    rivals = ReceiptFactory(node=NodeFactory.create(id="rival-001"))
    digest = bytes(receipt.sha256).hex()
    for text in (digest, f" {digest.upper()}\n"):
        answer = operator.submit_to(PAGE, {"sha256": text}, page=PAGE)
        assert (answer.status_code, answer["Location"]) == (302, "/receipts/macbook-001/r_1/")
    for text in ("ab" * 32, bytes(rivals.sha256).hex()):
        answer = operator.submit_to(PAGE, {"sha256": text}, page=PAGE)
        assert answer.status_code == 200
        assert "No receipt that you can see has these bytes." in answer.content.decode()
    answer = operator.submit_to(PAGE, {"sha256": "12"}, page=PAGE)
    assert answer.status_code == 422
    assert "Enter 64 hexadecimal digits." in answer.content.decode()


def test_it_needs_a_login_and_the_csrf_token(operator: Browser, receipt: Receipt) -> None:
    file = SimpleUploadedFile("receipt.json", bytes(receipt.raw))
    assert operator.post(PAGE, {"file": file}).status_code == 403
    assert Browser().get(PAGE)["Location"] == f"/login/?next={PAGE}"
