"""The ingress lane in the test's own thread and transaction, so that contract tests run on both adapters."""

import time
from collections.abc import Coroutine, Mapping, MutableMapping
from typing import Any

import orjson
import pytest
from django.http import HttpResponse

from jatevo.lane.application import Lane
from jatevo.web.gathering import Later
from nodes.ingress.challenges import CHALLENGES
from nodes.ingress.heartbeats import HEARTBEATS
from nodes.ingress.probes import PROBES
from nodes.ingress.signed import Answered, SignedEndpoint, SignedRequest
from nodes.models import Node
from receipts.dispatches.posting import DISPATCHES
from receipts.posting import RECEIPTS
from tests.machines import SignedSender

ENDPOINTS: tuple[SignedEndpoint[Any], ...] = (HEARTBEATS, CHALLENGES, RECEIPTS, PROBES, DISPATCHES)


def signed(machine: SignedSender, body: Any, *, message_id: str | None = None) -> SignedRequest:
    """What the sender would post. The endpoints take it as it is."""
    raw = orjson.dumps(body)
    headers = machine.headers(raw, message_id=message_id)
    return SignedRequest(
        machine.sender,
        headers["webhook-id"],
        headers["webhook-timestamp"],
        headers["webhook-signature"],
        raw,
        "127.0.0.1",
        "a-test",
    )


class LaneAnswer(HttpResponse):
    """With what answers of Django's client have."""

    def json(self) -> Any:
        return orjson.loads(self.content)


class AtOnce:
    """Answers each request alone, without threads."""

    def __init__(self, endpoint: SignedEndpoint[Any]) -> None:
        self._endpoint = endpoint

    async def ask(self, question: SignedRequest) -> Answered:
        (answered,) = self._endpoint.answer([question])
        return answered.answer() if isinstance(answered, Later) else answered

    def close(self) -> None: ...


class LaneClient:
    """Posts to the lane as Django's client does to the console."""

    paths = frozenset(each.path for each in ENDPOINTS)

    def __init__(self) -> None:
        self._lane = Lane(ENDPOINTS, asks=AtOnce)

    def post(
        self, path: str, data: bytes | str, *, content_type: str, headers: Mapping[str, str]
    ) -> LaneAnswer:
        body = data.encode() if isinstance(data, str) else data
        sent = {
            "Host": "testserver",
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            **headers,
        }
        path, _, query = path.partition("?")
        said: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: MutableMapping[str, Any]) -> None:
            said.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": query.encode(),
            "client": ("127.0.0.1", 50_000),
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        }
        _run(self._lane(scope, receive, send))
        start, rest = said
        answer = LaneAnswer(rest["body"], status=start["status"])
        for name, value in start["headers"]:
            answer[name.decode()] = value.decode()
        return answer


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Runs what never waits. An event loop would forbid the use of the test's database connection."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


@pytest.fixture(params=["DRF", "lane"])
def both_adapters(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What machines post goes to the DRF endpoints, and then to the lane."""
    if request.param == "lane":
        monkeypatch.setattr(SignedSender, "lane", LaneClient())


def beat(node: Node, ts: float | None = None) -> dict[str, Any]:
    """A heartbeat of the node, now or at `ts`."""
    return {"node_id": node.pk, "ts": time.time() if ts is None else ts, "metrics": {"uptime": 1}}
