"""The validator's HTTP client of the console: fetches assignments and posts probes, with signed requests.

The signature follows the Standard Webhooks specification, as the HTTP contract says for agents.
"""

import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass

import httpx

from jatevo.wire.keys import MalformedKeyError, parse_public_key
from jatevo.wire.webhook import new_message_id, secret_of, sign_request
from nodes.rules.probes import ProbeKind
from nodes.validator.probe import Result, Target

REQUEST_TIMEOUT_SECONDS = 5.0
MAX_DETAIL_CHARACTERS = 200


@dataclass(frozen=True)
class Assignment:
    """A node to probe, its status, and the kinds of probe that are due."""

    target: Target
    status: str
    due: frozenset[ProbeKind]


@dataclass(frozen=True)
class Assignments:
    """One answer of the console with assignments."""

    nodes: tuple[Assignment, ...]
    poll_after_seconds: float | None


@dataclass(frozen=True)
class ProbeReport:
    """A probe's result, ready to post. `message_id` stays the same when the post is repeated."""

    message_id: str
    body: bytes


class ConsoleError(Exception):
    """The request failed, but may succeed later. `retry_after_seconds` is what the console asked for."""

    def __init__(self, why: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_seconds = retry_after_seconds


class NotAcceptedError(Exception):
    """The console refused this request. Repeating it is useless."""


class TokenRefusedError(Exception):
    """The console does not know this validator, its token is old, or the clocks differ."""


def signed_headers(
    *, secret: bytes, validator_id: str, message_id: str, at: float, body: bytes
) -> dict[str, str]:
    """The headers that authenticate the body. `at` is in unix seconds."""
    return {"X-Validator-Id": validator_id, **sign_request(secret, message_id, int(at), body)}


def report(node_id: str, kind: ProbeKind, result: Result, *, at: float) -> ProbeReport:
    """A result in the form of the contract. `at` is in unix seconds."""
    body: dict[str, object] = {"node_id": node_id, "kind": kind.value, "ok": result.ok, "ts": round(at, 3)}
    if result.latency is not None:
        body["p50"] = round(result.latency.p50_ms, 3)
        body["p95"] = round(result.latency.p95_ms, 3)
        body["p99"] = round(result.latency.p99_ms, 3)
    if result.fault is not None:
        body["fault"] = result.fault.value
    if result.detail:
        body["detail"] = result.detail[:MAX_DETAIL_CHARACTERS]
    return ProbeReport(message_id=new_message_id(), body=json.dumps(body).encode())


class ValidatorClient:
    """A signed client of one console. Close it with `aclose`."""

    def __init__(self, *, url: str, validator_id: str, token: str) -> None:
        self._validator_id = validator_id
        self._secret = secret_of(token)
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            trust_env=False,
            timeout=REQUEST_TIMEOUT_SECONDS,
            headers={"User-Agent": "jatevo-validator"},
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def assignments(self) -> Assignments:
        """Fetches what to probe now. Raises ConsoleError, NotAcceptedError or TokenRefusedError."""
        response = await self._send("GET", "/v1/validators/assignments", ProbeReport(new_message_id(), b""))
        return parse_assignments(response)

    async def post(self, probe: ProbeReport) -> None:
        """Posts a report. If it is repeated with the same message id, it does not count twice.

        Raises ConsoleError, NotAcceptedError or TokenRefusedError.
        """
        await self._send("POST", "/v1/probes", probe)

    async def _send(self, method: str, path: str, message: ProbeReport) -> bytes:
        headers = signed_headers(
            secret=self._secret,
            validator_id=self._validator_id,
            message_id=message.message_id,
            at=time.time(),
            body=message.body,
        )
        if message.body:
            headers["Content-Type"] = "application/json"
        try:
            response = await self._client.request(method, path, content=message.body, headers=headers)
        except httpx.HTTPError as error:
            raise ConsoleError("the console cannot be reached") from error
        if response.is_success:
            return response.content
        error_type = _error_type(response.content)
        why = f"the console answers {response.status_code} {error_type}".rstrip()
        if response.status_code in (401, 403):
            raise TokenRefusedError(why)
        if error_type == "replayed_request":  # it arrived before, and only the answer was lost
            return b""
        if response.status_code == 429 or response.status_code >= 500:
            raise ConsoleError(why, retry_after_seconds=_seconds(response.headers.get("retry-after")))
        raise NotAcceptedError(why)


def parse_assignments(content: bytes) -> Assignments:
    """Reads the console's answer, without malformed rows. Raises ConsoleError."""
    try:
        answer = json.loads(content)
        rows = answer["assignments"]
        wish = answer.get("poll_after_s")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ConsoleError("the console's answer is not understood") from error
    if not isinstance(rows, list):
        raise ConsoleError("the console's answer is not understood")
    nodes = [_assignment(row) for row in rows]
    usable_wish = isinstance(wish, (int, float)) and not isinstance(wish, bool) and wish > 0
    return Assignments(
        nodes=tuple(node for node in nodes if node is not None),
        poll_after_seconds=float(wish) if usable_wish else None,
    )


def _assignment(row: object) -> Assignment | None:
    if not isinstance(row, dict):
        return None
    match row:
        case {
            "node_id": str(node_id),
            "endpoint": str(endpoint),
            "status": str(status),
            "public_key": str(key),
            "due": list(due),
        }:
            try:
                public_key = parse_public_key(key)
            except MalformedKeyError:
                return None
        case _:
            return None
    known = {kind.value for kind in ProbeKind}
    return Assignment(
        target=Target(node_id, endpoint, public_key, _former_keys(row)),
        status=status,
        due=frozenset(ProbeKind(word) for word in due if isinstance(word, str) and word in known),
    )


def _former_keys(row: dict[object, object]) -> tuple[bytes, ...]:
    """The former keys that can be read. Empty if the console sends none."""
    listed = row.get("former_keys")
    keys = []
    for text in listed if isinstance(listed, list) else ():
        with suppress(MalformedKeyError):
            keys.append(parse_public_key(str(text)))
    return tuple(keys)


def _error_type(content: bytes) -> str:
    try:
        word = json.loads(content)["error"]["type"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""
    return word if isinstance(word, str) and re.fullmatch(r"[a-z_]{1,40}", word) else ""


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
