"""/receipts/~refused/ through the front door: who sees what, and the evidence of each."""

import json
import re
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from guardian.shortcuts import assign_perm
from nacl.signing import SigningKey

from jatevo.accounts.models import Org, Role
from jatevo.wire import signing
from jatevo.wire.keys import public_key_text, signature_text
from nodes.actions import move
from nodes.models import Node, NodeKey
from receipts.models import RefusalReason, RefusedReceipt, UnkeptRefusals
from receipts.refused.recording import MOST_BYTES, Refusal, keep
from tests.accounts.browser import Browser, text_of
from tests.accounts.people import make_user
from tests.factories import (
    NodeFactory,
    OrgFactory,
    ReceiptFactory,
    receipt_payload,
    signed_receipt,
    signing_key_of,
)

pytestmark = pytest.mark.django_db
LIST = "/receipts/~refused/"


@pytest.fixture
def admin() -> Browser:
    return Browser().hold_session(make_user(Role.ADMIN))


def refuse(
    node: Node,
    raw: bytes | dict[str, Any],
    reason: RefusalReason = RefusalReason.INVALID,
    *,
    days_ago: float = 0,
    detail: str = "hedged must be true or false",
) -> RefusedReceipt:
    """A refused receipt of the node, as acceptance keeps it."""
    posted = raw if isinstance(raw, bytes) else orjson.dumps(raw)
    request_id = raw["request_id"] if isinstance(raw, dict) else ""
    at = timezone.now() - timedelta(days=days_ago)
    keep(node.pk, [Refusal(reason, posted, request_id, detail)], at=at)
    return RefusedReceipt.objects.get(node=node, received_at=at)


def url_of(refused: RefusedReceipt) -> str:
    return f"{LIST}{refused.pk}/"


def words_of(page: str) -> str:
    """The text of the page without tags, with single spaces."""
    return " ".join(re.sub(r"<[^>]*>", " ", page.replace("&quot;", '"')).split())


def test_an_operator_sees_those_of_the_orgs_nodes_and_an_admin_all(
    operator: Browser, admin: Browser, node: Node
) -> None:
    mine = refuse(node, signed_receipt(node.pk, request_id="r_mine"))
    rival = NodeFactory.create(id="rival-1")
    theirs = refuse(rival, signed_receipt("rival-1", request_id="r_rival"))
    page = text_of(operator.get(LIST))
    assert "r_mine" in page
    assert "r_rival" not in page
    assert "rival-1" not in page
    for path in (url_of(theirs), f"{url_of(theirs)}raw/"):
        assert operator.get(path).status_code == 404
    assert operator.get(url_of(mine)).status_code == 200
    page = text_of(admin.get(LIST))
    assert "r_mine" in page
    assert "r_rival" in page
    assert admin.get(url_of(theirs)).status_code == 200


def test_viewers_and_strangers_see_none_even_of_a_node_granted_to_them(node: Node) -> None:
    refused = refuse(node, signed_receipt(node.pk))
    viewer = make_user(Role.VIEWER)
    Node.objects.update(shared=True)
    assign_perm("nodes.view_node", viewer, node)
    browser = Browser().hold_session(viewer)
    for path in (LIST, url_of(refused), f"{url_of(refused)}raw/"):
        assert browser.get(path).status_code == 403
        assert Browser().get(path).status_code == 302
    assert LIST not in text_of(browser.get("/receipts/"))


def test_what_a_node_did_for_its_former_organisation_stays_with_that(
    operator: Browser, admin: Browser, node: Node, org: Org
) -> None:
    refused = refuse(node, signed_receipt(node.pk))
    buyer = OrgFactory.create()
    move(node=node, org=buyer, by=make_user(Role.ADMIN, email="mover@example.org"), at=timezone.now())
    buyers = Browser().hold_session(make_user(Role.OPERATOR, org=buyer, email="buyer@example.org"))
    for browser in (operator, buyers):
        assert browser.get(url_of(refused)).status_code == 404
        assert str(refused.pk) not in text_of(browser.get(LIST))
    assert admin.get(url_of(refused)).status_code == 200


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"r_a", "r_b", "r_c"}),
        ("node=gpu-1", {"r_c"}),
        ("reason=receipt_conflict", {"r_b", "r_c"}),
        ("reason=receipt_conflict&node=macbook-001", {"r_b"}),
        ("reason=nonsense", set()),
        ("node=%00", set()),
        ("cursor=nonsense", {"r_a", "r_b", "r_c"}),
    ],
)
def test_the_search_narrows_the_list(
    operator: Browser, node: Node, org: Org, query: str, expected: set[str]
) -> None:
    gpu = NodeFactory.create(id="gpu-1", org=org)
    refuse(node, signed_receipt(node.pk, request_id="r_a"))
    refuse(node, signed_receipt(node.pk, request_id="r_b"), RefusalReason.CONFLICT)
    refuse(gpu, signed_receipt("gpu-1", request_id="r_c"), RefusalReason.CONFLICT)
    page = text_of(operator.get(f"{LIST}?{query}"))
    assert {each for each in ("r_a", "r_b", "r_c") if f">{each}</a>" in page} == expected
    assert ("No matching refused receipts" in page) == (not expected)


