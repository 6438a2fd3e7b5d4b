"""Agents, validators and gateways for tests, which sign requests and send them with Django's client."""

import base64
import hmac
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import orjson
from django.conf import settings
from django.test import Client
from django.utils import timezone

from jatevo.accounts import sessions
from jatevo.accounts.models import User
from nodes.models import Node, Validator
from nodes.rules.credentials import derive_secret
from receipts.models import Gateway

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse

    from tests.lane import LaneClient

    Answer = _MonkeyPatchedWSGIResponse  # what the test client gives: an HttpResponse with json()
else:
    Answer = Any


class SignedSender:
    """Signs requests as one sender. `send` takes raw bytes too, and headers that override the correct ones.

    With a `lane` (tests/lane.py), POSTs to its paths go there.
    """

    lane: "ClassVar[LaneClient | None]" = None

    def __init__(self, header: str, sender: str, secret: bytes) -> None:
        self.header = header
        self.sender = sender
        self.secret = secret
        self.client = Client(raise_request_exception=False)

    @classmethod
    def node(cls, node: Node) -> "SignedSender":
        return cls(
            "X-Node-Id", node.pk, derive_secret(settings.MASTER_KEY, "node", node.pk, node.token_version)
        )

    @classmethod
    def validator(cls, validator: Validator) -> "SignedSender":
        secret = derive_secret(settings.MASTER_KEY, "validator", validator.pk, validator.token_version)
        return cls("X-Validator-Id", validator.pk, secret)

    @classmethod
    def gateway(cls, gateway: Gateway) -> "SignedSender":
        secret = derive_secret(settings.MASTER_KEY, "gateway", gateway.pk, gateway.token_version)
        return cls("X-Gateway-Id", gateway.pk, secret)

    def headers(
        self, body: bytes, *, at: float | None = None, message_id: str | None = None
    ) -> dict[str, str]:
        message_id = message_id or f"msg_{uuid.uuid4().hex}"
        stamp = str(int(time.time() if at is None else at))
        mac = hmac.digest(self.secret, f"{message_id}.{stamp}.".encode() + body, "sha256")
        return {
            self.header: self.sender,
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(mac).decode(),
        }

    def send(
        self,
        path: str,
        body: Any,
        *,
        at: float | None = None,
        message_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.post(path, raw, self.headers(raw, at=at, message_id=message_id) | dict(headers or {}))

    def post(self, path: str, body: bytes | str, headers: Mapping[str, str]) -> Answer:
        """Sends what is signed already."""
        through = (
            self.lane if self.lane is not None and path.partition("?")[0] in self.lane.paths else self.client
        )
        answer = through.post(path, body, content_type="application/json", headers=headers)
        return cast("Answer", answer)

    def get(self, path: str) -> Answer:
        return self.client.get(path, headers=self.headers(b""))

    def beat(self, *, ts: float | None = None, **members: Any) -> Answer:
        body = {"node_id": self.sender, "ts": time.time() if ts is None else ts,
                "metrics": {"uptime": 12.5, "gpu_util": 0.5, "temp": 61.5}, **members}  # fmt: skip
        return self.send("/v1/nodes/heartbeat", body)


def bearer(user: User) -> dict[str, str]:
    """The authorization header of a script of the user."""
    return {"Authorization": f"Bearer {sessions.start(user=user, at=timezone.now()).access}"}
