"""/receipts/<node>/<request>/ through the front door: the evidence, its verification, and who may see it."""

import hashlib
import re
from datetime import timedelta
from html import unescape

import orjson
import pytest
from django.db import connection
from django.utils import timezone
from waffle.testutils import override_switch

from jatevo.accounts.models import Org, Role
from jatevo.flags.registry import Flag
from jatevo.wire import schema
from jatevo.wire.canonical import canonical_bytes
from jatevo.wire.keys import public_key_text
from nodes.models import Node, NodeKey
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory

pytestmark = pytest.mark.django_db

DRAWER = {"HX-Request": "true", "HX-Target": "drawer-body"}
VALID_BADGE = re.compile(r">\s*(Valid|Invalid|Not verified)\s*<")


def test_a_sound_receipt_is_valid_with_all_its_checks(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node, request_id="r_1")
    page = text_of(operator.get("/receipts/macbook-001/r_1/"))
    assert "Valid" in page
    assert "Failed: " not in page
    for label in ("Bytes", "JSON", "Fields", "Node", "Record", "Key", "Signature"):
        assert f"data-check-label>{label}</span>" in page
    assert 'href="/nodes/macbook-001/"' in page
    assert 'href="/v1/receipts/macbook-001/r_1/raw"' in page


def compared(page: str) -> dict[str, str]:
    """What the checks of a page compared, and the values."""
    return {
        unescape(what): unescape(value) for what, value in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page)
    }


def test_each_check_says_what_it_compared(operator: Browser, node: Node) -> None:
    receipt = ReceiptFactory(node=node, request_id="r_1", note="<b>", outcome="ok")
    statement = canonical_bytes(receipt.payload)
    key = public_key_text(bytes(receipt.public_key))
    shown = compared(text_of(operator.get("/receipts/macbook-001/r_1/")))
    digest = bytes(receipt.sha256).hex()
    assert shown == {
        "Computed now": digest,
        "Recorded with the receipt": digest,
        "Recorded with its ID": digest,
        "Read": f"{len(receipt.raw)} bytes",
        "Equal": "11 of 11 columns",
        "Members": str(len(receipt.payload)),
        "Required": f"{len(schema.REQUIRED_MEMBERS)} of {len(schema.REQUIRED_MEMBERS)} present",
        "Optional": "s3_checkpoints, outcome",
        "Other, not checked": "note",
        "ts_end against": f"{receipt.accepted_at:%F %T} UTC, when it was accepted",
        "Named in the JSON": "macbook-001",
        "Posted by": "macbook-001",
        "Key": key,
        "Current": "from 2020-01-01 00:00:00 UTC on",
        "Request ended": f"{receipt.ts_end:%F %T} UTC",
        "Signed bytes": f"{len(statement)} bytes",
        "Their SHA-256": hashlib.sha256(statement).hexdigest(),
        "Signature": receipt.payload["signature"],
        "By the key": key,
    }


def test_a_failed_check_says_which_value_failed(operator: Browser, node: Node) -> None:
    receipt = ReceiptFactory(node=node, request_id="r_1")
    changed = orjson.dumps(
        {**receipt.payload, "node_id": "rival\u202e-1", "region": {"x": 1}, "tokens_output": -5}
    )
    ended = timezone.now() - timedelta(hours=1)
    NodeKey.objects.filter(node=node).update(valid_to=ended)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE receipts_receipt SET raw = %s WHERE request_id = 'r_1'", [changed])
    page = text_of(operator.get("/receipts/macbook-001/r_1/"))
    shown = compared(page)
    assert shown["Computed now"] == hashlib.sha256(changed).hexdigest()
    assert shown["Recorded with the receipt"] == shown["Recorded with its ID"] == bytes(receipt.sha256).hex()
    assert shown["tokens_output"] == "-5"
    assert shown["region"] == '{"x": 1}'
    assert shown["Named in the JSON"] == '"rival\\u202e-1"'
    assert shown["Posted by"] == "macbook-001"
    assert shown["Current"] == f"from 2020-01-01 00:00:00 UTC until {ended:%F %T} UTC"
    assert page.count("Failed: ") == 5  # bytes, fields, node, record, signature


