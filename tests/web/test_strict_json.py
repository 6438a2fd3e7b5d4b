"""Strict JSON: the parser, and every route that takes a body."""

import math
from typing import Any

import orjson
import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from jatevo.web.strict_json import MAX_INTEGER, InvalidJson, parse
from nodes.models import Enrollment, Node, Probe
from nodes.rules.lifecycle import Status
from receipts.models import Receipt
from tests.factories import GatewayFactory, NodeFactory, ValidatorFactory
from tests.machines import SignedSender
from tests.web.torture import NOT_STRICT


@pytest.mark.parametrize("body", NOT_STRICT.values(), ids=NOT_STRICT.keys())
def test_what_is_not_strict_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 9007199254740991, "b": -9007199254740991}',
        b'{"a": 1e25, "b": 0.1, "c": -0.0, "d": 1E+2}',
        b'{"a": "\\ud83d\\ude00", "b": "\\\\u0000", "c": "x:y"}',
        b"[" * 32 + b"]" * 32,
        b'{"a": {"b": 1}, "c": {"b": 1}}',
        b'{"a:b": ":", "c": [{"a:b": 1}, {"a:b": 1}]}',
    ],
)
def test_strict_json_is_read_unchanged(body: bytes) -> None:
    assert parse(body) == orjson.loads(body)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), inner, max_size=5)
    ),
    max_leaves=25,
)


@given(JSON)
def test_every_plain_value_survives(value: Any) -> None:
    assert parse(orjson.dumps(value)) == value


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1), JSON, min_size=1
    )
)
def test_repeating_any_member_is_refused(value: dict[str, Any]) -> None:
    body = orjson.dumps(value)
    name = next(iter(value))
    with pytest.raises(InvalidJson):
        parse(body[:-1] + b"," + orjson.dumps(name) + b":0}")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        value = parse(body)
    except InvalidJson:
        return
    assert not (isinstance(value, float) and not math.isfinite(value))


@pytest.mark.django_db
@pytest.mark.parametrize("name", NOT_STRICT)
def test_every_ingress_route_answers_in_the_error_shape_and_keeps_nothing(name: str) -> None:
    body = NOT_STRICT[name]
    node = NodeFactory.create(status=Status.ACTIVE)
    machine, validator = SignedSender.node(node), SignedSender.validator(ValidatorFactory.create())
    gateway = SignedSender.gateway(GatewayFactory.create())
    bearer = {"Authorization": "Bearer jve_x"}
    answers = [
        machine.send("/v1/nodes/heartbeat", body),
        machine.send("/v1/receipts", body),
        machine.send(f"/v1/nodes/{node.pk}/keys", body),
        validator.send("/v1/probes", body),
        gateway.send("/v1/dispatches", body),
        Client().post("/v1/nodes/register", body, content_type="application/json", headers=bearer),
    ]
    if body:  # without a body, login says which fields are missing
        answers.append(Client().post("/v1/auth/login", body, content_type="application/json"))
    for answer in answers:
        assert answer.status_code == 400, answer.content
        assert answer.json()["error"]["type"] == "invalid_json"
        assert answer.json()["error"]["request_id"] == answer["x-request-id"]
    node.refresh_from_db()
    assert (node.status, node.last_heartbeat_at) == (Status.ACTIVE, None)
    assert not (Receipt.objects.exists() or Probe.objects.exists() or Enrollment.objects.exists())
    assert Node.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"true", b"{}"])
def test_json_of_another_shape_names_what_is_missing(body: bytes) -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    for path in ("/v1/nodes/heartbeat", "/v1/receipts"):
        answer = SignedSender.node(node).send(path, body)
        assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request")


@pytest.mark.django_db
def test_too_large_bodies_are_refused_before_anything_else() -> None:
    node = NodeFactory.create(status=Status.ACTIVE)
    machine = SignedSender.node(node)
    kib = 1024
    for path, size in [
        ("/v1/nodes/heartbeat", 257 * kib),
        ("/v1/receipts", 2049 * kib),
        ("/v1/auth/login", 257 * kib),
        ("/v1/nodes/register", 257 * kib),
    ]:
        answer = machine.send(
            path, b'{"a": "' + b"x" * size + b'"}', headers={"webhook-signature": "v1,AAAA"}
        )
        assert (answer.status_code, answer.json()["error"]["type"]) == (413, "too_large")
    single = machine.send("/v1/receipts", b'{"a": "' + b"x" * 300 * kib + b'"}')
    assert (single.status_code, single.json()["error"]["type"]) == (413, "too_large")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""]
)
def test_other_media_types_are_refused(content_type: str) -> None:
    answer = Client().post("/v1/auth/login", b"{}", content_type=content_type)
    assert (answer.status_code, answer.json()["error"]["type"]) == (415, "unsupported_media_type")
