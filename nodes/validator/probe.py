"""Probing one node: calls its health endpoint, verifies the answer and measures the time.

The endpoint and its signature are the HTTP contract's ("Validators"): `GET {endpoint}/healthz?nonce=<32 hex>`
answers `{"node_id", "nonce", "signature"}`, ed25519 over `jatevo-health:{node_id}:{nonce}`.
"""

import asyncio
import json
import random
import secrets
import ssl
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx

from jatevo.wire.endpoints import Endpoint, EndpointError, IPAddress, parse_endpoint
from jatevo.wire.signing import verify_health
from nodes.rules.probes import ProbeFault
from nodes.validator.address import (
    AddressPolicy,
    AddressRefusedError,
    NameUnresolvedError,
    Resolver,
    system_resolver,
    vetted_addresses,
)
from nodes.validator.faults import FailureDetail

REQUEST_TIMEOUT_SECONDS = 5.0  # for a whole request: name, connection, TLS, and the answer to its last byte
CONNECT_TIMEOUT_SECONDS = 2.0  # for each of several addresses
MAX_ANSWER_BYTES = 4096
MAX_ADDRESSES_TRIED = 3
NONCE_BYTES = 16
LATENCY_SAMPLES = 5
AUDIT_CHALLENGES = 3


class ProbeError(Exception):
    """A probe failed. Has the cause and at most a few more words."""

    def __init__(self, cause: FailureDetail, more: str = "") -> None:
        super().__init__(cause, more)
        self.cause = cause
        self.detail = f"{cause} ({more})" if more else str(cause)


@dataclass(frozen=True)
class Target:
    """The node to probe. `public_key` is its current key (32 bytes), `former_keys` the ones before."""

    node_id: str
    endpoint: str
    public_key: bytes
    former_keys: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Latency:
    """Percentiles of one round, in milliseconds; see `percentile` and `Prober.latency`."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Result:
    """A probe's result. `cause` is None exactly if it passed."""

    cause: FailureDetail | None = None
    detail: str = ""
    latency: Latency | None = None

    @property
    def ok(self) -> bool:
        return self.cause is None

    @property
    def fault(self) -> ProbeFault | None:
        return None if self.cause is None else self.cause.fault

    @property
    def is_false_answer(self) -> bool:
        return self.fault is not None and self.fault.is_false_answer


class Prober:
    """Probes nodes within an address policy. Failures of a node are in the Result and are not raised."""

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        resolve: Resolver = system_resolver,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        self._policy = policy
        self._resolve = resolve
        self._timeout_seconds = timeout_seconds
        self._tls = ssl.create_default_context()

    async def health(self, target: Target) -> Result:
        """One challenge, which the node must sign in time."""
        return await self._judged(self._health(target))

    async def latency(self, target: Target) -> Result:
        """Times LATENCY_SAMPLES signed health requests, one after another.

        It measures the round trip from this validator to the node on an open connection, including the node's
        signing but not inference. A first request, which does not count, opens the connection. If one answer
        fails, the whole round fails and has no figures.
        """
        return await self._judged(self._latency(target))

    async def audit(self, target: Target) -> Result:
        """Sends AUDIT_CHALLENGES challenges at once, each on its own connection, in random order.

        Each answer must verify for its own nonce, so that stored, swapped or shared answers fail.
        """
        return await self._judged(self._audit(target))

    async def _judged(self, probe: Awaitable[Latency | None]) -> Result:
        try:
            return Result(latency=await probe)
        except ProbeError as error:
            return Result(cause=error.cause, detail=error.detail)

    async def _health(self, target: Target) -> None:
        async with self._route(target) as route:
            await route.challenge(target, fresh_nonce())

    async def _latency(self, target: Target) -> Latency:
        samples_ms = []
        async with self._route(target) as route:
            await route.challenge(target, fresh_nonce())
            for _ in range(LATENCY_SAMPLES):
                started = time.perf_counter()
                await route.challenge(target, fresh_nonce())
                samples_ms.append((time.perf_counter() - started) * 1000)
        return Latency(
            p50_ms=percentile(samples_ms, 0.50),
            p95_ms=percentile(samples_ms, 0.95),
            p99_ms=percentile(samples_ms, 0.99),
        )

    async def _audit(self, target: Target) -> None:
        nonces = [fresh_nonce() for _ in range(AUDIT_CHALLENGES)]
        async with AsyncExitStack() as stack:
            routes = [await stack.enter_async_context(self._route(target)) for _ in nonces]
            random.SystemRandom().shuffle(nonces)
            answers = await asyncio.gather(
                *(route.challenge(target, nonce) for route, nonce in zip(routes, nonces, strict=True)),
                return_exceptions=True,
            )
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if failed:
            # A false answer takes precedence over a broken connection in the same audit.
            raise min(failed, key=lambda error: not _is_false_answer(error))

    def _route(self, target: Target) -> "_Route":
        return _Route(target, self._policy, self._resolve, self._tls, self._timeout_seconds)


