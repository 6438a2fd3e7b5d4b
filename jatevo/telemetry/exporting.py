"""Records spans with OpenTelemetry's SDK and sends them to OTEL_EXPORTER_OTLP_ENDPOINT over HTTP.

Only imported where an endpoint is set, because the SDK takes 0.3 s to import. A thread sends spans in batches. If the
receiver does not answer, they wait in a queue of limited length, and those that find it full are lost.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.util import Finalize
from typing import Final

from django.conf import settings
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from jatevo.telemetry import tracing
from jatevo.telemetry.tracing import Attributes, Caller, Kind, Span

ANSWER_SECONDS: Final = 2.0

_KINDS: Final = {
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.CONSUMER: SpanKind.CONSUMER,
    Kind.INTERNAL: SpanKind.INTERNAL,
}


class OtlpSender:
    """A tracing.Sender. The receiver may take `answer_seconds` for a batch, and flushing twice as long."""

    def __init__(
        self,
        endpoint: str,
        *,
        service: str,
        ratio: float,
        most_per_second: int,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.ratio = ratio
        self.most_per_second = most_per_second
        # What is started is recorded: tracing.py has decided.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create({SERVICE_NAME: service}), shutdown_on_exit=False
        )
        self._exporter = _HurriedExporter(f"{endpoint.rstrip('/')}/v1/traces", answer_seconds)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("jatevo")

    def start(
        self,
        name: str,
        kind: Kind,
        parent: Span | Caller | None,
        attributes: Attributes,
        links: Sequence[Span | Caller] = (),
        began_ns: int | None = None,
    ) -> Span:
        context = Context()
        if parent is not None:
            context = set_span_in_context(NonRecordingSpan(_context(parent)), context)
        return Span(
            self._tracer.start_span(
                name,
                context,
                _KINDS[kind],
                attributes,
                [Link(_context(each)) for each in links],
                began_ns,
            )
        )

    def flush(self) -> None:
        """Sends what was recorded. What the receiver does not take in time is lost."""
        with self._exporter.hurried():
            self._provider.force_flush()

    def close(self) -> None:
        with self._exporter.hurried():
            self._provider.shutdown()


class _HurriedExporter(SpanExporter):
    """Sends batches. Once hurried, it gives up those that would be sent later than `answer_seconds` from then.

    The SDK would wait for a receiver that is gone for ten seconds for each batch in its queue.
    """

    def __init__(self, endpoint: str, answer_seconds: float) -> None:
        self._answer_seconds = answer_seconds
        self._until = math.inf  # monotonic seconds
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=answer_seconds)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        self._until = time.monotonic() + self._answer_seconds
        try:
            yield
        finally:
            self._until = math.inf

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if time.monotonic() > self._until:
            return SpanExportResult.FAILURE
        return self._exporter.export(spans)

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def start() -> OtlpSender:
    """Begins to record and send traces, as the settings say."""
    sender = OtlpSender(
        settings.OTLP_ENDPOINT,
        service=settings.SERVICE_NAME,
        ratio=settings.TRACES_RATIO,
        most_per_second=settings.TRACES_PER_SECOND,
    )
    tracing.send_to(sender)
    # Also at the end of granian's workers, which are children of multiprocessing and run nothing of atexit.
    Finalize(None, sender.close, exitpriority=0)
    return sender


def _context(each: Span | Caller) -> SpanContext:
    if isinstance(each, Span):
        return each.context
    return SpanContext(
        each.trace_id,
        each.span_id,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([each.tracestate]) if each.tracestate else None,
    )
