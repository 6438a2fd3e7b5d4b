"""GET /v1/receipts and below: filters, pages, aggregates, verification, and who sees what."""

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from guardian.shortcuts import assign_perm
from rest_framework.serializers import ModelSerializer

from jatevo.accounts.models import Role, User
from nodes.actions import move
from nodes.models import Node, NodeKey
from receipts.models import Receipt, find_receipt
from receipts.serializers import ReceiptLine
from receipts.slots import payments
from receipts.verify import verify
from tests.accounts.browser import Browser
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory, UserFactory
from tests.machines import Answer, bearer

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> User:
    return UserFactory.create()


@pytest.fixture
def node(operator: User) -> Node:
    return NodeFactory.create(org=operator.org)


def get(user: User | None, path: str = "/v1/receipts", **query: Any) -> Answer:
    return Client().get(path, query, headers=bearer(user) if user else {})


def ids(answer: Answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [line["request_id"] for line in answer.json()["results"]]


def test_newest_first_and_pages_neither_skip_nor_repeat(operator: User, node: Node) -> None:
    start = timezone.now()
    for number in range(7):
        ReceiptFactory(node=node, at=start - timedelta(seconds=number // 2), request_id=f"r_{number}")
    seen: list[str] = []
    cursor = None
    while True:
        page = get(operator, limit=3, **({"cursor": cursor} if cursor else {}))
        seen += ids(page)
        cursor = page.json()["next"]
        if cursor is None:
            break
        ReceiptFactory(node=node, at=start + timedelta(seconds=len(seen)))
    assert sorted(seen) == [f"r_{number}" for number in range(7)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"model_id": "qwen"}, {"r_qwen"}),
        ({"model_id": "QWEN:latest"}, {"r_qwen"}),
        ({"region": "us-east"}, {"r_us"}),
        ({"hedged": "true"}, {"r_hedged"}),
        ({"request_id": "r_us"}, {"r_us"}),
        ({"hedged": "false", "region": "ap-southeast"}, {"r_qwen", "r_old"}),
        ({"to": "-1h"}, {"r_old"}),
        ({"from": "-1h", "hedged": "false"}, {"r_qwen", "r_us"}),
        ({"cache_hit": "false"}, {"r_qwen"}),
        ({"outcome": "error"}, {"r_us"}),
        ({"outcome": "cancelled"}, {"r_hedged"}),
        ({"outcome": "ok"}, {"r_qwen", "r_old"}),
        ({"outcome": "ok", "cache_hit": "true"}, {"r_old"}),
        ({"key": "former"}, {"r_old"}),
        ({"key": "current"}, {"r_us", "r_hedged"}),
        ({"payment": "pending"}, {"r_qwen", "r_us", "r_hedged", "r_old"}),
        ({"payment": "payable"}, set()),
        ({"sha256": "of r_us"}, {"r_us"}),
        ({"sha256": "OF R_US"}, {"r_us"}),
        ({"sha256": "of r_us", "region": "ap-southeast"}, set()),
        ({"sha256": "ab" * 32}, set()),
    ],
)
def test_filters(operator: User, node: Node, query: dict[str, str], expected: set[str]) -> None:
    hour_ago = (timezone.now() - timedelta(hours=1)).isoformat()
    ReceiptFactory(node=node, request_id="r_qwen", model_id="Qwen", cache_hit=False)
    us = ReceiptFactory(node=node, request_id="r_us", region="us-east", outcome="error")
    ReceiptFactory(node=node, request_id="r_hedged", hedged=True, outcome="cancelled")
    ReceiptFactory(node=node, request_id="r_old", at=timezone.now() - timedelta(hours=2), outcome="ok")
    Receipt.objects.filter(request_id="r_qwen").update(key_since=None)  # from before it was recorded
    Receipt.objects.filter(request_id="r_old").update(key_until=timezone.now())
    digest = bytes(us.sha256).hex()
    asked = {"-1h": hour_ago, "of r_us": digest, "OF R_US": digest.upper()}
    query = {name: asked.get(value, value) for name, value in query.items()}
    answer = get(operator, **query)
    assert set(ids(answer)) == expected
    assert answer.json()["aggregates"]["count"] == len(expected)


