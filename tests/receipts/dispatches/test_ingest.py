"""POST /v1/dispatches through the front door."""

import time
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from receipts.models import Dispatch, DispatchConflict, DispatchWinner, Gateway, UnjudgedRequest
from tests.factories import GatewayFactory, NodeFactory, ValidatorFactory
from tests.machines import Answer, SignedSender

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("both_adapters")]
URL = "/v1/dispatches"


@pytest.fixture
def gateway() -> Gateway:
    made: Gateway = GatewayFactory.create(id="gw-1")
    return made


@pytest.fixture
def machine(gateway: Gateway) -> SignedSender:
    return SignedSender.gateway(gateway)


def dispatch(**changes: Any) -> dict[str, Any]:
    return {
        "request_id": "r_1",
        "node_id": "macbook-001",
        "model_id": "llama3.1-8b",
        "ts": 1_790_000_000.25,
        "hedged": True,
        "tokens_input": 128,
        "max_tokens": 512,
        **changes,
    }


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dispatches above are of now."""
    at = datetime.fromtimestamp(1_790_000_001, UTC)
    monkeypatch.setattr("receipts.dispatches.posting.timezone.now", lambda: at)


def statuses(answer: Answer) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [result["status"] for result in answer.json()["results"]]


def test_dispatch_is_kept_as_the_gateway_said_it(machine: SignedSender, gateway: Gateway) -> None:
    answer = machine.send(URL, {"dispatches": [dispatch(model_id="Llama3.1-8B:latest")]})
    assert answer.status_code == 200
    assert answer.json() == {"results": [{"request_id": "r_1", "status": 201}]}
    row = Dispatch.objects.get()
    assert (row.gateway_id, row.request_id, row.node_id) == ("gw-1", "r_1", "macbook-001")
    assert (row.model, row.model_id) == ("llama3.1-8b", "Llama3.1-8B:latest")
    assert row.ts == datetime.fromtimestamp(1_790_000_000.25, UTC)
    assert (row.hedged, row.tokens_input, row.max_tokens) == (True, 128, 512)
    assert row.received_at == datetime.fromtimestamp(1_790_000_001, UTC)
    gateway.refresh_from_db()
    assert gateway.last_seen_at == row.received_at


def test_optional_members_may_be_left_out_and_the_node_may_be_unknown(machine: SignedSender) -> None:
    short = {"request_id": "r_1", "node_id": "nobody-yet", "model_id": "qwen3", "ts": 1_790_000_000}
    assert statuses(machine.send(URL, {"dispatches": [short]})) == [201]
    row = Dispatch.objects.get()
    assert (row.hedged, row.tokens_input, row.max_tokens) == (False, None, None)
    assert not NodeFactory._meta.model.objects.exists()


def test_repeats_are_answered_200_and_change_nothing(machine: SignedSender) -> None:
    batch = {"dispatches": [dispatch(), {"request_id": "r_1", "winner": "macbook-001"}]}
    assert statuses(machine.send(URL, batch)) == [201, 201]
    before = list(Dispatch.objects.values())
    assert statuses(machine.send(URL, batch)) == [200, 200]
    again = dispatch(model_id="LLAMA3.1-8b:latest", ts=1_790_000_000.25)
    assert statuses(machine.send(URL, {"dispatches": [again, again]})) == [200, 200]
    assert list(Dispatch.objects.values()) == before
    assert not DispatchConflict.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": "llama3.1-70b"},
        {"ts": 1_790_000_000},
        {"hedged": False},
        {"tokens_input": 129},
        {"tokens_input": None},
        {"max_tokens": 513},
    ],
    ids=str,
)
def test_contradiction_is_409_and_flagged_and_the_first_statement_stands(
    machine: SignedSender, change: dict[str, Any]
) -> None:
    machine.send(URL, {"dispatches": [dispatch()]})
    (result,) = machine.send(URL, {"dispatches": [dispatch(**change)]}).json()["results"]
    assert (result["status"], result["error"]["type"]) == (409, "dispatch_conflict")
    row = Dispatch.objects.get()
    assert (row.model, row.ts.timestamp(), row.hedged) == ("llama3.1-8b", 1_790_000_000.25, True)
    assert (row.tokens_input, row.max_tokens) == (128, 512)
    flagged = DispatchConflict.objects.get()
    assert (flagged.gateway_id, flagged.request_id, flagged.node_id) == ("gw-1", "r_1", "macbook-001")
    assert flagged.before != flagged.now
    assert flagged.before["gateway"] == "gw-1"


def test_contradictions_are_counted_and_do_not_fill_the_table(machine: SignedSender) -> None:
    machine.send(URL, {"dispatches": [dispatch()]})
    for count in (3, 4):
        batch = [dispatch(max_tokens=count * 10 + number) for number in range(count)]
        assert statuses(machine.send(URL, {"dispatches": batch})) == [409] * count
    flagged = DispatchConflict.objects.get()
    assert (flagged.times, flagged.now["max_tokens"]) == (7, 43)


def test_another_gateway_contradicts_under_its_own_name(machine: SignedSender) -> None:
    machine.send(URL, {"dispatches": [dispatch()]})
    other = SignedSender.gateway(GatewayFactory.create(id="gw-2"))
    assert statuses(other.send(URL, {"dispatches": [dispatch(), dispatch(hedged=False)]})) == [200, 409]
    assert (DispatchConflict.objects.get().gateway_id, Dispatch.objects.get().gateway_id) == ("gw-2", "gw-1")


def test_one_request_may_go_to_several_nodes_and_has_one_winner(machine: SignedSender) -> None:
    batch = [dispatch(node_id="a"), dispatch(node_id="b"), {"request_id": "r_1", "winner": "b"}]
    assert statuses(machine.send(URL, {"dispatches": batch})) == [201, 201, 201]
    won = [{"request_id": "r_1", "winner": "a"}, {"request_id": "r_1", "winner": "b"}]
    assert statuses(machine.send(URL, {"dispatches": won})) == [409, 200]
    winner = DispatchWinner.objects.get()
    assert (winner.request_id, winner.node_id, winner.gateway_id) == ("r_1", "b", "gw-1")
    flagged = DispatchConflict.objects.get()
    assert (flagged.node_id, flagged.before, flagged.now) == (
        "",
        {"gateway": "gw-1", "winner": "b"},
        {"winner": "a"},
    )


def test_a_single_statement_may_be_the_body(machine: SignedSender) -> None:
    assert statuses(machine.send(URL, dispatch())) == [201]
    assert statuses(machine.send(URL, {"request_id": "r_1", "winner": "macbook-001"})) == [201]
    refused = machine.send(URL, dispatch(hedged=False))
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "dispatch_conflict")
    refused = machine.send(URL, dispatch(node_id="UPPER"))
    assert (refused.status_code, refused.json()["error"]["details"][0]["field"]) == (422, "node_id")


BAD_ITEMS: list[tuple[Any, str]] = [
    (dispatch(request_id="a b"), "request_id"),
    (dispatch(request_id=".."), "request_id"),
    (dispatch(request_id="x" * 129), "request_id"),
    (dispatch(node_id="Mac"), "node_id"),
    (dispatch(node_id="x" * 65), "node_id"),
    (dispatch(model_id=""), "model_id"),
    (dispatch(model_id=" llama"), "model_id"),
    (dispatch(model_id="lla\u202ema"), "model_id"),
    (dispatch(model_id="x" * 129), "model_id"),
    (dispatch(ts="now"), "ts"),
    (dispatch(ts=1_790_000_302), "ts"),
    (dispatch(ts=1_790_000_000 - 8 * 86_400), "ts"),
    (dispatch(ts=-1), "ts"),
    (dispatch(hedged=1), "hedged"),
    (dispatch(tokens_input=-1), "tokens_input"),
    (dispatch(tokens_input=1.5), "tokens_input"),
    (dispatch(max_tokens=100_000_001), "max_tokens"),
    ({"request_id": "r_1", "winner": "UPPER"}, "winner"),
    ({"request_id": "r_1", "winner": None}, "winner"),
    (dispatch(winner="macbook-001"), "body"),
    ({"winner": "macbook-001"}, "request_id"),
    ({}, "request_id"),
    ("r_1", "body"),
    (None, "body"),
    ([dispatch()], "body"),
]


@pytest.mark.parametrize(("bad", "field"), BAD_ITEMS)
def test_bad_item_is_refused_alone_with_its_field(machine: SignedSender, bad: Any, field: str) -> None:
    good = [dispatch(request_id="r_before"), dispatch(request_id="r_after")]
    answer = machine.send(URL, {"dispatches": [good[0], bad, good[1]]})
    assert statuses(answer) == [201, 422, 201]
    error = answer.json()["results"][1]["error"]
    assert error["type"] == "invalid_request"
    assert error["details"][0]["field"].split(".")[0] == field
    assert Dispatch.objects.count() == 2


@pytest.mark.parametrize(
    "body",
    [{}, {"dispatches": []}, {"dispatches": None}, {"dispatches": {}}, {"dispatches": [dispatch()] * 1001}],
    ids=lambda body: str(body)[:40],
)
def test_body_that_is_no_batch_is_refused(machine: SignedSender, body: Any) -> None:
    answer = machine.send(URL, body)
    assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (422, "dispatches")
    assert not Dispatch.objects.exists()


def test_full_batch_of_1000_is_one_statement(machine: SignedSender, gateway: Gateway) -> None:
    batch = [dispatch(request_id=f"r_{number:04d}") for number in range(1000)]
    with CaptureQueriesContext(connection) as caught:
        assert set(statuses(machine.send(URL, {"dispatches": batch}))) == {201}
    assert Dispatch.objects.count() == 1000
    written = [query["sql"] for query in caught if "receipts_dispatch" in query["sql"]]
    assert len(written) == 1
    assert len(caught) == 2, "one more, for the gateway's credentials"


def test_body_over_2_mib_is_refused_and_one_over_256_kib_is_not(machine: SignedSender) -> None:
    large = {"dispatches": [dispatch(request_id=f"r_{number}", note="x" * 400) for number in range(1000)]}
    assert set(statuses(machine.send(URL, large))) == {201}
    answer = machine.send(URL, b" " * (2 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "too_large")


def test_without_credentials_or_with_anothers_nothing_is_taken(
    machine: SignedSender, gateway: Gateway
) -> None:
    body = {"dispatches": [dispatch()]}
    answer = Client().post(URL, body, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "unauthenticated")
    node, validator = NodeFactory.create(id="gw-1"), ValidatorFactory.create(id="gw-1")
    for stranger in (SignedSender.node(node), SignedSender.validator(validator)):
        assert stranger.send(URL, body).json()["error"]["type"] == "unauthenticated"
        stranger.header = "X-Gateway-Id"
        assert stranger.send(URL, body).json()["error"]["type"] == "invalid_token"
    unknown = SignedSender("X-Gateway-Id", "gw-9", machine.secret)
    assert unknown.send(URL, body).json()["error"]["type"] == "invalid_token"
    assert machine.send(URL, body, at=time.time() - 400).json()["error"]["type"] == "clock_skew"
    tampered = machine.headers(b'{"dispatches":[]}')
    assert machine.send(URL, body, headers=tampered).json()["error"]["type"] == "invalid_token"
    assert not Dispatch.objects.exists()
    gateway.refresh_from_db()
    assert gateway.last_seen_at is None


def test_gateway_that_was_dismissed_or_got_a_new_token_is_refused(
    machine: SignedSender, gateway: Gateway
) -> None:
    Gateway.objects.update(token_version=2)
    assert machine.send(URL, {"dispatches": [dispatch()]}).status_code == 401
    Gateway.objects.update(token_version=1, is_active=False)
    assert machine.send(URL, {"dispatches": [dispatch()]}).status_code == 401
    assert not Dispatch.objects.exists()


def test_replay_is_refused_and_a_message_that_failed_here_may_come_again(machine: SignedSender) -> None:
    body = {"dispatches": [dispatch()]}
    with mock.patch("receipts.dispatches.posting.record", side_effect=OperationalError("down")):
        assert machine.send(URL, body, message_id="msg_1").status_code == 503
    assert statuses(machine.send(URL, body, message_id="msg_1")) == [201]
    answer = machine.send(URL, body, message_id="msg_1")
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "replayed_request")


def test_gateways_have_a_limit_of_their_own(machine: SignedSender, settings: Settings) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "gateway": "1/day"}
    assert machine.send(URL, {"dispatches": [dispatch()]}).status_code == 200
    answer = machine.send(URL, {"dispatches": [dispatch()]})
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limited")
    assert int(answer["Retry-After"]) > 0
    other = SignedSender.gateway(GatewayFactory.create())
    assert other.send(URL, {"dispatches": [dispatch()]}).status_code == 200


def test_what_is_new_is_queued_for_earnings_once(machine: SignedSender) -> None:
    batch = {"dispatches": [dispatch(), {"request_id": "r_1", "winner": "macbook-001"}]}
    machine.send(URL, batch)
    assert list(UnjudgedRequest.objects.values_list("request_id", flat=True)) == ["r_1", "r_1"]
    machine.send(URL, batch)
    assert UnjudgedRequest.objects.count() == 2
