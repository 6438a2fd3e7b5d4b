"""What machines ask takes a short way through the middleware. Its answers and metrics are those of the long way."""

import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.conf import settings as configured
from django.test import Client, override_settings
from django.urls import resolve
from django.utils import timezone
from prometheus_client import REGISTRY

from jatevo.web.middleware import INGRESS
from nodes.models import Node, Validator
from nodes.rules.lifecycle import Status
from receipts.models import Gateway
from tests.factories import GatewayFactory, NodeFactory, ValidatorFactory, signed_receipt
from tests.machines import Answer, SignedSender

pytestmark = pytest.mark.django_db

SHORT = "jatevo.web.machine_requests.MachineRequestsMiddleware"
LONG_WAY = [name for name in configured.MIDDLEWARE if name != SHORT]


class Machines:
    """One sender of each kind, and what they post."""

    def __init__(self) -> None:
        self.nodes: list[Node] = [_node(), _node()]
        validator: Validator = ValidatorFactory.create()
        gateway: Gateway = GatewayFactory.create()
        self.node, self.other = map(SignedSender.node, self.nodes)
        self.validator = SignedSender.validator(validator)
        self.gateway = SignedSender.gateway(gateway)

    def connect_anew(self) -> None:
        """With the present middleware, which a client loads once."""
        for machine in (self.node, self.other, self.validator, self.gateway):
            machine.client = Client(raise_request_exception=False)

    def beat(self, **changes: Any) -> dict[str, Any]:
        return {"node_id": self.nodes[0].pk, "ts": time.time(), "metrics": {"uptime": 1}} | changes

    def probe(self, **changes: Any) -> dict[str, Any]:
        return {"node_id": self.nodes[0].pk, "kind": "health", "ok": True, "ts": time.time()} | changes


def _node() -> Node:
    node: Node = NodeFactory.create(status=Status.ACTIVE, reachable=True, reachable_since=timezone.now())
    return node


def _twice(machines: Machines) -> Answer:
    message_id = f"msg_{uuid.uuid4().hex}"
    machines.node.send("/v1/nodes/heartbeat", machines.beat(), message_id=message_id)
    return machines.node.send("/v1/nodes/heartbeat", machines.beat(), message_id=message_id)


def _too_many(machines: Machines) -> Answer:
    machine = SignedSender.node(_node())
    with override_settings(RATE_LIMITS={**configured.RATE_LIMITS, "node": "1/hour"}):
        return [machine.beat(), machine.beat()][-1]


def _crash(machines: Machines) -> Answer:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("nodes.ingress.heartbeats.network_of", lambda _: 1 / 0)
        return machines.node.send("/v1/nodes/heartbeat", machines.beat())


def _foreign_host(machines: Machines) -> Answer:
    return machines.node.send("/v1/nodes/heartbeat", machines.beat(), headers={"Host": "elsewhere.example"})


CASES: dict[str, Callable[[Machines], Answer]] = {
    "heartbeat": lambda m: m.node.send("/v1/nodes/heartbeat", m.beat()),
    "receipt": lambda m: m.node.send("/v1/receipts", signed_receipt(m.nodes[0].pk)),
    "probe": lambda m: m.validator.send("/v1/probes", m.probe()),
    "assignments": lambda m: m.validator.get("/v1/validators/assignments"),
    "assignments, with a query": lambda m: m.validator.get("/v1/validators/assignments?limit=1"),
    "assignments, unsigned": lambda m: m.node.client.get("/v1/validators/assignments"),
    "answer to no challenge": lambda m: m.node.send("/v1/nodes/challenge", {"id": str(uuid.uuid4())}),
    "dispatch": lambda m: m.gateway.send("/v1/dispatches", {"dispatches": []}),
    "registration": lambda m: m.node.client.post("/v1/nodes/register", b"{}", content_type="application/json"),
    "own request id": lambda m: m.node.send(
        "/v1/nodes/heartbeat", m.beat(), headers={"x-request-id": "mine-1"}
    ),
    "cookies": lambda m: m.node.send(
        "/v1/nodes/heartbeat", m.beat(), headers={"Cookie": "jatevo_access=x; jatevo_refresh=y"}
    ),
    "unsigned": lambda m: m.node.client.post("/v1/probes", b"{}", content_type="application/json"),
    "wrong node": lambda m: m.other.send("/v1/nodes/heartbeat", m.beat()),
    "no JSON": lambda m: m.node.send("/v1/receipts", b"{"),
    "wrong field": lambda m: m.validator.send("/v1/probes", m.probe(kind="guess")),
    "large": lambda m: m.node.send("/v1/nodes/heartbeat", b" " * (257 * 1024)),
    "form": lambda m: m.node.client.post("/v1/probes", {"a": "b"}),
    "long address": lambda m: m.node.send("/v1/nodes/heartbeat?" + "x" * 9000, m.beat()),
    "foreign host": _foreign_host,
    "replay": _twice,
    "too many": _too_many,
    "crash": _crash,
}  # fmt: skip
# differ from answer to answer
_OF_THE_ANSWER = {"x-request-id", "retry-after", "content-length"}
_OF_THE_MOMENT = {"server_time", "request_id", "id", "expires_at"}


def answer_without_the_moment(answer: Answer) -> tuple[int, dict[str, str], dict[str, Any]]:
    body = answer.json()
    if "error" in body:
        assert body["error"].pop("request_id") == answer["x-request-id"]
    headers = {name.lower(): value for name, value in answer.items() if name.lower() not in _OF_THE_ANSWER}
    assert int(answer["Content-Length"]) == len(answer.content)
    return (
        answer.status_code,
        headers,
        {name: each for name, each in body.items() if name not in _OF_THE_MOMENT},
    )


def _counts() -> Counter[tuple[str, str]]:
    return Counter(
        {
            (sample.name, str(sorted(sample.labels.items()))): int(sample.value)
            for metric in REGISTRY.collect()
            if metric.name.startswith("django_http")
            for sample in metric.samples
            if sample.name.endswith(("_total", "_count"))
        }
    )


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.mark.parametrize("case", CASES)
def test_answers_and_metrics_are_those_of_the_long_way(case: str, machines: Machines) -> None:
    before = _counts()
    with override_settings(MIDDLEWARE=LONG_WAY):
        long = CASES[case](machines)
    between = _counts()
    machines.connect_anew()
    short = CASES[case](machines)
    assert answer_without_the_moment(short) == answer_without_the_moment(long)
    assert _counts() - between == between - before


@pytest.mark.parametrize("https", [False, True])
@override_settings(SECURE_HSTS_SECONDS=1000)
def test_answers_have_the_headers_that_protect_pages(https: bool) -> None:
    machines = Machines()
    raw = orjson.dumps(machines.beat())
    answer = machines.node.client.post(
        "/v1/nodes/heartbeat",
        raw,
        content_type="application/json",
        headers=machines.node.headers(raw),
        secure=https,
    )
    assert answer.status_code == 200
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert answer.has_header("Strict-Transport-Security") == https


def test_other_methods_and_pages_take_the_long_way() -> None:
    client = Client()
    assert client.get("/v1/receipts").status_code == 401
    assert client.delete("/v1/probes").status_code == 405
    assert client.get("/").has_header("Vary")


def test_a_way_in_for_each_of_the_routes() -> None:
    assert {resolve(path).view_name for _, path in INGRESS} == {
        "api-register", "api-heartbeat", "api-challenge", "api-probes", "api-assignments", "api-dispatches", "api-receipts",
    }  # fmt: skip
