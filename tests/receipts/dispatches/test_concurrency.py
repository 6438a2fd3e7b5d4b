"""What the database settles between batches of gateways that come at the same moment."""

import time

import orjson
import pytest
from django.test import override_settings

from receipts.models import Dispatch, DispatchConflict, DispatchWinner
from tests.factories import GatewayFactory
from tests.machines import SignedSender
from tests.receipts.test_concurrency import post_together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("both_adapters")]
UNLIMITED = {"gateway": "100000/second", "address": "100000/second"}


@override_settings(RATE_LIMITS=UNLIMITED)
def test_overlapping_batches_in_opposite_order_store_each_dispatch_once() -> None:
    gateways = [GatewayFactory.create() for _ in range(2)]
    now = int(time.time())
    said: list[dict[str, object]] = [
        {"request_id": f"r_{number:03d}", "node_id": f"n-{number % 7}", "model_id": "qwen3", "ts": now}
        for number in range(200)
    ]
    said += [{"request_id": f"r_{number:03d}", "winner": f"n-{number % 7}"} for number in range(200)]
    machines, bodies = [], []
    for gateway in gateways:
        for ordered in (said, said[::-1], said[100:] + said[:100]):
            machines.append(SignedSender.gateway(gateway))
            bodies.append(orjson.dumps({"dispatches": ordered}))
    answers = post_together(machines, bodies, "/v1/dispatches")
    statuses = [result["status"] for answer in answers for result in answer.json()["results"]]
    assert (statuses.count(201), statuses.count(200)) == (400, 5 * 400)
    assert (Dispatch.objects.count(), DispatchWinner.objects.count()) == (200, 200)
    assert not DispatchConflict.objects.exists()


@override_settings(RATE_LIMITS=UNLIMITED)
def test_of_many_contradictory_statements_one_stands_and_the_others_are_told() -> None:
    gateway, now = GatewayFactory.create(), int(time.time())
    bodies = [
        orjson.dumps(
            {
                "dispatches": [
                    {"request_id": "r_1", "node_id": "n", "model_id": "m", "ts": now, "max_tokens": number},
                    {"request_id": "r_1", "winner": f"n-{number}"},
                ]
            }
        )
        for number in range(16)
    ]
    answers = post_together([SignedSender.gateway(gateway) for _ in bodies], bodies, "/v1/dispatches")
    for place, standing in (
        (0, Dispatch.objects.get().max_tokens),
        (1, DispatchWinner.objects.get().node_id),
    ):
        statuses = [answer.json()["results"][place]["status"] for answer in answers]
        assert sorted(statuses) == [201] + [409] * 15
        assert standing in (statuses.index(201), f"n-{statuses.index(201)}")
    assert {flagged.times for flagged in DispatchConflict.objects.all()} == {15}