def test_aggregates_are_about_the_whole_selection_and_not_the_page(operator: User, node: Node) -> None:
    ReceiptFactory(node=node, cache_hit=True, tokens_input=10, tokens_output=1, p95_ms=100)
    ReceiptFactory(node=node, cache_hit=False, tokens_input=20, tokens_output=2, p95_ms=200, outcome="error")
    assert get(operator, limit=1).json()["aggregates"] == {
        "count": 2, "tokens_input": 30, "tokens_output": 3, "cache_hit_rate": 0.5, "failures": 1, "p95_ms": 150.0
    }  # fmt: skip


def test_nothing_found_has_unknown_rates_and_not_zero(operator: User) -> None:
    assert get(operator).json() == {
        "results": [],
        "next": None,
        "aggregates": {
            "count": 0, "tokens_input": 0, "tokens_output": 0, "cache_hit_rate": None, "failures": 0, "p95_ms": None
        },
    }  # fmt: skip


def test_cookie_login_reads_receipts_too(operator: User, node: Node) -> None:
    receipt = ReceiptFactory(node=node)
    browser = Browser().hold_session(operator)
    assert ids(browser.get("/v1/receipts")) == [receipt.request_id]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "00000000199999999999999999999"}, {"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"limit": "\uff19"}, {"cursor": "x"}, {"cursor": "W10"},
        {"cursor": "WyJ4IiwxXQ"}, {"from": "yesterday"}, {"from": "20261128"}, {"from": "2026-11-28T00:00:00"}, {"from": "0001-01-01T00:00:00+23:59"}, {"to": "4102444801"}, {"to": "-1"}, {"to": "99999999999999999999"}, {"hedged": "maybe"},
        {"node_id": "a\x00"}, {"request_id": "x" * 200}, {"cache_hit": "1"}, {"outcome": "failed"}, {"payment": "paid"},
        {"key": "any"}, {"sha256": "ab"}, {"sha256": "g" * 64}, {"sha256": "ab" * 33},
    ],
)  # fmt: skip
def test_bad_parameter_is_named(operator: User, query: dict[str, str]) -> None:
    answer = get(operator, **query)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request")
    assert [problem["field"] for problem in answer.json()["error"]["details"]] == list(query)


def test_operator_cannot_see_rival_receipts(operator: User) -> None:
    theirs = ReceiptFactory(node=NodeFactory.create())
    path = f"/v1/receipts/{theirs.node_id}/{theirs.request_id}"
    assert ids(get(operator)) == []
    for each in (path, f"{path}/raw"):
        answer = get(operator, each)
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found")
        assert get(None, each).status_code == 401
    admin = UserFactory.create(role=Role.ADMIN)
    assert ids(get(admin)) == [theirs.request_id]
    assert get(admin, path).status_code == 200
    assert ids(get(UserFactory.create(role=Role.VIEWER))) == []


def test_detail_has_payload_and_a_valid_verification(operator: User, node: Node) -> None:
    receipt = ReceiptFactory(node=node)
    body = get(operator, f"/v1/receipts/{node.pk}/{receipt.request_id}").json()
    assert body["payload"] == receipt.payload
    assert body["verification"]["valid"] is True
    checks = {check["name"]: check["ok"] for check in body["verification"]["checks"]}
    assert checks == dict.fromkeys(["bytes", "json", "fields", "node", "record", "key", "signature"], True)


def test_raw_is_the_exact_bytes_as_a_download(operator: User, node: Node) -> None:
    receipt = ReceiptFactory(node=node)
    answer = get(operator, f"/v1/receipts/{node.pk}/{receipt.request_id}/raw")
    assert answer.content == bytes(receipt.raw)
    assert hashlib.sha256(answer.content).digest() == bytes(receipt.sha256)
    assert answer["Content-Disposition"].startswith("attachment;")


def verification(operator: User, receipt: Receipt) -> dict[str, bool]:
    body = get(operator, f"/v1/receipts/{receipt.node_id}/{receipt.request_id}").json()["verification"]
    assert body["valid"] is False
    return {check["name"]: check["ok"] for check in body["checks"]}


