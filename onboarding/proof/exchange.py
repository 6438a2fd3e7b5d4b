"""One streamed chat completion from a node's gateway, as the network's gateways would ask for it.

The endpoint was registered by the node's owner, so the rules for addresses are those of validators. What the node
answers is counted and thrown away.
"""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import httpx

from jatevo.telemetry import tracing
from jatevo.wire.endpoints import Endpoint, EndpointError, IPAddress, parse_endpoint
from nodes.validator.address import (
    AddressPolicy,
    AddressRefusedError,
    NameUnresolvedError,
    Resolver,
    system_resolver,
    vetted_addresses,
)

PROMPT = "In one short sentence: why is the sky blue?"
MAX_TOKENS = 32
WHOLE_SECONDS = 20.0
CONNECT_SECONDS = 3.0
MAX_BYTES = 256 * 1024
MAX_ADDRESSES = 3
MOST_TOKENS = 2**31 - 1  # as in an answer to a challenge


class ExchangeError(Exception):
    """The node did not serve the request. The message is a sentence for its operator."""


@dataclass(frozen=True)
class Question:
    """What is asked of which node. `key` is its gateway key."""

    endpoint: str
    key: str
    model: str
    request_id: str


@dataclass(frozen=True)
class Answer:
    """What came back. Times are from the request on, in milliseconds.

    `tokens_output` is what the node states, None if it states no possible number.
    """

    first_token_ms: float
    total_ms: float
    tokens_output: int | None


async def ask(
    question: Question,
    policy: AddressPolicy,
    *,
    resolve: Resolver = system_resolver,
    whole_seconds: float = WHOLE_SECONDS,
) -> Answer:
    """Asks the node and reads its answer to the end. Raises ExchangeError."""
    try:
        with tracing.span("ask a node", {"http.request.method": "POST"}):
            async with asyncio.timeout(whole_seconds):
                return await _ask(question, policy, resolve)
    except TimeoutError as error:
        raise ExchangeError(f"The node did not finish its answer within {whole_seconds:g} s.") from error
    except httpx.TimeoutException as error:
        raise ExchangeError("The node did not answer in time.") from error
    except httpx.HTTPError as error:
        raise ExchangeError("The connection broke before the answer was complete.") from error


async def _ask(question: Question, policy: AddressPolicy, resolve: Resolver) -> Answer:
    endpoint, addresses = await _where(question.endpoint, policy, resolve)
    async with httpx.AsyncClient(
        verify=ssl.create_default_context(),
        trust_env=False,  # a proxy from the environment would not connect to the vetted address
        follow_redirects=False,
        timeout=httpx.Timeout(WHOLE_SECONDS, connect=CONNECT_SECONDS),
        headers={"Accept": "text/event-stream", "Accept-Encoding": "identity"},
    ) as client:
        for address in addresses:
            try:
                return await _ask_at(client, endpoint, address, question)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
        raise ExchangeError(f"Nothing answers at {question.endpoint}.") from failed


async def _where(text: str, policy: AddressPolicy, resolve: Resolver) -> tuple[Endpoint, Sequence[IPAddress]]:
    try:
        endpoint = parse_endpoint(text)
        return endpoint, (await vetted_addresses(endpoint, policy, resolve))[:MAX_ADDRESSES]
    except EndpointError as error:
        raise ExchangeError("The node has no endpoint.") from error
    except NameUnresolvedError as error:
        raise ExchangeError(f"The name in {text} has no address.") from error
    except AddressRefusedError as error:
        raise ExchangeError(
            f"{text} is not an address on the internet, so no gateway can reach it."
        ) from error


async def _ask_at(
    client: httpx.AsyncClient, endpoint: Endpoint, address: IPAddress, question: Question
) -> Answer:
    request = client.build_request(
        "POST",
        endpoint.url_at(address, "/v1/chat/completions"),
        headers={
            "Host": endpoint.host_header,
            "Authorization": f"Bearer {question.key}",
            "X-Jatevo-Request-Id": question.request_id,
            **tracing.outgoing(),
        },
        json={
            "model": question.model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": MAX_TOKENS,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        extensions={"sni_hostname": endpoint.host},
    )
    began = time.perf_counter()
    response = await client.send(request, stream=True)
    try:
        if response.status_code != 200:
            raise ExchangeError(_refusal(response.status_code, await _beginning(response)))
        return await _read(response, began)
    finally:
        await response.aclose()


async def _read(response: httpx.Response, began: float) -> Answer:
    first_token_ms: float | None = None
    tokens: int | None = None
    ended = False
    async for event in _events(response):
        if event == "[DONE]":
            ended = True
            continue
        chunk = _object(event)
        if first_token_ms is None and _has_text(chunk):
            first_token_ms = (time.perf_counter() - began) * 1000
        tokens = _stated_tokens(chunk) if "usage" in chunk else tokens
        if "error" in chunk:
            raise ExchangeError("The runtime failed while it was answering.")
    if not ended:
        raise ExchangeError("The answer ended before it was complete.")
    if first_token_ms is None:
        raise ExchangeError("The answer had no text.")
    return Answer(round(first_token_ms, 1), round((time.perf_counter() - began) * 1000, 1), tokens)


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    """The data of each server-sent event. Raises ExchangeError beyond MAX_BYTES."""
    size, rest = 0, b""
    async for part in response.aiter_raw():
        size += len(part)
        if size > MAX_BYTES:
            raise ExchangeError("The answer is too long.")
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].decode("utf-8", "replace").strip()


def _object(event: str) -> dict[str, object]:
    try:
        found = json.loads(event)
    except (ValueError, RecursionError) as error:
        raise ExchangeError("The answer is not a stream of completions.") from error
    return found if isinstance(found, dict) else {}


def _has_text(chunk: dict[str, object]) -> bool:
    choices = chunk.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return False
    delta = choices[0].get("delta")
    return isinstance(delta, dict) and bool(delta.get("content"))


def _stated_tokens(chunk: dict[str, object]) -> int | None:
    """What the chunk's usage says, None if it is no possible number. In Python, True is an int."""
    usage = chunk.get("usage")
    stated = usage.get("completion_tokens") if isinstance(usage, dict) else None
    possible = isinstance(stated, int) and not isinstance(stated, bool) and 0 <= stated <= MOST_TOKENS
    return stated if possible else None


async def _beginning(response: httpx.Response) -> bytes:
    body = b""
    async for part in response.aiter_raw():
        body += part
        if len(body) > 4096:
            break
    return body[:4096]


def _refusal(status: int, body: bytes) -> str:
    if status == 401:
        return "The agent does not know this console's key. Restart it; if that does not help, update it."
    if status == 403:
        return "The agent does not take requests from this console's address. See allow_from in agent.yaml."
    if status == 404:
        return "Something answers at the endpoint, but not with the agent's gateway. Update the agent."
    if status == 429:
        return "The node is busy with other requests. Try again in a moment."
    try:
        reason = json.loads(body)["error"]["message"]
    except (ValueError, RecursionError, KeyError, TypeError):
        reason = ""
    says = f": {reason[:200]}" if isinstance(reason, str) and reason.isprintable() and reason else "."
    return f"The node answered with the status {status}{says}"