class _Route:
    """The vetted addresses of one endpoint, and a client that keeps one connection open."""

    def __init__(
        self,
        target: Target,
        policy: AddressPolicy,
        resolve: Resolver,
        tls: ssl.SSLContext,
        timeout_seconds: float,
    ) -> None:
        self._endpoint_text = target.endpoint
        self._policy = policy
        self._resolve = resolve
        self._timeout_seconds = timeout_seconds
        self._addresses: Sequence[IPAddress] = ()
        self._client = httpx.AsyncClient(
            verify=tls,
            trust_env=False,  # a proxy from the environment would not connect to the vetted address
            follow_redirects=False,
            limits=httpx.Limits(max_connections=1),
            timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> "_Route":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client.aclose()

    async def challenge(self, target: Target, nonce: str) -> str:
        """Asks the node to sign the nonce. Returns the verified signature as text. Raises ProbeError."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                body = await self._get(f"/healthz?nonce={nonce}")
        except TimeoutError as error:
            raise ProbeError(FailureDetail.TIMEOUT) from error
        return verified_signature(body, target=target, nonce=nonce)

    async def _get(self, path: str) -> bytes:
        try:
            endpoint = parse_endpoint(self._endpoint_text)
        except EndpointError as error:
            raise ProbeError(
                FailureDetail.BAD_ENDPOINT, "" if self._endpoint_text else "none is registered"
            ) from error
        if not self._addresses:
            self._addresses = await self._vetted(endpoint)
        for position, address in enumerate(self._addresses, start=1):
            try:
                body = await self._get_from(endpoint, address, path)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if position == len(self._addresses):
                    raise ProbeError(_connection_cause(error)) from error
            except httpx.TimeoutException as error:
                raise ProbeError(FailureDetail.TIMEOUT) from error
            except httpx.HTTPError as error:
                raise ProbeError(FailureDetail.BROKEN) from error
            else:
                self._addresses = (address,)
                return body
        raise ProbeError(FailureDetail.UNRESOLVED)

    async def _vetted(self, endpoint: Endpoint) -> Sequence[IPAddress]:
        try:
            return (await vetted_addresses(endpoint, self._policy, self._resolve))[:MAX_ADDRESSES_TRIED]
        except NameUnresolvedError as error:
            raise ProbeError(FailureDetail.UNRESOLVED) from error
        except AddressRefusedError as error:
            raise ProbeError(FailureDetail.ADDRESS) from error

    async def _get_from(self, endpoint: Endpoint, address: IPAddress, path: str) -> bytes:
        request = self._client.build_request(
            "GET",
            endpoint.url_at(address, path),
            headers={"Host": endpoint.host_header},
            extensions={"sni_hostname": endpoint.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != 200:
                raise ProbeError(FailureDetail.STATUS, str(response.status_code))
            body = b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise ProbeError(FailureDetail.OVERSIZE)
            return body
        finally:
            await response.aclose()


def fresh_nonce() -> str:
    """A random nonce of 32 hexadecimal digits."""
    return secrets.token_hex(NONCE_BYTES)


def verified_signature(body: bytes, *, target: Target, nonce: str) -> str:
    """The signature in the answer, verified for this node and nonce. Raises ProbeError."""
    try:
        answer = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise ProbeError(FailureDetail.NOT_JSON) from error
    if not isinstance(answer, dict):
        raise ProbeError(FailureDetail.NOT_JSON)
    if answer.get("node_id") != target.node_id:
        raise ProbeError(FailureDetail.WRONG_NODE)
    if answer.get("nonce") != nonce:
        raise ProbeError(FailureDetail.WRONG_NONCE)
    signature = answer.get("signature")
    if not isinstance(signature, str):
        raise ProbeError(FailureDetail.WRONG_SIGNATURE)
    if not verify_health(target.node_id, nonce, signature, target.public_key):
        former = any(verify_health(target.node_id, nonce, signature, key) for key in target.former_keys)
        raise ProbeError(FailureDetail.FORMER_KEY if former else FailureDetail.WRONG_SIGNATURE)
    return signature


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample quantile by linear interpolation between order statistics (Hyndman and Fan's type 7).

    With few samples, the high percentiles are close to the slowest one. Compare them over many rounds.
    """
    ordered = sorted(samples)
    rank = share * (len(ordered) - 1)
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def _is_false_answer(error: BaseException) -> bool:
    return isinstance(error, ProbeError) and error.cause.fault.is_false_answer


def _connection_cause(error: BaseException) -> FailureDetail:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return FailureDetail.TLS
        if isinstance(cause, ConnectionRefusedError):
            return FailureDetail.REFUSED
        if isinstance(cause, (TimeoutError, httpx.TimeoutException)):
            return FailureDetail.TIMEOUT
    return FailureDetail.UNREACHABLE


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
