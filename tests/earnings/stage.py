"""A stage for scenes: nodes of several organisations, a gateway and a clock, through the console's front door."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import time_machine
from nacl.signing import SigningKey

from earnings.accrual import accrue_all, decide
from earnings.models import HeldItem, Item, Policy, Verdict, VerdictState
from jatevo.accounts.models import Org, Role, User
from jatevo.audit.record import SYSTEM
from jatevo.wire import signing
from nodes.actions import add_key, happen
from nodes.models import Node, NodeTransition
from nodes.rules.lifecycle import Event
from receipts.models import Gateway
from tests.earnings.rows import make_rate
from tests.factories import NodeFactory, OrgFactory, UserFactory, receipt_payload, signing_key_of
from tests.machines import SignedSender

NOW = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
CREATED = NOW - timedelta(days=40)


class Stage:
    """One scene. Nodes are named when they first act: `name` or `org/name`. The clock moves by `later` only."""

    def __init__(self, clock: time_machine.Traveller, *, require_dispatch: bool = False) -> None:
        self.clock, self.now = clock, NOW
        make_rate()
        if require_dispatch:
            Policy.objects.create(holds_from=CREATED, require_dispatch=True, created_by="test")
        self.gateway = SignedSender.gateway(Gateway.objects.create(id="gateway-1"))
        self.orgs: dict[str, Org] = {}
        self.admin: User = UserFactory.create(role=Role.ADMIN)

    def org(self, name: str) -> Org:
        if name not in self.orgs:
            self.orgs[name] = OrgFactory.create(name=name)
        return self.orgs[name]

    def node(self, name: str, org: str = "", *, since: datetime = CREATED, **details: Any) -> Node:
        """The node of that name, active since it was created. The first mention creates it."""
        found = Node.objects.filter(pk=name).first()
        if found is not None:
            return found
        node: Node = NodeFactory.create(id=name, org=self.org(org or name), status="active", **details)
        Node.objects.filter(pk=name).update(created_at=since, status_since=since)
        node.keys.update(valid_from=since)
        node.offers.update(offered_from=since)
        NodeTransition.objects.create(
            node=node, at=since, from_status="probing", to_status="active", reason="probe_passed",
            actor_kind="system", actor_id="console",
        )  # fmt: skip
        node.refresh_from_db()
        return node

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)
        self.clock.move_to(self.now)

    def receipt(
        self,
        name: str,
        request: str = "r",
        *,
        ago: float = 20,
        seconds: int = 10,
        key: SigningKey | None = None,
        status: int = 201,
        **members: Any,
    ) -> dict[str, Any]:
        """The node posts a receipt for work that ended so many seconds ago. Returns the answer."""
        node = self.node(name)
        ended = int(self.now.timestamp() - ago)
        payload = receipt_payload(
            name,
            **{
                "request_id": request,
                "ts_start": ended - seconds,
                "ts_end": ended,
                "cache_hit": False,
                **members,
            },
        )
        return self.post(node, signing.sign(payload, key or signing_key_of(name)), status=status)

    def post(self, node: Node, receipt: dict[str, Any], *, status: int = 201) -> dict[str, Any]:
        answer = SignedSender.node(node).send("/v1/receipts", orjson.dumps(receipt))
        assert answer.status_code == status, answer.content
        said: dict[str, Any] = answer.json()
        return said

    def dispatch(self, name: str, request: str = "r", *, ago: float = 30, **members: Any) -> None:
        """The gateway says that it sent the request to the node so many seconds ago."""
        self._say({"request_id": request, "node_id": name, "model_id": "llama3.1-8b",
                   "ts": int(self.now.timestamp() - ago), **members})  # fmt: skip

    def winner(self, name: str, request: str = "r") -> None:
        self._say({"request_id": request, "winner": name})

    def _say(self, statement: dict[str, Any]) -> None:
        answer = self.gateway.send("/v1/dispatches", {"dispatches": [statement]})
        assert [result["status"] for result in answer.json()["results"]] == [201], answer.content

    def happen(self, name: str, event: Event, **details: Any) -> None:
        happen(name, event, by=SYSTEM, at=self.now, **details)

    def accrue(self) -> None:
        accrue_all(at=self.now)

    def decide(self, state: VerdictState, name: str, request: str = "r") -> None:
        held = HeldItem.objects.filter(node_id=name, request_id=request)
        assert decide(held, state=state, by=self.admin, reason="Looked into.", at=self.now) == 1

    def verdict(self, name: str, request: str = "r") -> str:
        """As in `payable`, `payable, confirmed`, `held: late` or `excluded: contradicts`."""
        item = Item.objects.get(node_id=name, request_id=request)
        newest = Verdict.objects.filter(receipt_id=item.receipt_id).order_by("-id")[0]
        if newest.state == "payable":
            return "payable, confirmed" if newest.confirmed else "payable"
        return f"{newest.state}: {newest.cause}"


def rotate(stage: Stage, name: str) -> SigningKey:
    """The node's key is replaced. Returns the new one."""
    key = SigningKey(b"n" * 32)
    add_key(node=stage.node(name), public_key=bytes(key.verify_key), by=SYSTEM, at=stage.now)
    return key
