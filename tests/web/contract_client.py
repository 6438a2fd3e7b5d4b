"""A node's machine, a validator and a person who do what the contract says, over HTTP."""

import time
from collections.abc import Sequence
from typing import Any

import httpx
import orjson

from jatevo.local import checks
from jatevo.wire.keys import public_key_text
from nodes.models import Node
from tests.factories import signed_receipt, signing_key_of
from tests.machines import SignedSender

READS = (
    "/v1/nodes?limit=5",
    "/v1/receipts?limit=5",
    "/v1/nodes/{node}",
    "/v1/earnings/{node}",
    "/nodes/",
    "/receipts/",
)
EXPORTS = ("/nodes/~export.csv", "/receipts/~export.csv")


class ContractClient:
    """`http` has the cookies of an admin. Every answer is checked."""

    def __init__(self, http: httpx.Client, node: Node, validator: SignedSender) -> None:
        self._http = http
        self._node = node
        self._machine = SignedSender.node(node)
        self._validator = validator

    def post_all(self, port: int) -> None:
        """A heartbeat, a receipt, a batch of two, and a probe."""
        node = self._node.pk
        self._post(
            port, "/v1/nodes/heartbeat", {"node_id": node, "ts": time.time(), "metrics": {"uptime": 1.0}}
        )
        self._post(port, "/v1/receipts", signed_receipt(node), expected=201)
        two = {"receipts": [signed_receipt(node) for _ in range(2)]}
        assert [each["status"] for each in self._post(port, "/v1/receipts", two)["results"]] == [201, 201]
        probe = {"node_id": node, "kind": "health", "ok": True, "ts": time.time()}
        self._post(port, "/v1/probes", probe, expected=201, sender=self._validator)

    def export_all(self, port: int) -> None:
        """The number of exports at once is limited."""
        self.read_all(port, EXPORTS)

    def read_all(self, port: int, paths: Sequence[str] = READS) -> None:
        for path in paths:
            answer = self._http.get(_address(port, path.format(node=self._node.pk)))
            assert answer.status_code == 200, (path, answer.text[:300])

    def register(self, port: int, node_id: str) -> None:
        """A new node of the same organisation."""
        admin = {"Authorization": f"Bearer {self._http.cookies['jatevo_access']}"}
        wish = {"node_id": node_id, "org": str(self._node.org_id)}
        made = self._http.post(_address(port, "/v1/enrollments"), json=wish, headers=admin)
        assert made.status_code == 201, made.text
        key = public_key_text(bytes(signing_key_of(node_id).verify_key))
        answer = self._http.post(
            _address(port, "/v1/nodes/register"),
            json={"node_id": node_id, "region": "eu", "runtime": "vllm", "public_key": key},
            headers={"Authorization": f"Bearer {made.json()['token']}"},
        )
        assert answer.status_code == 201, answer.text

    def _post(
        self, port: int, path: str, body: Any, *, expected: int = 200, sender: SignedSender | None = None
    ) -> Any:
        raw = orjson.dumps(body)
        headers = (sender or self._machine).headers(raw) | {"Content-Type": "application/json"}
        answer = self._http.post(_address(port, path), content=raw, headers=headers)
        assert answer.status_code == expected, (path, answer.text[:300])
        return answer.json()


def _address(port: int, path: str) -> str:
    return f"http://{checks.LOOPBACK}:{port}{path}"
