"""/receipts/<node>/<request>/ through the front door: the evidence, its verification, and who may see it."""

import pytest
from django.db import connection
from waffle.testutils import override_switch

from jatevo.accounts.models import Org, Role
from jatevo.flags.registry import Flag
from nodes.models import Node
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory

pytestmark = pytest.mark.django_db


def test_a_sound_receipt_is_valid_with_all_its_checks(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node, request_id="r_1")
    page = text_of(operator.get("/receipts/macbook-001/r_1/"))
    assert "Valid" in page
    assert "Failed: " not in page
    for label in ("Bytes", "JSON", "Fields", "Node", "Key", "Signature"):
        assert f'<span class="font-medium">{label}</span>' in page
    assert 'href="/nodes/macbook-001/"' in page
    assert 'href="/v1/receipts/macbook-001/r_1/raw"' in page


def test_a_receipt_changed_in_the_database_is_invalid_and_says_why(operator: Browser, node: Node) -> None:
    receipt = ReceiptFactory(node=node, request_id="r_1")
    forged = bytes(receipt.raw).replace(b'"tokens_output":92', b'"tokens_output":99')
    assert forged != bytes(receipt.raw)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE receipts_receipt SET raw = %s WHERE request_id = 'r_1'", [forged])
    page = text_of(operator.get("/receipts/macbook-001/r_1/"))
    assert "Invalid" in page
    assert "Failed: SHA-256" in page
    assert '<span class="text-warn">99</span>' in page


def test_with_the_flag_off_nothing_is_claimed(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node, request_id="r_1")
    with override_switch(Flag.ENABLE_SIGNATURE_VERIFY.value, active=False):
        page = text_of(operator.get("/receipts/macbook-001/r_1/"))
    assert "Not verified" in page
    assert "turned checking off" in page
    assert ">Valid" not in page


def test_an_outsider_finds_nothing(node: Node) -> None:
    ReceiptFactory(node=node, request_id="r_1")
    for role, org in ((Role.OPERATOR, OrgFactory.create()), (Role.VIEWER, None)):
        browser = Browser().hold_session(make_user(role, org=org))
        assert browser.get("/receipts/macbook-001/r_1/").status_code == 404
    assert Browser().get("/receipts/macbook-001/r_1/").status_code == 302


@pytest.mark.parametrize("path", ["macbook-001/r_none/", "nobody/r_1/", "UPPER/r_1/", "macbook-001/a%00b/"])
def test_what_does_not_exist_is_404(operator: Browser, node: Node, path: str) -> None:
    ReceiptFactory(node=node, request_id="r_1")
    assert operator.get(f"/receipts/{path}").status_code == 404


def test_a_payload_full_of_markup_is_escaped(operator: Browser, node: Node) -> None:
    ReceiptFactory(
        node=node,
        request_id="r_1",
        model_id="<img src=x onerror=alert(1)>",
        note="</code><script>alert(1)</script>",
    )
    for path in ("/receipts/macbook-001/r_1/", "/receipts/", "/nodes/macbook-001/?tab=receipts"):
        page = text_of(operator.get(path))
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    assert "&lt;script&gt;alert" in text_of(operator.get("/receipts/macbook-001/r_1/"))


def test_a_hedged_request_shows_the_other_receipts_that_the_reader_may_see(
    operator: Browser, node: Node, org: Org
) -> None:
    ReceiptFactory(node=node, request_id="r_1", hedged=True)
    ReceiptFactory(node=NodeFactory.create(id="gpu-1", org=org), request_id="r_1", hedged=True)
    ReceiptFactory(node=NodeFactory.create(id="rival-1"), request_id="r_1", hedged=True)
    page = text_of(operator.get("/receipts/macbook-001/r_1/"))
    assert 'href="/receipts/gpu-1/r_1/"' in page
    assert "rival-1" not in page
    admin = Browser().hold_session(make_user(Role.ADMIN))
    assert 'href="/receipts/rival-1/r_1/"' in text_of(admin.get("/receipts/macbook-001/r_1/"))


def test_the_drawer_is_a_fragment_of_the_same_url(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node, request_id="r_1")
    asked = {"HX-Request": "true", "HX-Target": "drawer-body"}
    part = text_of(operator.get("/receipts/macbook-001/r_1/", headers=asked))
    assert "<html" not in part
    assert 'id="drawer-title"' in part
    assert 'id="receipt-json"' in part


def test_the_download_is_the_exact_bytes(operator: Browser, node: Node) -> None:
    receipt = ReceiptFactory(node=node, request_id="r_1")
    answer = operator.get("/v1/receipts/macbook-001/r_1/raw")
    assert answer.content == bytes(receipt.raw)
    assert answer["Content-Disposition"].startswith("attachment;")