def test_a_misspelt_filter_is_said_and_finds_nothing(operator: Browser, node: Node) -> None:
    refuse(node, {"request_id": "r_anything"})
    page = text_of(operator.get(f"{LIST}?reasn=invalid"))
    assert "reasn: unknown parameter. Did you mean reason?" in page
    assert "No matching refused receipts" in page
    assert "r_anything" not in page
    assert "r_anything" in text_of(operator.get(f"{LIST}?reason=&node="))


def test_pages_meet_without_gap_or_overlap_and_cost_the_same(operator: Browser, node: Node) -> None:
    at = timezone.now()
    refusals = [Refusal(RefusalReason.INVALID, b"%d" % n, f"r_{n:03}", "x") for n in range(60)]
    keep(node.pk, refusals[:40], at=at)
    keep(node.pk, refusals[40:], at=at - timedelta(seconds=1))
    seen: list[str] = []
    url, costs = LIST, set()
    for _ in range(3):
        with CaptureQueriesContext(connection) as queries:
            page = text_of(operator.get(url))
        costs.add(len(queries))
        rows = re.findall(r">(r_\d{3})</a>", page)
        assert not set(rows) & set(seen)
        seen += rows
        if 'rel="next" href="' in page:
            url = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert len(seen) == 60
    assert set(seen[:40]) == {f"r_{n:03}" for n in range(40)}
    assert len(costs) == 1


def test_the_receipts_page_links_there_with_the_number_of_the_last_7_days(
    operator: Browser, node: Node
) -> None:
    for days_ago in (0, 6.9, 7.1):
        refuse(node, b"%d" % (days_ago * 10), days_ago=days_ago)
    refuse(NodeFactory.create(), b"{}")
    page = text_of(operator.get("/receipts/"))
    assert f'href="{LIST}"' in page
    assert "Refused 2 in the last 7 days" in words_of(page)
    polled = text_of(operator.get("/receipts/", headers={"HX-Request": "true", "HX-Target": "receipts-list"}))
    assert LIST not in polled


def test_what_was_not_kept_is_said(operator: Browser, node: Node) -> None:
    for owner, count in ((node, 1200), (NodeFactory.create(), 7)):
        UnkeptRefusals.objects.create(
            node_id=owner.pk,
            org_id=owner.org_id,
            day=timezone.now().date(),
            reason=RefusalReason.INVALID,
            count=count,
        )
    assert "1,200 more posts of the last 7 days were refused and only counted" in words_of(
        text_of(operator.get(LIST))
    )


def test_a_forged_receipt_shows_each_key_that_was_tried(operator: Browser, node: Node) -> None:
    changed = timezone.now()
    node.keys.update(valid_to=changed)
    fresh = bytes(SigningKey.generate().verify_key)
    NodeKey.objects.create(node=node, public_key=fresh, valid_from=changed, added_by="test")
    forged = signing.sign(receipt_payload(node.pk), SigningKey.generate())
    page = words_of(text_of(operator.get(url_of(refuse(node, forged, RefusalReason.FORGED)))))
    assert "No key of the node, current or former, signed this receipt" in page
    assert page.count("Does not verify") == 2
    for key in (fresh, bytes(signing_key_of(node.pk).verify_key)):
        assert public_key_text(key) in page
    assert "Signed in another form" not in page


