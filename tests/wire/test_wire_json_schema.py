"""The published JSON Schema of a receipt judges as the console does."""

import json
import math
from typing import Any

import jsonschema_rs
import pytest
from django.conf import settings
from django.test import Client
from hypothesis import example, given
from hypothesis import settings as running
from hypothesis import strategies as st

from jatevo.wire.schema import check_fields, json_schema
from jatevo.wire.signing import sign
from receipts.openapi import RECEIPT
from tests.wire import test_wire_schema
from tests.wire.receipt_samples import NOW, SIGNING_KEY, TS_END, unsigned_receipt

SCHEMA = jsonschema_rs.Draft202012Validator(json_schema())
GENUINE = sign(unsigned_receipt(), SIGNING_KEY)
EXAMPLES = [
    case
    for claim in (test_wire_schema.test_accepted, test_wire_schema.test_refused_under_its_own_name)
    for case in claim.pytestmark[0].args[1]  # type: ignore[attr-defined]
]
MEMBERS = sorted(json_schema()["properties"])


def valid(payload: Any) -> bool:
    return bool(SCHEMA.is_valid(json.loads(json.dumps(payload))))


def accepted(payload: Any) -> bool:
    return not check_fields(payload, now=NOW)


def beyond_any_schema(payload: dict[str, Any]) -> bool:
    """Whether a receipt that the schema allows may be refused all the same."""
    whole = [payload.get(name) for name in ("ts_start", "ts_end", "tokens_input", "tokens_output")]
    whole += payload["s3_checkpoints"] if isinstance(payload.get("s3_checkpoints"), list) else []
    names = [payload.get(name, "x") for name in ("model_id", "finish")]
    return (
        any(isinstance(value, float) for value in whole)
        or any(not name.isprintable() or name != name.strip() for name in names if isinstance(name, str))
        or [error.field for error in check_fields(payload, now=NOW)] == ["ts_end"]
    )


def test_a_genuine_receipt_is_valid() -> None:
    assert valid(GENUINE)
    assert valid({**GENUINE, "x_more": {"anything": [None, "goes"]}})


@pytest.mark.parametrize("member", sorted(set(GENUINE) - {"s3_checkpoints"}))
def test_each_required_member_must_be_there(member: str) -> None:
    assert not valid({name: value for name, value in GENUINE.items() if name != member})


def test_both_judge_alike_where_ingest_has_its_examples() -> None:
    compared = 0
    for field, value in EXAMPLES:
        payload = {**GENUINE, field: value}
        if isinstance(value, float) and not math.isfinite(value):
            continue  # no JSON
        if not beyond_any_schema(payload):
            assert valid(payload) == accepted(payload), (field, value)
            compared += 1
    assert compared > 70


ODD = (
    st.none() | st.booleans() | st.integers(-10, 2**54) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=140) | st.lists(st.integers(-1, 10), max_size=4)
    | st.sampled_from(["ok", "runtime", "1.0", "a.b", ".", "..", "...", "a\n", "é", "blake3:" + "0f" * 32, TS_END])
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(MEMBERS), ODD, max_size=3))
@example({"request_id": ".."})
@example({"node_id": "a\n"})
@example({"region": "r" * 33})
@running(max_examples=400, deadline=None)
def test_both_judge_alike(changes: dict[str, Any]) -> None:
    payload = {**GENUINE, **changes}
    if accepted(payload):
        assert valid(payload)
    elif not beyond_any_schema(payload):
        assert not valid(payload)


def test_the_schema_is_valid_itself_and_explains_every_member() -> None:
    jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **json_schema()})
    assert all(member["description"] for member in json_schema()["properties"].values())


@pytest.mark.django_db
def test_the_served_schema_and_the_openapi_document_are_the_same_rules() -> None:
    answer = Client().get("/docs/receipt.schema.json")
    assert answer["Content-Type"] == "application/schema+json"
    served = answer.json()
    assert served.pop("$id") == f"{settings.BASE_URL}/docs/receipt.schema.json"
    assert served.pop("$schema").endswith("2020-12/schema")
    assert served == json_schema() == RECEIPT
    body = Client().get("/v1/openapi.json").json()["paths"]["/v1/receipts"]["post"]["requestBody"]
    assert json_schema() in body["content"]["application/json"]["schema"]["anyOf"]
