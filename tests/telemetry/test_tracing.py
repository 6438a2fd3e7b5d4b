"""Traces, as they arrive at a receiver over OTLP."""

import asyncio
import socket
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from jatevo.local import checks
from jatevo.local.observing import observed
from jatevo.metrics.shipper import ship
from jatevo.metrics.store import Store
from jatevo.telemetry import tracing
from jatevo.telemetry.exporting import OtlpSender
from nodes.ingress.heartbeats import HEARTBEATS
from nodes.rules.lifecycle import Status
from nodes.validator.address import AddressPolicy
from onboarding.proof.exchange import Question, ask
from tests.factories import NodeFactory, signed_receipt
from tests.lane import beat, signed
from tests.machines import SignedSender
from tests.onboarding.proof.fake_node import FakeNode, running
from tests.telemetry.conftest import Collected
from tests.telemetry.otlp_receiver import ReceivedSpan

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
ASKED_FOR = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


def named(spans: list[ReceivedSpan], name: str) -> ReceivedSpan:
    (found,) = [span for span in spans if span.name == name]
    return found


@pytest.mark.django_db
def test_page_is_one_trace_with_what_it_waits_for(collected: Collected) -> None:
    answer = Client().get("/status/", headers=ASKED_FOR)
    assert answer.status_code == 200
    spans = collected()
    page = named(spans, "GET /status/")
    assert {span.trace_id for span in spans} == {TRACE}
    assert (page.parent_id, page.service) == (CALLER, "jatevo-test")
    assert page.attributes["http.response.status_code"] == 200
    assert page.attributes["jatevo.request_id"] == answer["x-request-id"]
    below = [span for span in spans if span is not page]
    assert {span.parent_id for span in below} <= {span.span_id for span in spans}
    assert {"postgresql", "redis"} <= {span.attributes["db.system.name"] for span in below}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("both_adapters")
def test_trace_of_a_receipt_reaches_from_the_agent_to_clickhouse(
    collected: Collected, chdb_store: Store
) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    receipt = signed_receipt(node.pk)
    answer = SignedSender.node(node).send("/v1/receipts", receipt, headers=ASKED_FOR)
    assert answer.status_code == 201
    assert ship(at=timezone.now(), store=chdb_store).receipts == 1
    spans = collected()
    by_id = {span.span_id: span for span in spans}
    request = named(spans, "POST /v1/receipts")
    group = named(spans, "answer /v1/receipts")
    arrival = named(spans, "outbox to ClickHouse")
    assert {span.trace_id for span in (request, group, arrival)} == {TRACE}
    assert (request.parent_id, group.parent_id, arrival.parent_id) == (
        CALLER,
        request.span_id,
        request.span_id,
    )
    statement = named(spans, "PostgreSQL with")
    assert by_id[statement.parent_id] is group
    assert "%(node_id)s, %(token_version)s, %(request_id)s" in statement.attributes["db.query.text"]
    assert receipt["request_id"] not in str(statement.attributes), "no values"
    shipping = named(spans, "ship outbox")
    assert arrival.links == [(shipping.trace_id, shipping.span_id)]
    assert (request.trace_id, request.span_id) in shipping.links
    assert arrival.attributes["jatevo.receipt"] == receipt["request_id"]
    inserts = [span for span in spans if span.attributes.get("db.query.text") == "INSERT INTO receipt_facts"]
    assert [span.parent_id for span in inserts] == [shipping.span_id]
    assert sum(span.kind == 2 for span in spans) == 1, "one span of a server for a request"


@pytest.mark.django_db
def test_group_is_one_span_that_is_linked_with_its_requests(collected: Collected) -> None:
    nodes = [NodeFactory.create(status=Status.ACTIVE) for _ in range(3)]
    spans = [
        tracing.begin("request", traceparent=f"00-{number:032x}-{CALLER}-0{number % 3 and 1}")
        for number in (1, 2, 3)
    ]
    group = [
        signed_in(span, node, number) for number, (span, node) in enumerate(zip(spans, nodes, strict=True))
    ]
    HEARTBEATS.answer(group)
    for span in filter(None, spans):
        span.end()
    received = collected()
    together = named(received, "answer /v1/nodes/heartbeat")
    first, second = [span for span in received if span.name == "request"]
    assert (together.trace_id, together.parent_id) == (first.trace_id, first.span_id)
    assert together.attributes["jatevo.requests"] == 3
    assert together.links == [(second.trace_id, second.span_id)]
    assert second.links == [(together.trace_id, together.span_id)]
    assert [span.name for span in received].count("Redis limits") == 2, "asked once for all"


def signed_in(span: tracing.Span | None, node: Any, number: int) -> Any:
    return replace(signed(SignedSender.node(node), beat(node)), span=span, request_id=f"r-{number}")


