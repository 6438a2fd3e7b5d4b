"""The outbox's bodies: parse() reads what to_body() writes, and refuses everything else."""

import json
from typing import Any

import pytest

from jatevo.metrics.facts import BadBody, Fact, FactKind, parse
from tests.metrics.wrappers import NOON_SECONDS, latency, receipt, uptime

FACTS = [
    (FactKind.RECEIPT, receipt(p95_ms=None)),
    (FactKind.LATENCY, latency(tps=None)),
    (FactKind.UPTIME, uptime(up=False, beats=0)),
]


@pytest.mark.parametrize(("kind", "fact"), FACTS)
def test_a_fact_survives_its_body(kind: FactKind, fact: Fact) -> None:
    assert parse(kind, json.loads(json.dumps(fact.to_body()))) == fact


def test_a_receipts_body_is_this_json() -> None:
    assert receipt().to_body() == {
        "node_id": "macbook-001",
        "request_id": "r_1",
        "region": "ap-southeast",
        "model_id": "llama3.1-8b",
        "ts_start": NOON_SECONDS - 16,
        "ts_end": NOON_SECONDS,
        "accepted_at": NOON_SECONDS + 1,
        "tokens_input": 128,
        "tokens_output": 92,
        "p95_ms": 310,
        "hedged": False,
        "cache_hit": True,
        "failed": False,
        "search": None,
    }


def test_members_of_a_later_version_are_ignored() -> None:
    assert parse("receipt", {**receipt().to_body(), "added_later": 1}) == receipt()


def test_bodies_of_the_last_version_still_ship() -> None:
    assert parse("receipt", {**receipt().to_body(), "payable": True}) == receipt()


@pytest.mark.parametrize(
    "change",
    [
        {"node_id": None},
        {"node_id": ""},
        {"ts_end": 1.5},
        {"ts_end": -1},
        {"ts_end": 2**32},
        {"tokens_input": 2**53},
        {"tokens_input": "128"},
        {"tokens_input": True},
        {"p95_ms": "fast"},
        {"p95_ms": -1},
        {"hedged": 1},
        {"region": None},
    ],
)
def test_a_member_that_does_not_fit_is_named(change: dict[str, Any]) -> None:
    (member,) = change
    with pytest.raises(BadBody, match=member):
        parse("receipt", {**receipt().to_body(), **change})


@pytest.mark.parametrize("body", [{}, [], None, "text", 5, {"node_id": "macbook-001"}])
def test_what_is_no_fact_at_all_is_refused(body: object) -> None:
    for kind in FactKind:
        with pytest.raises(BadBody):
            parse(kind, body)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BadBody, match="unknown kind"):
        parse("invoice", receipt().to_body())
