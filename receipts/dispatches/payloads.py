"""The items of POST /v1/dispatches: fields, types and ranges."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta, Struct

from jatevo.web.errors import ApiError, FieldProblem, invalid_request
from jatevo.wire.names import MAX_NAME_CHARACTERS, name_problem, normal_model
from jatevo.wire.schema import MAX_TOKENS, REQUEST_ID_PATTERN
from nodes.ingress.payloads import NodeId, Seconds, convert

MOST_AHEAD = timedelta(seconds=300)
# A dispatch counts until 7 days after its request ended, and a request lasts a day at most.
MOST_AGE = timedelta(days=8)

RequestId = Annotated[str, Meta(pattern=rf"^{REQUEST_ID_PATTERN}\Z")]
ModelId = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Tokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]


class _Dispatch(Struct):
    request_id: RequestId
    node_id: NodeId
    model_id: ModelId
    ts: Seconds
    hedged: bool = False
    tokens_input: Tokens | None = None
    max_tokens: Tokens | None = None


class _Winner(Struct, forbid_unknown_fields=True):
    request_id: RequestId
    winner: NodeId


# Descriptions of the items for the OpenAPI document.
DISPATCH, WINNER = _Dispatch, _Winner


@dataclass(frozen=True)
class Sent:
    """A gateway sent a request to a node. `model` is the normal form of `model_id`, and what is compared."""

    request_id: str
    node_id: str
    model: str
    model_id: str = field(compare=False)
    ts: datetime
    hedged: bool
    tokens_input: int | None
    max_tokens: int | None


@dataclass(frozen=True)
class Won:
    """A gateway used the answer of a node."""

    request_id: str
    node_id: str


def item(said: Any, *, at: datetime) -> Sent | Won:
    """One item of a batch that came at `at`. Raises ApiError 422."""
    if not isinstance(said, dict):
        raise _invalid("body", "must be a JSON object")
    if "winner" in said:
        named = convert(said, _Winner)
        return Won(named.request_id, named.winner)
    dispatch = convert(said, _Dispatch)
    if problem := name_problem(dispatch.model_id):
        raise _invalid("model_id", problem)
    ts = datetime.fromtimestamp(dispatch.ts, UTC)
    if ts > at + MOST_AHEAD:
        raise _invalid("ts", f"must be at most {MOST_AHEAD.seconds} s in the future")
    if ts < at - MOST_AGE:
        raise _invalid("ts", f"must be at most {MOST_AGE.days} days in the past")
    return Sent(
        request_id=dispatch.request_id,
        node_id=dispatch.node_id,
        model=normal_model(dispatch.model_id),
        model_id=dispatch.model_id,
        ts=ts,
        hedged=dispatch.hedged,
        tokens_input=dispatch.tokens_input,
        max_tokens=dispatch.max_tokens,
    )


def _invalid(field: str, message: str) -> ApiError:
    return invalid_request("Some fields are invalid.", [FieldProblem(field, message)])