def test_tampered_bytes_are_found_out(operator: User, node: Node) -> None:
    receipt = ReceiptFactory(node=node)
    tampered = bytes(receipt.raw).replace(b'"tokens_output":92', b'"tokens_output":99')
    with connection.cursor() as cursor:
        cursor.execute("UPDATE receipts_receipt SET raw = %s WHERE id = %s", [tampered, receipt.id])
    checks = verification(operator, receipt)
    assert (checks["bytes"], checks["signature"]) == (False, False)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("request_id", "r_another"), ("region", "elsewhere"), ("model_id", "dearer"), ("tokens_output", 10**6),
        ("tokens_input", 10**6), ("p95_ms", 1.0), ("hedged", None), ("cache_hit", None), ("failed", None),
        ("ts_start", timedelta(minutes=-5)), ("ts_end", timedelta(minutes=5)),
    ],
)  # fmt: skip
def test_figure_that_was_not_signed_is_found_out(
    operator: User, node: Node, column: str, value: object
) -> None:
    receipt = ReceiptFactory(node=node)
    stored = getattr(receipt, column)
    if value is None:
        value = not stored
    elif isinstance(value, timedelta):
        value = stored + value
    Receipt.objects.filter(id=receipt.id).update(**{column: value})
    receipt.refresh_from_db()
    failed = [check for check in verify(receipt).checks if not check.ok]
    assert "record" in [check.name for check in failed]
    record = next(check for check in failed if check.name == "record")
    assert record.detail == f"the console's figures differ from it: {column}"
    assert record.compared[1].what == f"{column}, stored"


def test_key_that_is_not_the_nodes_is_found_out(operator: User, node: Node) -> None:
    receipt = ReceiptFactory(node=node)
    NodeKey.objects.filter(node=node).update(public_key=bytes(32))
    checks = verification(operator, receipt)
    assert (checks["signature"], checks["key"]) == (True, False)


def test_who_takes_over_a_node_does_not_see_what_it_did_before(operator: User) -> None:
    admin, seller = UserFactory.create(role=Role.ADMIN), UserFactory.create()
    sold = NodeFactory.create(org=seller.org)
    before = ReceiptFactory(node=sold)
    assert ids(get(seller)) == [before.request_id]
    assert operator.org is not None
    move(node=sold, org=operator.org, by=admin, at=timezone.now())
    after = ReceiptFactory(node=sold)
    assert ids(get(operator)) == [after.request_id]
    assert get(operator, f"/v1/receipts/{sold.pk}/{before.request_id}").status_code == 404
    assert len(ids(get(admin))) == 2


def test_a_line_is_what_its_fields_make(node: Node) -> None:
    for number in range(3):
        receipt = ReceiptFactory(
            node=node, request_id=f"r_{number}", hedged=number == 1, cache_hit=number == 2
        )
        Receipt.objects.filter(id=receipt.id).update(node_status_at_end=["", "active", None][number])
    receipts = list(Receipt.objects.order_by("id"))
    context = {"payments": payments(receipts)}
    line = ReceiptLine(context=context)
    by_fields = [ModelSerializer.to_representation(line, receipt) for receipt in receipts]
    assert json.dumps(ReceiptLine(receipts, many=True, context=context).data) == json.dumps(by_fields)
    assert len(by_fields) == 3


def test_who_may_look_a_receipt_up_is_who_sees_it_in_the_list(operator: User, node: Node) -> None:
    own, other = operator.org, OrgFactory.create()
    elsewhere = NodeFactory.create(org=other, shared=True)
    viewers = [UserFactory.create(role=Role.VIEWER, org=None) for _ in range(2)]
    assign_perm("nodes.view_node", viewers[0], elsewhere)
    gone = UserFactory.create(role=Role.ADMIN, is_active=False)
    people = [
        operator,
        UserFactory.create(org=other),
        UserFactory.create(role=Role.ADMIN),
        gone,
        *viewers,
        None,
    ]
    for number, (of, org) in enumerate(
        (each, org) for each in (node, elsewhere) for org in (own, other, None)
    ):
        receipt = ReceiptFactory(node=of, request_id=f"r_{number}")
        Receipt.objects.filter(id=receipt.id).update(org_id=org.pk if org else None)
    seen = 0
    for person in people:
        for receipt in Receipt.objects.all():
            listed = Receipt.objects.visible_to(person).filter(id=receipt.id).exists()
            found = find_receipt(person, receipt.node_id, receipt.request_id)
            assert (found is not None) == listed, (person, receipt)
            seen += listed
    assert 0 < seen < len(people) * 6
