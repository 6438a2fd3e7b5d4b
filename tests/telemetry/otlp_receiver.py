"""A receiver of traces in a process of its own: takes what is posted to /v1/traces, and gives it back as JSON.

python -m tests.telemetry.otlp_receiver PORT
"""

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from jatevo.local import checks

BASE_DIR = Path(__file__).parents[2]
START_SECONDS = 30.0


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came over the wire. Ids are hexadecimal. `parent_id` is '' without one."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    failed: bool
    attributes: dict[str, Any]
    service: str
    links: list[tuple[str, str]] = field(default_factory=list)


class Receiver:
    """The process, as the test sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def spans(self) -> list[ReceivedSpan]:
        """What has come so far."""
        answer = httpx.get(f"{self.url}/spans", trust_env=False).json()
        return [ReceivedSpan(**{**each, "links": [tuple(link) for link in each["links"]]}) for each in answer]

    def forget(self) -> None:
        httpx.delete(f"{self.url}/spans", trust_env=False)


@contextmanager
def receiving() -> Iterator[Receiver]:
    with checks.claim_port(0) as claimed:
        port = claimed.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.telemetry.otlp_receiver", str(port)], cwd=BASE_DIR
    )
    receiver = Receiver(f"http://{checks.LOOPBACK}:{port}")
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                receiver.spans()
                break
            except httpx.TransportError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
        yield receiver
    finally:
        process.terminate()
        process.wait()


_received: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        _received.extend(_described(ExportTraceServiceRequest.FromString(body)))
        self._answer(ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf")

    def do_GET(self) -> None:
        self._answer(json.dumps(_received).encode(), "application/json")

    def do_DELETE(self) -> None:
        _received.clear()
        self._answer(b"[]", "application/json")

    def log_message(self, format: str, *args: Any) -> None: ...

    def _answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _described(request: ExportTraceServiceRequest) -> Iterator[dict[str, Any]]:
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "name": span.name,
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_id": span.parent_span_id.hex(),
                    "kind": span.kind,
                    "failed": span.status.code == 2,
                    "attributes": _values(span.attributes),
                    "service": service,
                    "links": [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                }


def _values(attributes: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, kind)
        for each in attributes
        if (kind := each.value.WhichOneof("value")) is not None and kind != "array_value"
    }


if __name__ == "__main__":
    ThreadingHTTPServer((checks.LOOPBACK, int(sys.argv[1])), _Handler).serve_forever()
