"""Where earnings say whether receipts are paid: the list, the page, the drawer and the API."""

from collections.abc import Iterator, Mapping, Sequence

import pytest
from django.test import Client

from jatevo.accounts.models import Org, User
from jatevo.web.templatetags.tones import Tone
from nodes.models import Node
from receipts import slots
from receipts.models import Receipt
from receipts.slots import PaymentState
from tests.accounts.browser import Browser
from tests.factories import NodeFactory, ReceiptFactory, UserFactory
from tests.machines import bearer

pytestmark = pytest.mark.django_db

HELD = PaymentState("held", "Held", Tone.WARN, "It came 20 minutes late.", "/earnings/r_1/", "late")


class Source:
    """A source of verdicts that counts how often it is asked. It knows the receipts of `r_1` only."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, receipts: Sequence[Receipt]) -> Mapping[int, PaymentState]:
        self.calls.append(len(receipts))
        return {receipt.id: HELD for receipt in receipts if receipt.request_id == "r_1"}


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    monkeypatch.setattr(slots, "_sources", [])
    made = Source()
    slots.register_payment(made)
    yield made


@pytest.fixture
def node(org: Org) -> Node:
    made: Node = NodeFactory.create(id="macbook-001", org=org)
    return made


def text_of(answer: object) -> str:
    return answer.content.decode()  # type: ignore[attr-defined]


def test_without_a_source_nothing_is_judged(
    operator: Browser, node: Node, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_sources", [])
    ReceiptFactory(node=node, request_id="r_1")
    assert "Not judged yet" in text_of(operator.get("/receipts/"))
    assert "Not judged yet." in text_of(operator.get("/receipts/macbook-001/r_1/"))
    user = UserFactory.create(org=org)
    (line,) = Client().get("/v1/receipts", headers=bearer(user)).json()["results"]
    assert line["payment"] == {"state": "pending", "rule": None}
    assert "payable" not in line


def test_the_list_asks_once_for_all_of_its_rows(operator: Browser, node: Node, source: Source) -> None:
    for number in range(3):
        ReceiptFactory(node=node, request_id=f"r_{number}")
    page = text_of(operator.get("/receipts/"))
    assert source.calls == [3]
    assert (page.count("It came 20 minutes late."), page.count("Not judged yet")) == (1, 2)


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true", "HX-Target": "drawer-body"}])
def test_the_page_and_the_drawer_give_the_reason_and_a_link(
    operator: Browser, node: Node, org: Org, source: Source, headers: dict[str, str]
) -> None:
    ReceiptFactory(node=node, request_id="r_1", hedged=True)
    ReceiptFactory(node=NodeFactory.create(org=org), request_id="r_1", hedged=True)
    page = text_of(operator.get("/receipts/macbook-001/r_1/", headers=headers))
    assert source.calls == [2]
    assert "It came 20 minutes late." in page
    assert 'href="/earnings/r_1/"' in page
    assert page.count("Held") == 2


def test_the_api_names_the_rule(node: Node, org: Org, source: Source) -> None:
    user: User = UserFactory.create(org=org)
    ReceiptFactory(node=node, request_id="r_1")
    ReceiptFactory(node=node, request_id="r_2")
    lines = Client().get("/v1/receipts", headers=bearer(user)).json()["results"]
    assert source.calls == [2]
    assert {line["request_id"]: line["payment"] for line in lines} == {
        "r_1": {"state": "held", "rule": "late"},
        "r_2": {"state": "pending", "rule": None},
    }
    one = Client().get("/v1/receipts/macbook-001/r_1", headers=bearer(user)).json()
    assert one["payment"] == {"state": "held", "rule": "late"}
