"""Random receipts of several organisations with verdicts, random searches, and what plain Python says of both."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from jatevo.accounts.models import Org
from jatevo.wire.names import normal_model
from nodes.models import Node
from receipts.models import Receipt
from tests.earnings.rows import earn, judge
from tests.factories import NodeFactory, OrgFactory, ReceiptFactory

MODELS = ("qwen3", "QWEN3:latest", "llama3.1-8b", "Mistral")
REGIONS = ("eu", "us-east", "ap-southeast")
OUTCOMES = (None, "ok", "error", "cancelled")
STATES = (("payable", ""), ("held", "late"), ("excluded", "in_service"))


@dataclass(frozen=True)
class Known:
    """A receipt as the scene made it."""

    id: int
    accepted_at: datetime
    node_id: str
    request_id: str
    org_id: UUID | None
    region: str
    model_id: str
    tokens_input: int
    tokens_output: int
    p95_ms: float
    hedged: bool
    cache_hit: bool
    outcome: str
    key: str
    sha256: str
    payment: str = "pending"
    fee_usd: Decimal = Decimal(0)


class SearchScene:
    """Two organisations with two nodes each, one of which changed hands, and receipts of `span` until `now`."""

    def __init__(self, seed: int, *, now: datetime, receipts: int, span: timedelta) -> None:
        self.draw = random.Random(seed)
        self.now, self.span = now, span
        self.orgs: list[Org] = [OrgFactory.create(), OrgFactory.create()]
        self.nodes: list[Node] = [
            NodeFactory.create(id=f"node-{number}", org=self.orgs[number % 2]) for number in range(4)
        ]
        self.known = [self._receipt(number) for number in range(receipts)]

    def _receipt(self, number: int) -> Known:
        draw = self.draw
        node = draw.choice(self.nodes)
        at = self.now - timedelta(microseconds=draw.randrange(int(self.span.total_seconds()) * 1_000_000))
        if self.draw.random() < 0.3:
            at = at.replace(microsecond=0)
        model, region, outcome = draw.choice(MODELS), draw.choice(REGIONS), draw.choice(OUTCOMES)
        tokens = (draw.choice((0, 7, 2**53 - 1, draw.randrange(4000))), draw.randrange(2000))
        hedged, cache_hit, key = (
            draw.random() < 0.3,
            draw.random() < 0.4,
            draw.choice(("current", "former", "")),
        )
        org_id = draw.choice((node.org_id, node.org_id, self.orgs[0].pk, None))
        name = f"{draw.choice(('a', 'b'))}{draw.choice(('x', 'y'))}-{number:05}"
        payment, fee = "pending", Decimal(0)
        if draw.random() < 0.75:
            state, rule = draw.choice(STATES)
            item = earn(
                node, at - timedelta(seconds=2), state=state, rule=rule, model=model, request_id=name,
                tokens_input=tokens[0], tokens_output=tokens[1], cache_hit=cache_hit, hedged=hedged, accepted_at=at,
            )  # fmt: skip
            if draw.random() < 0.3:
                state, rule = draw.choice(STATES)
                judge(item, state, at=self.now, rule=rule)
            receipt = Receipt.objects.get(id=item.receipt_id)
            payment, fee = state, item.fee_usd
        else:
            receipt = ReceiptFactory(
                node=node, at=at, request_id=name, model_id=model, tokens_input=tokens[0], tokens_output=tokens[1],
                hedged=hedged, cache_hit=cache_hit,
            )  # fmt: skip
        p95 = draw.choice((0.0, 12.5, 310.1, float(draw.randrange(5000))))
        Receipt.objects.filter(id=receipt.id).update(
            region=region,
            p95_ms=p95,
            failed=outcome == "error",
            payload={**receipt.payload, **({"outcome": outcome} if outcome else {})},
            key_since=self.now - timedelta(days=900) if key else None,
            key_until=self.now - timedelta(days=1) if key == "former" else None,
            org_id=org_id,
        )
        return Known(
            receipt.id, at, node.pk, name, org_id, region, model, *tokens, p95, hedged, cache_hit,
            outcome or "ok", key, bytes(receipt.sha256).hex(), payment, fee,
        )  # fmt: skip

    def decide(self, item_receipt: Known, state: str) -> Known:
        """The same receipt with another state."""
        return replace(item_receipt, payment=state)

    def seen_by(self, org: Org | None) -> list[Known]:
        """What an operator of the organisation sees, or an admin (None)."""
        if org is None:
            return list(self.known)
        own = {node.pk for node in self.nodes if node.org_id == org.pk}
        return [each for each in self.known if each.node_id in own and each.org_id in (org.pk, None)]

    def search(self) -> dict[str, str]:
        """A random search with up to four filters."""
        draw = self.draw
        one = draw.choice(self.known)
        edges = [one.accepted_at, self.now - self.span * draw.random(), self.now + timedelta(hours=1)]
        values: Mapping[str, Sequence[str]] = {
            "node_id": [one.node_id, "node-9"],
            "request_id": [one.request_id, one.request_id[:1], one.request_id[:2], "none"],
            "model_id": ["QWEN3", "mistral:latest", one.model_id],
            "region": REGIONS,
            "hedged": ["true", "false"],
            "cache_hit": ["true", "false"],
            "outcome": ["ok", "error", "cancelled"],
            "payment": ["pending", "payable", "held", "excluded"],
            "key": ["current", "former"],
            "sha256": [one.sha256, one.sha256.upper(), "0" * 64],
            "from": [draw.choice(edges).isoformat(), f"{draw.choice(edges):%F}"],
            "to": [draw.choice(edges).isoformat(), f"{draw.choice(edges):%F}"],
        }
        names = draw.sample(sorted(values), draw.choice((0, 1, 1, 2, 2, 3, 4)))
        return {name: draw.choice(values[name]) for name in names}


def matching(known: Sequence[Known], search: Mapping[str, str]) -> Iterator[Known]:
    """What the search of the page finds, by the text of the filters' descriptions. Days are in UTC."""
    for each in known:
        if all(_MATCHES[name](each, value) for name, value in search.items()):
            yield each


def _moment(text: str, *, end: bool) -> datetime:
    found = datetime.fromisoformat(text)
    if len(text) == 10:
        return found.replace(tzinfo=UTC) + timedelta(days=end)
    return found


_MATCHES: dict[str, Any] = {
    "node_id": lambda each, text: each.node_id == text,
    "request_id": lambda each, text: each.request_id.startswith(text),
    "model_id": lambda each, text: normal_model(each.model_id) == normal_model(text),
    "region": lambda each, text: each.region == text,
    "hedged": lambda each, text: each.hedged == (text == "true"),
    "cache_hit": lambda each, text: each.cache_hit == (text == "true"),
    "outcome": lambda each, text: each.outcome == text,
    "payment": lambda each, text: each.payment == text,
    "key": lambda each, text: each.key == text,
    "sha256": lambda each, text: each.sha256 == text.lower(),
    "from": lambda each, text: each.accepted_at >= _moment(text, end=False),
    "to": lambda each, text: each.accepted_at < _moment(text, end=True),
}