def test_a_key_that_was_added_after_the_refusal_is_marked(operator: Browser, node: Node) -> None:
    later = SigningKey.generate()
    refused = refuse(node, signing.sign(receipt_payload(node.pk), later), RefusalReason.FORGED)
    at = refused.received_at + timedelta(seconds=1)
    node.keys.update(valid_to=at)
    NodeKey.objects.create(node=node, public_key=bytes(later.verify_key), valid_from=at, added_by="test")
    page = words_of(text_of(operator.get(url_of(refused))))
    assert page.count("after the refusal") == 1
    assert page.count("Verifies") == 1
    assert page.count("Does not verify") == 1


def test_a_signature_over_the_wrong_form_is_recognised(operator: Browser, node: Node) -> None:
    payload = receipt_payload(node.pk)
    signature = signing_key_of(node.pk).sign(json.dumps(payload).encode()).signature
    refused = refuse(node, payload | {"signature": signature_text(signature)}, RefusalReason.FORGED)
    page = words_of(text_of(operator.get(url_of(refused))))
    assert "own key signed JSON in the posted order of members, with a space after each comma" in page


def test_a_conflict_shows_what_differs_from_the_accepted_receipt(operator: Browser, node: Node) -> None:
    ReceiptFactory(node=node, request_id="r_1", tokens_output=92)
    refused = refuse(
        node, signed_receipt(node.pk, request_id="r_1", tokens_output=93), RefusalReason.CONFLICT
    )
    html = text_of(operator.get(url_of(refused)))
    page = words_of(html)
    assert 'href="/receipts/macbook-001/r_1/"' in html
    assert "tokens_output 93 92" in page
    assert "First difference at byte" in page


def test_the_first_differing_byte_against_the_canonical_form_is_shown(operator: Browser, node: Node) -> None:
    refused = refuse(node, b'{"b":1, "a":2.0,"signature":"x"}')
    page = words_of(text_of(operator.get(url_of(refused))))
    assert "First difference at byte 2 (the first is 0). The members are in another order" in page
    assert 'here the posted receipt has "b", the canonical form "a"' in page
    assert "0x62" in page
    assert "0x61" in page
    assert "7B 22 62 22 3A 31" in page
    refused = refuse(node, b'{"a":2,"signature":"x"}', days_ago=1)
    assert words_of(text_of(operator.get(url_of(refused)))).count("The same, byte by byte.") == 2


def test_a_receipt_that_is_no_object_is_shown_as_it_is(operator: Browser, node: Node) -> None:
    page = words_of(text_of(operator.get(url_of(refuse(node, b"7", detail="body must be a JSON object")))))
    assert "no request ID" in page
    assert "body must be a JSON object" in page


def test_of_a_giant_only_the_beginning_is_shown_and_said_so(operator: Browser, node: Node) -> None:
    refused = refuse(node, b'{"a":"' + b"x" * MOST_BYTES + b'"}')
    page = words_of(text_of(operator.get(url_of(refused))))
    assert "65,544 bytes, of which the first 65,536 are kept" in page
    assert "Only the beginning of this receipt is kept" in page


def test_what_has_no_canonical_form_says_so(operator: Browser, node: Node) -> None:
    refused = refuse(node, b"x")
    RefusedReceipt.objects.filter(pk=refused.pk).update(raw=b'{"a":1,"a":2}', size_bytes=13)
    assert "names a member twice" in words_of(text_of(operator.get(url_of(refused))))


def test_the_download_is_the_exact_bytes(operator: Browser, node: Node) -> None:
    raw = b' {"hedged" : 1}\n'
    answer = operator.get(f"{url_of(refuse(node, raw))}raw/")
    assert answer.content == raw
    assert answer["Content-Disposition"].startswith('attachment; filename="refused_')
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_hostile_text_is_escaped(operator: Browser, node: Node) -> None:
    name = "<script>alert(1)</script>\u202e"
    ReceiptFactory(node=node, request_id="r_1")
    refused = refuse(
        node,
        {"request_id": name, name: name, "signature": name},
        detail="request_id is wrong",
    )
    for path in (LIST, url_of(refused)):
        page = text_of(operator.get(path))
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("path", ["nonsense/", "00000000-0000-4000-8000-000000000000/", "%00/"])
def test_what_does_not_exist_is_404(operator: Browser, path: str) -> None:
    assert operator.get(f"{LIST}{path}").status_code == 404