def test_a_receipt_changed_in_the_database_is_invalid_and_says_why(operator: Browser, node: Node) -> None:
    receipt = ReceiptFactory(node=node, request_id="r_1")
    forged = bytes(receipt.raw).replace(b'"tokens_output":92', b'"tokens_output":99')
    assert forged != bytes(receipt.raw)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE receipts_receipt SET raw = %s WHERE request_id = 'r_1'", [forged])
    page = text_of(operator.get("/receipts/macbook-001/r_1/"))
    assert "Invalid" in page
    assert "Failed: the SHA-256 differs" in page
    assert '<span class="text-warn">99</span>' in page


@pytest.mark.parametrize("asked", [{}, DRAWER])
def test_with_the_flag_off_nothing_is_claimed(operator: Browser, node: Node, asked: dict[str, str]) -> None:
    ReceiptFactory(node=node, request_id="r_1")
    shown = text_of(operator.get("/receipts/macbook-001/r_1/", headers=asked))
    assert VALID_BADGE.search(shown)
    assert "Computed now" in shown
    with override_switch(Flag.ENABLE_SIGNATURE_VERIFY.value, active=False):
        page = text_of(operator.get("/receipts/macbook-001/r_1/", headers=asked))
        listed = text_of(operator.get("/receipts/"))
    assert not VALID_BADGE.search(page)
    assert "Computed now" not in page
    assert "own check off." in page
    assert "Verify in this browser" in page
    assert not VALID_BADGE.search(listed)


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
    part = text_of(operator.get("/receipts/macbook-001/r_1/", headers=DRAWER))
    assert "<html" not in part
    assert 'id="drawer-title"' in part
    assert 'id="receipt-json"' in part


@pytest.mark.parametrize("asked", [{}, DRAWER])
def test_a_receipt_over_256_kib_is_offered_as_a_download_only(
    operator: Browser, node: Node, asked: dict[str, str]
) -> None:
    receipt = ReceiptFactory(node=node, request_id="r_1", note="x" * 256 * 1024)
    page = text_of(operator.get("/receipts/macbook-001/r_1/", headers=asked))
    assert "xxxx" not in page
    assert f"{len(receipt.raw):,} bytes as received" in page
    assert "too large to be shown here" in page
    assert 'id="receipt-json"' not in page
    assert 'data-copy-target="receipt-json"' not in page
    assert 'href="/v1/receipts/macbook-001/r_1/raw"' in page
    assert operator.get("/v1/receipts/macbook-001/r_1/raw").content == bytes(receipt.raw)


def test_the_download_is_the_exact_bytes(operator: Browser, node: Node) -> None:
    receipt = ReceiptFactory(node=node, request_id="r_1")
    answer = operator.get("/v1/receipts/macbook-001/r_1/raw")
    assert answer.content == bytes(receipt.raw)
    assert answer["Content-Disposition"].startswith("attachment;")


def test_the_model_leads_to_its_receipts_and_nodes(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node, request_id="r_1", model_id="Llama & Co/3.1:8b")
    ReceiptFactory(node=node, request_id="r_2", model_id="other")
    page = text_of(operator.get("/receipts/macbook-001/r_1/"))
    receipts_url, nodes_url = (
        "/receipts/?model_id=Llama+%26+Co%2F3.1%3A8b",
        "/nodes/?q=Llama+%26+Co%2F3.1%3A8b",
    )
    assert f'href="{receipts_url}"' in page
    assert f'href="{nodes_url}"' in page
    found = text_of(operator.get(receipts_url))
    assert 'href="/receipts/macbook-001/r_1/"' in found
    assert 'href="/receipts/macbook-001/r_2/"' not in found


def test_a_model_too_long_for_the_search_of_nodes_leads_to_its_receipts_only(
    operator: Browser, node: Node
) -> None:
    ReceiptFactory(node=node, request_id="r_1", model_id="m" * 65)
    page = text_of(operator.get("/receipts/macbook-001/r_1/"))
    assert f'href="/receipts/?model_id={"m" * 65}"' in page
    assert "/nodes/?q=" not in page
