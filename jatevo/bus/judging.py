"""A message of the stream as a signed request, and what follows for the message from its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from jatevo.bus.models import MessageKind
from jatevo.telemetry import tracing
from jatevo.web.error_types import ErrorType
from jatevo.web.errors import ApiError
from nodes.ingress.heartbeats import HEARTBEATS
from nodes.ingress.probes import PROBES
from nodes.ingress.signed import Answered, SignedEndpoint, SignedRequest
from receipts.dispatches.posting import DISPATCHES
from receipts.posting import RECEIPTS

ENDPOINTS: Final[Mapping[MessageKind, SignedEndpoint[Any]]] = {
    MessageKind.HEARTBEATS: HEARTBEATS,
    MessageKind.RECEIPTS: RECEIPTS,
    MessageKind.PROBES: PROBES,
    MessageKind.DISPATCHES: DISPATCHES,
}
# A heartbeat says that a node lives. It would be recorded with the time at which it is taken, so one that waited for
# longer would keep a node in service that has been silent since. As with an outage of HTTP, the next one is due soon.
MOST_WAIT_OF_HEARTBEATS: Final = timedelta(seconds=60)
# In place of an address, whose limit all messages share.
ADDRESS: Final = "bus"
_COMMON_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature", "traceparent", "tracestate")


class Fate(StrEnum):
    """What becomes of a message."""

    TAKEN = "taken"  # or was known before
    OUTDATED = "outdated"
    REFUSED = "refused"
    DELAYED = "delayed"  # a limit or a store: it comes again
    FAILED = "failed"  # a fault of ours: it comes again, within bounds


@dataclass(frozen=True)
class Message:
    """A delivered message. `headers` are those that the console reads, by lower-case names. `tries` counts deliveries,
    with this one.
    """

    kind: MessageKind
    sequence: int
    stored_at: datetime
    tries: int
    headers: Mapping[str, str]
    body: bytes

    def request(self, *, request_id: str, span: tracing.Span | None = None) -> SignedRequest:
        return SignedRequest(
            self.headers.get(ENDPOINTS[self.kind].header.lower(), ""),
            self.headers.get("webhook-id", ""),
            self.headers.get("webhook-timestamp", ""),
            self.headers.get("webhook-signature", ""),
            self.body,
            ADDRESS,
            request_id,
            span=span,
            stored_at=self.stored_at.timestamp(),
        )

    def is_outdated(self, at: datetime) -> bool:
        return self.kind is MessageKind.HEARTBEATS and at - self.stored_at > MOST_WAIT_OF_HEARTBEATS

    def is_too_large(self) -> bool:
        return len(self.body) > ENDPOINTS[self.kind].most_bytes


@dataclass(frozen=True)
class Verdict:
    """What becomes of a message, and why it was refused. `sender` is who signed a refused one, '' if that is not known.
    `wait_seconds` is how long it should wait at least, before it comes again.
    """

    fate: Fate
    error_type: str = ""
    error_message: str = ""
    sender: str = ""
    wait_seconds: float = 0.0


def headers_read(kind: MessageKind, sent: Mapping[str, str]) -> dict[str, str]:
    """Those of the message's headers that the console reads, by lower-case names.

    Bytes that are not UTF-8 come as lone surrogates, which PostgreSQL refuses. No valid header has any.
    """
    names = {ENDPOINTS[kind].header.lower(), *_COMMON_HEADERS}
    return {
        name.lower(): value.encode(errors="replace").decode()
        for name, value in sent.items()
        if name.lower() in names
    }


def too_large(message: Message) -> Verdict:
    limit = ENDPOINTS[message.kind].most_bytes // 1024
    return Verdict(Fate.REFUSED, ErrorType.TOO_LARGE, f"The body is over {limit} KiB.")


def verdict_on(request: SignedRequest, answered: Answered) -> Verdict:
    """What follows from the answer of the endpoint.

    A replay was taken before, because messages of a stream are found to be replays by PostgreSQL alone. Batches are
    refused if any of their items is, so that somebody sees it. The others are taken all the same.
    """
    if not isinstance(answered, ApiError):
        return _verdict_on_items(request, answered.body.get("results", []))
    if answered.type == ErrorType.REPLAYED_REQUEST:
        return Verdict(Fate.TAKEN)
    fate = Fate.REFUSED
    if answered.status in (429, 503):
        fate = Fate.DELAYED
    elif answered.status >= 500:
        fate = Fate.FAILED
    fields = "; ".join(f"{problem.field} {problem.message}" for problem in answered.details)
    return Verdict(
        fate,
        answered.type,
        f"{answered.message} {fields}".strip(),
        sender="" if answered.status == 401 else request.sender,
        wait_seconds=_wait_seconds(answered),
    )


def _verdict_on_items(request: SignedRequest, results: list[dict[str, Any]]) -> Verdict:
    refused = [result["error"] for result in results if "error" in result]
    if not refused:
        return Verdict(Fate.TAKEN)
    first = refused[0]
    fields = "; ".join(f"{each['field']} {each['message']}" for each in first.get("details", []))
    text = f"{len(refused)} of {len(results)} items were refused. The first: {first['message']} {fields}"
    return Verdict(Fate.REFUSED, first["type"], text.strip(), request.sender)


def _wait_seconds(error: ApiError) -> float:
    """That of a limit. How long a store is away is not known, so its tries come further and further apart."""
    return float(error.headers.get("Retry-After", 0)) if error.status == 429 else 0.0
