"""The field rules of a receipt: what is accepted, and which field a refusal names."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jatevo.wire.schema import MAX_TOKENS, FieldError, check_fields
from jatevo.wire.signing import sign
from tests.wire.receipt_samples import NOW, SIGNING_KEY, TS_END, unsigned_receipt

SIGNATURE = sign(unsigned_receipt(), SIGNING_KEY)["signature"]
WEEK_SECONDS = 7 * 24 * 3600


def receipt(**changes: Any) -> dict[str, Any]:
    return unsigned_receipt(**{"signature": SIGNATURE, **changes})


def wrong_fields(payload: dict[str, Any], now: float = NOW) -> list[str]:
    return [error.field for error in check_fields(payload, now=now)]


def test_the_prds_example_passes() -> None:
    assert check_fields(receipt(), now=NOW) == []


@pytest.mark.parametrize("field", sorted(set(receipt()) - {"s3_checkpoints"}))
def test_each_required_field_must_be_there(field: str) -> None:
    payload = receipt()
    del payload[field]
    assert check_fields(payload, now=NOW) == [FieldError(field, "is required")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request_id", "A-Za-z0-9._:~"),
        ("request_id", "x" * 128),
        ("request_id", "..."),
        ("node_id", "a" * 64),
        ("node_id", "0._-"),
        ("region", "eu-west-1"),
        ("ts_start", 0),
        ("ts_start", TS_END),
        ("model_id", "Qwen/Qwen2.5 72B (模型)"),
        ("tokens_input", 0),
        ("tokens_output", MAX_TOKENS),
        ("p95_ms", 0),
        ("p95_ms", 12.5),
        ("s3_checkpoints", []),
        ("s3_checkpoints", [0] * 1000),
        ("outcome", "ok"),
        ("outcome", "error"),
        ("outcome", "cancelled"),
        ("finish", "stop"),
        ("usage_source", "runtime"),
        ("usage_source", "counted"),
        ("output_hash", "blake3:" + "c" * 64),
        ("x_trace", {"anything": [None, "goes"]}),
    ],
)
def test_accepted(field: str, value: object) -> None:
    assert wrong_fields(receipt(**{field: value})) == []


def test_checkpoints_may_be_absent() -> None:
    payload = receipt()
    del payload["s3_checkpoints"]
    assert wrong_fields(payload) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "1"),
        ("version", 1.0),
        ("version", None),
        ("request_id", ""),
        ("request_id", "x" * 129),
        ("request_id", "with space"),
        ("request_id", "a/b"),
        ("request_id", "a\n"),
        ("request_id", "é"),
        ("request_id", "."),
        ("request_id", ".."),
        ("request_id", 7),
        ("node_id", "MacBook"),
        ("node_id", "a" * 65),
        ("node_id", "a\n"),
        ("region", "eu_west"),
        ("region", "r" * 33),
        ("ts_start", 1736538502.0),
        ("ts_start", True),
        ("ts_start", "1736538502"),
        ("ts_start", -1),
        ("tokens_input", 2**53),
        ("ts_end", TS_END + 0.5),
        ("ts_end", None),
        ("model_id", ""),
        ("model_id", "m" * 129),
        ("model_id", "a\x00b"),
        ("model_id", "right\u202eleft"),
        ("model_hash", "sha256:" + "A1" * 32),
        ("model_hash", "sha256:" + "a1" * 31),
        ("model_hash", "blake3:" + "a1" * 32),
        ("model_hash", "sha256:" + "a1" * 32 + "\n"),
        ("prompt_hash", "sha256:" + "a1" * 32),
        ("prompt_hash", "a1" * 32),
        ("tokens_input", -1),
        ("tokens_input", 1.0),
        ("tokens_input", False),
        ("tokens_output", MAX_TOKENS + 1),
        ("p95_ms", -0.1),
        ("p95_ms", float("nan")),
        ("p95_ms", float("inf")),
        ("p95_ms", 10**400),
        ("p95_ms", True),
        ("p95_ms", "310"),
        ("s3_checkpoints", None),
        ("s3_checkpoints", {}),
        ("s3_checkpoints", [0] * 1001),
        ("s3_checkpoints", [1, True]),
        ("s3_checkpoints", [-1]),
        ("s3_checkpoints", ["100"]),
        ("hedged", 0),
        ("cache_hit", "true"),
        ("outcome", "failed"),
        ("outcome", None),
        ("outcome", ["ok"]),
        ("finish", ""),
        ("finish", "st\nop"),
        ("finish", 1),
        ("usage_source", "guessed"),
        ("output_hash", "blake3:" + "C" * 64),
        ("output_hash", "sha256:" + "c" * 64),
        ("signature", ""),
        ("signature", None),
        ("signature", SIGNATURE + "\n"),
        ("signature", SIGNATURE.rstrip("=")),
        ("signature", SIGNATURE.removeprefix("ed25519:")),
        ("signature", SIGNATURE[:-3] + "B=="),  # unused bits set: a second spelling of the same bytes
    ],
)
def test_refused_under_its_own_name(field: str, value: object) -> None:
    assert wrong_fields(receipt(**{field: value})) == [field]


@pytest.mark.parametrize(
    ("now", "wrong"),
    [
        (TS_END - 300, []),
        (TS_END - 300.5, ["ts_end"]),
        (TS_END + WEEK_SECONDS, []),
        (TS_END + WEEK_SECONDS + 0.5, ["ts_end"]),
    ],
)
def test_the_end_lies_between_seven_days_ago_and_five_minutes_ahead(now: float, wrong: list[str]) -> None:
    assert wrong_fields(receipt(), now) == wrong


def test_an_end_before_the_start_is_refused() -> None:
    assert check_fields(receipt(ts_start=TS_END + 1), now=NOW) == [
        FieldError("ts_end", "must not be before ts_start")
    ]


def test_every_broken_rule_is_reported() -> None:
    assert wrong_fields(receipt(version="2", node_id="", hedged=None)) == ["version", "node_id", "hedged"]


@given(
    st.dictionaries(st.sampled_from(sorted(receipt())), st.integers() | st.floats() | st.text() | st.none())
)
@settings(max_examples=200, deadline=None)
def test_no_value_makes_the_rules_raise(changes: dict[str, Any]) -> None:
    for error in check_fields(receipt(**changes), now=NOW):
        assert error.field in changes or error.field == "ts_end"