@pytest.mark.parametrize(
    ("traceparent", "recorded"),
    [
        (f"00-{TRACE}-{CALLER}-01", True),
        (f"00-{TRACE}-{CALLER}-03", True),
        (f"cc-{TRACE}-{CALLER}-01-what-the-future-will-be", True),
        (f"00-{TRACE}-{CALLER}-00", False),
        (f"00-{TRACE}-{CALLER}-01-extra", False),
        (f"ff-{TRACE}-{CALLER}-01", False),
        (f"00-{'0' * 32}-{CALLER}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{CALLER}-01", False),
        ("", False),
        ("01", False),
    ],
)
def test_caller_decides_what_is_recorded(sender: OtlpSender, traceparent: str, recorded: bool) -> None:
    span = tracing.begin("request", traceparent=traceparent)
    assert (span is not None) == recorded
    if span is not None:
        assert span.trace_id == TRACE


def test_part_of_the_rest_is_recorded_and_nobody_can_ask_for_more_than_the_limit(sender: OtlpSender) -> None:
    sender.ratio = 1.0
    assert tracing.begin("request") is not None
    assert tracing.begin("request", traceparent=f"00-{TRACE}-{CALLER}-00") is None, "its caller has decided"
    sender.most_per_second = 5
    tracing.send_to(sender)
    begun = [tracing.begin("request", traceparent=ASKED_FOR["traceparent"]) for _ in range(1000)]
    assert sum(span is not None for span in begun) <= 3 * 5, "of as many seconds as this takes"


@pytest.mark.django_db
def test_what_fails_is_marked_and_no_address_is_sent(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jatevo.overview.views.snapshot", lambda **_: 1 / 0)
    client = Client(raise_request_exception=False)
    assert client.get("/", headers=ASKED_FOR).status_code == 500
    client.get("/reset-password/who/canary-token/", headers=ASKED_FOR)
    client.get("/nothing/at/canary-token/", headers=ASKED_FOR)
    spans = collected()
    assert {"GET /reset-password/<who>/<token>/", "GET other"} <= {span.name for span in spans}
    assert "canary-token" not in str(spans)
    assert named(spans, "GET /").failed


def test_context_goes_out_with_requests_to_others(sender: OtlpSender) -> None:
    assert tracing.outgoing() == {}
    span = tracing.begin("request", traceparent=ASKED_FOR["traceparent"], tracestate="vendor=1")
    assert span is not None
    with tracing.within(span), tracing.span("inner", {}) as inner:
        assert inner is not None
        assert tracing.outgoing() == {"traceparent": inner.traceparent, "tracestate": "vendor=1"}
        assert inner.trace_id == TRACE


def test_node_that_is_asked_for_a_proof_gets_the_context(collected: Collected) -> None:
    span = tracing.begin("request", traceparent=ASKED_FOR["traceparent"])
    question = Question("", "jvg_key", "llama3.1", "proof_1")
    with running(FakeNode()) as node, tracing.within(span):
        asyncio.run(ask(replace(question, endpoint=node.url), AddressPolicy(allow_private=True)))
    [(_, headers, _)] = node.asked
    (asking,) = collected()
    assert headers["traceparent"] == f"00-{TRACE}-{asking.span_id}-01"


def test_job_has_a_span_with_its_outcome(collected: Collected, sender: OtlpSender) -> None:
    sender.ratio = 1.0
    job = SimpleNamespace(task_name="metrics.retention", id=7)
    worker: Any = SimpleNamespace(app=SimpleNamespace(tasks={"metrics.retention"}))
    context: Any = SimpleNamespace(job=job)

    async def work() -> None:
        with tracing.span("PostgreSQL select", {}):
            raise ZeroDivisionError("canary")

    with pytest.raises(ZeroDivisionError):
        asyncio.run(observed(work, context, worker))
    inner, outer = collected()
    assert (outer.name, outer.failed, inner.failed) == ("job metrics.retention", True, True)
    assert inner.parent_id == outer.span_id
    assert "canary" not in str((inner, outer))


@pytest.mark.parametrize("receiver_is", ["gone", "hung"])
def test_receiver_that_does_not_answer_holds_nothing_up(receiver_is: str) -> None:
    with socket.socket() as listening:
        listening.bind((checks.LOOPBACK, 0))
        if receiver_is == "hung":
            listening.listen()
        url = "http://{}:{}".format(*listening.getsockname())
        sender = OtlpSender(url, service="test", ratio=1.0, most_per_second=10_000, answer_seconds=0.2)
        tracing.send_to(sender)
        try:
            began = time.monotonic()
            for _ in range(3000):  # more than wait in the queue
                span = tracing.begin("request")
                assert span is not None
                span.end()
            assert time.monotonic() - began < 5, "nobody waits for the receiver"
            began = time.monotonic()
            sender.flush()
            sender.close()
            assert time.monotonic() - began < 5, "ten seconds for each batch without a limit"
        finally:
            tracing.send_to(None)


def test_opentelemetry_is_not_loaded_without_an_endpoint() -> None:
    # redis-py imports a part of it whenever it is installed
    code = "import jatevo.lane.application, sys; print({'opentelemetry.sdk.trace', 'opentelemetry.exporter'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
