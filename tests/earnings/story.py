"""Random stories: what can happen to nodes, receipts and gateways, told to the database and to the oracle alike.

A story is drawn from a `Random`, which may be Hypothesis's own, so that a story that fails is made smaller.
All moments are whole seconds.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

from django.db import models

from earnings.accrual import accrue_all, decide
from earnings.models import HeldItem, ModelLimit, Policy, Rate, VerdictState
from jatevo.accounts.models import Org, Role, User
from nodes.models import (
    Exemption,
    FindingState,
    FraudCause,
    FraudFinding,
    FraudRelation,
    Node,
    NodeOffer,
    NodeTransition,
)
from receipts.models import Dispatch, DispatchWinner, Gateway, Receipt, ReceiptIdentity, UnjudgedReceipt
from tests.earnings.oracle import (
    Accepted,
    Books,
    Finding,
    KnownNode,
    Limit,
    Offer,
    Outage,
    Passage,
    Price,
    Said,
    same_name,
)
from tests.factories import OrgFactory, UserFactory

START = datetime(2026, 10, 5, tzinfo=UTC)
LONG_AGO = START - timedelta(days=40)
MODELS = ("llama3.1-8b", "Llama3.1-8B:latest", "qwen3", "QWEN3:latest", "mistral")
REGIONS = ("ap-southeast", "eu-west")
AHEAD: dict[str, tuple[tuple[str, str], ...]] = {  # where a node can go from each phase, and why
    "registered": (("probing", "first_heartbeat"), ("quarantine", "admin")),
    "probing": (("active", "probe_passed"), ("active", "probe_passed"), ("quarantine", "probes_failed")),
    "active": (
        ("offline", "no_heartbeat"),
        ("offline", "no_heartbeat"),
        ("offline", "maintenance"),
        ("quarantine", "audit_failed"),
    ),
    "offline": (("probing", "first_heartbeat"), ("probing", "first_heartbeat"), ("quarantine", "admin")),
    "quarantine": (("registered", "cleared"), ("active", "audits_passed")),
}


def _seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


class Story:
    """One story. `tell` lets so many things happen, and `end` lets all days become final.

    `books` is the oracle's account. `check` is called after each accrual.
    """

    def __init__(self, random: Random, check: Callable[["Story"], None], *, busy: bool = False) -> None:
        """`busy`: much happens in little time, as in a long story."""
        self.random, self.check, self.busy = random, check, busy
        self.books = Books()
        self.now = START
        self.numbers = 0
        self.slots: dict[str, int] = {}
        self.rows: dict[type[models.Model], list[Any]] = {}
        self.late_rows: dict[type[models.Model], list[Any]] = {}
        self.arrived: list[Accepted] = []
        self.late: list[Accepted] = []
        self.receipts: list[Accepted] = []
        self.phases: dict[str, str] = {}
        self.keys: dict[str, list[tuple[datetime, datetime | None]]] = {}
        self.requests: list[str] = ["shared-0"]
        self.findings: list[tuple[FraudFinding, Finding]] = []
        self.gateway = Gateway.objects.create(id="gateway-1")
        self.admin: User = UserFactory.create(role=Role.ADMIN)
        self.orgs: list[Org] = [OrgFactory.create() for _ in range(2)]
        self._prices()
        for _ in range(random.randint(1, 3)):
            self.new_node()

    # The course of it

    def tell(self, events: int) -> None:
        acts: list[tuple[Callable[[], None], int]] = [
            (self.receipt, 45), (self.dispatch, 22), (self.accrue, 2 if self.busy else 8), (self.transition, 6),
            (self.decide, 1), (self.winner, 3), (self.finding, 1), (self.outage, 1), (self.offer, 2),
            (self.rotate, 1), (self.new_node, 1), (self.move, 1), (self.concurrency, 1),
        ]  # fmt: skip
        for _ in range(events):
            self.now += _seconds(self.random.choice((0, 1, 7, 60, 299, 300, 1800)))
            if self.random.randint(0, 150 if self.busy else 30) == 30:
                self.now += _seconds(self.random.randint(1, 14) * 43_200)
            self.random.choices([act for act, _ in acts], [weight for _, weight in acts])[0]()

    def end(self) -> None:
        """Everything that waits for time to pass."""
        for days in (0, 7, 10):
            self.now += timedelta(days=days)
            self.accrue()

    def _keep(self, row: models.Model, *, late: bool = False) -> None:
        rows = self.late_rows if late else self.rows
        rows.setdefault(type(row), []).append(row)

    def store(self) -> None:
        """What came since the last time, all at once, but for receipts whose commit is late: those come next time."""
        for kind, rows in self.rows.items():
            kind._default_manager.bulk_create(rows)
        for receipt in self.arrived:
            self.books.accept(receipt)
        self.rows, self.arrived = self.late_rows, self.late
        self.late_rows, self.late = {}, []

    def accrue(self) -> None:
        self.store()
        accrue_all(
            at=self.now, batch=self.random.choice((20, 100, 1000) if self.busy else (1, 2, 3, 7, 1000))
        )
        self.books.run(self.now)
        self.check(self)

    # Prices and policies, all of them before the first item

    def _prices(self) -> None:
        for model in ("", "llama3.1-8b", "qwen3"):
            for days in self._dates(model == ""):
                self._price(model, LONG_AGO + timedelta(days=days))
                self._limit(model, LONG_AGO + timedelta(days=days))
        self.books.limits.append(Limit("", datetime(2000, 1, 1, tzinfo=UTC), Fraction(1000), 2_000_000))
        self.books.must_dispatch.append((datetime(2000, 1, 1, tzinfo=UTC), False))
        for days in sorted({*self._dates(False), *((44, 60) if self.busy else ())}):
            since = LONG_AGO + timedelta(days=days)
            must = days == 44 if days in (44, 60) else self.random.random() < 0.5
            Policy.objects.create(holds_from=since, require_dispatch=must, created_by="test")
            self.books.must_dispatch.append((since, must))

    def _dates(self, needed: bool) -> list[float]:
        first = [0.0] if needed else []
        return first + [40 + self.random.randint(0, 80) / 4 for _ in range(self.random.randint(0, 2))]

    def _price(self, model: str, since: datetime) -> None:
        if any(price.model == model and price.since == since for price in self.books.prices):
            return
        amounts = [Decimal(self.random.choice((0, 1, 100_000, 400_001, 7_654_321))) / 1_000_000 for _ in "io"]
        discount = Decimal(self.random.choice((0, 1, 3333, 5000, 10_000))) / 10_000
        Rate.objects.create(
            model=model, holds_from=since, input_usd=amounts[0], output_usd=amounts[1],
            cache_hit_discount=discount, created_by="test",
        )  # fmt: skip
        input_usd, output_usd = map(Fraction, amounts)
        self.books.prices.append(Price(model, since, input_usd, output_usd, Fraction(discount)))

    def _limit(self, model: str, since: datetime) -> None:
        if any(limit.model == model and limit.since == since for limit in self.books.limits):
            return
        per_second, context = (
            self.random.choice((Decimal("33.33"), Decimal(100))),
            self.random.choice((4096, 100_000)),
        )
        ModelLimit.objects.create(
            model=model,
            holds_from=since,
            output_per_second=per_second,
            context_tokens=context,
            created_by="test",
        )
        self.books.limits.append(Limit(model, since, Fraction(per_second), context))

    # Nodes

    def new_node(self) -> None:
        number = len(self.books.nodes)
        if number >= 8:
            return
        org = self.random.choice(self.orgs)
        created = START - timedelta(days=30) if number < 2 else self.now
        node = Node.objects.create(
            id=f"node-{number}", org=org, region=self.random.choice(REGIONS), runtime="ollama", status="active",
            concurrency=self.random.choice((1, 2, 4)),
        )  # fmt: skip
        Node.objects.filter(pk=node.pk).update(created_at=created)
        self.books.nodes[node.pk] = KnownNode(node.pk, str(org.pk), node.region, created)
        self.slots[node.pk] = node.concurrency
        self.keys[node.pk] = [(created, None)]
        self._pass(node.pk, "probing", "first_heartbeat", created)
        if number < 2 or self.random.random() < 0.8:
            self._pass(node.pk, "active", "probe_passed", created + _seconds(20 if number < 2 else 0))
        for model in MODELS[: self.random.choice((0, 3, 5, 5))]:
            self._start_offer(node.pk, same_name(model), created)

    def _pass(self, node: str, to: str, reason: str, at: datetime) -> None:
        heard = None
        evidence = {}
        if to == "offline":
            heard = at - _seconds(self.random.choice((300, 305, 330)))
            evidence = {"last_heartbeat_at": heard.isoformat()}
            if self.random.randint(0, 9) == 9:
                heard, evidence = None, {"last_heartbeat_at": "None"}
        NodeTransition.objects.create(
            node_id=node, at=at, from_status=self.phases.get(node, "registered"), to_status=to, reason=reason,
            actor_kind="system", actor_id="console", evidence=evidence,
        )  # fmt: skip
        status = "pending" if to in {"registered", "probing"} else to
        Node.objects.filter(pk=node).update(status=status, status_since=at)
        self.phases[node] = to
        self.books.passages.append(Passage(node, at, to, reason, heard))

    def transition(self) -> None:
        node = self._node()
        away = sorted(each for each, phase in self.phases.items() if phase != "active")
        if away and self.random.randint(0, 3):
            node = self.random.choice(away)
        to, reason = self.random.choice(AHEAD[self.phases[node]])
        self._pass(node, to, reason, self.now)

    def _node(self) -> str:
        return self.random.choice(sorted(self.books.nodes))

    def _start_offer(self, node: str, model: str, since: datetime) -> None:
        if any(o.node == node and o.model == model and o.until is None for o in self.books.offers):
            return
        NodeOffer.objects.create(node_id=node, model=model, offered_from=since)
        self.books.offers.append(Offer(node, model, since))

    def offer(self) -> None:
        """A node begins or ceases to offer a model."""
        node, model = self._node(), same_name(self.random.choice(MODELS))
        for offer in self.books.offers:
            if (offer.node, offer.model, offer.until) == (node, model, None):
                offer.until = self.now
                NodeOffer.objects.filter(node_id=node, model=model, offered_until=None).update(
                    offered_until=self.now
                )
                return
        self._start_offer(node, model, self.now)

    def rotate(self) -> None:
        node = self._node()
        since, _ = self.keys[node].pop()
        self.keys[node] += [(since, self.now), (self.now, None)]

    def move(self) -> None:
        node, org = self._node(), self.random.choice(self.orgs)
        Node.objects.filter(pk=node).update(org=org)
        self.books.nodes[node].org = str(org.pk)

    def concurrency(self) -> None:
        node = self._node()
        self.slots[node] = self.random.choice((1, 2, 4))
        Node.objects.filter(pk=node).update(concurrency=self.slots[node])

    def outage(self) -> None:
        """An outage of the console ends, or one begins, or one is noted that is over."""
        going_on = [outage for outage in self.books.outages if outage.until is None]
        if going_on:
            going_on[0].until = self.now
            Exemption.objects.filter(ends_at=None).update(ends_at=self.now)
            return
        since = self.now - _seconds(self.random.choice((60, 1800, 40_000)))
        outage = Outage("", since, None if self.random.randint(0, 2) == 2 else self.now)
        Exemption.objects.create(kind="outage", starts_at=since, ends_at=outage.until, created_by="console")
        self.books.outages.append(outage)

    # Requests

    def _request(self) -> str:
        if self.random.random() < 0.4:
            return self.random.choice(self.requests[-12:])
        self.numbers += 1
        self.requests.append(f"r-{self.numbers}")
        return self.requests[-1]

    def receipt(self) -> None:
        node_id = self._node()
        active = sorted(each for each, phase in self.phases.items() if phase == "active")
        if active and self.random.randint(0, 3):
            node_id = self.random.choice(active)
        node = self.books.nodes[node_id]
        request = self._request()
        if any(one.node == node.id and one.request == request for one in self.receipts):
            return
        delay = self.random.choice((0, 5, 5, 5, 5, 60, 60, 900, 901, -300, 4000, 90_000, 600_000))
        end = self.now - _seconds(delay)
        if self.receipts and self.random.randint(0, 3) == 3:  # at the time of another one, as nested work is
            other = self.random.choice(self.receipts[-8:])
            if other.end >= self.now - timedelta(days=7):
                end = other.end
        elif (
            self.random.randint(0, 5) == 5
        ):  # as long after a change of the node's phase as clocks may differ
            passages = [passage.at for passage in self.books.passages if passage.node == node_id]
            at = passages[-1] + _seconds(self.random.choice((-301, -300, 300, 301)))
            if self.now - timedelta(days=7) <= at <= self.now + _seconds(300):
                end = at
        seconds = self.random.choice((0, 0, 0, 1, 10, 10, 60, 600, self.random.choice((600, 86_400, 86_401))))
        model = self.random.choice(MODELS)
        most = 100 * (seconds + 1)
        tokens_output = self.random.choice((0, 1, 33, 33, 67, 92, 33 * (seconds + 1), most, most + 1))
        if self.random.randint(0, 19) == 19:
            tokens_output = 100_000_000
        tokens_input = self.random.choice(
            (0, 128, 128, 1000, max(0, 4096 - tokens_output), max(0, 100_001 - tokens_output))
        )
        key = self.keys[node.id][-1]
        if self.random.randint(0, 9) == 9:
            key = self.random.choice(self.keys[node.id][-3:])
        failed, hedged, cache_hit = (self.random.randint(0, 19) < chance for chance in (1, 12, 6))
        number = len(self.receipts) + 1
        sha256 = hashlib.sha256(str(number).encode()).digest()
        accepted = Accepted(
            number, self.now, node.id, node.org, request, model, end - _seconds(seconds), end, tokens_input,
            tokens_output, failed, hedged, cache_hit, self.slots[node.id], *key,
        )  # fmt: skip
        late = self.random.randint(0, 24) == 24
        self.receipts.append(accepted)
        (self.late if late else self.arrived).append(accepted)
        self._keep(late=late, row=Receipt(
            id=number, accepted_at=self.now, node_id=node.id, request_id=request, region=node.region, model_id=model,
            ts_start=accepted.start, ts_end=accepted.end, tokens_input=tokens_input, tokens_output=tokens_output,
            p95_ms=1, hedged=hedged, cache_hit=cache_hit, failed=failed, node_status="active",
            node_status_at_end="active", public_key=b"k" * 32, key_since=key[0], key_until=key[1],
            org_id=node.org, concurrency=self.slots[node.id], sha256=sha256, raw=b"{}", payload={},
        ))  # fmt: skip
        known = {"node_id": node.id, "request_id": request, "accepted_at": self.now}
        self._keep(ReceiptIdentity(sha256=sha256, **known), late=late)
        self._keep(UnjudgedReceipt(id=number, **known), late=late)

    def dispatch(self) -> None:
        request = self._request()
        receipts = [one for one in self.receipts if one.request == request]
        node = self._node()
        model = self.random.choice(MODELS)
        ts = self.now - _seconds(self.random.choice((0, 10, 301)))
        tokens_input = max_tokens = None
        if receipts:
            one = self.random.choice(receipts)
            if self.random.randint(0, 3):
                node = one.node
            if self.random.randint(0, 7):
                model = one.model if self.random.randint(0, 1) else one.model.upper()
            ts = one.start + _seconds(self.random.choice((0, 0, 1, -300, -301, 300)))
            tokens_input = self.random.choice(
                (None, one.tokens_input, max(0, (one.tokens_input - 50) * 10 // 11))
            )
            max_tokens = self.random.choice((None, one.tokens_output, 1_000, max(0, one.tokens_output - 1)))
        if any(said.node == node for said in self.books.said[request]):
            return
        self._keep(Dispatch(
            gateway=self.gateway, request_id=request, node_id=node, model=same_name(model), model_id=model, ts=ts,
            hedged=False, tokens_input=tokens_input, max_tokens=max_tokens, received_at=self.now,
        ))  # fmt: skip
        self.books.said[request].append(Said(request, node, model, ts, self.now, tokens_input, max_tokens))

    def winner(self) -> None:
        request = self.random.choice(self.requests[-12:])
        if request in self.books.winners:
            return
        nodes = [one.node for one in self.receipts if one.request == request] or [self._node()]
        node = self.random.choice(nodes)
        self._keep(
            DispatchWinner(request_id=request, node_id=node, gateway=self.gateway, received_at=self.now)
        )
        self.books.winners[request] = node, self.now

    # Judgement by people

    def decide(self) -> None:
        self.store()
        may = self.books.decidable()
        if not may:
            return
        chosen = {self.random.choice(may[-20:]) for _ in range(3)}
        state = self.random.choice((VerdictState.PAYABLE, VerdictState.EXCLUDED))
        held = HeldItem.objects.filter(pk__in=chosen)
        assert decide(held, state=state, by=self.admin, reason="Looked into.", at=self.now) == len(chosen)
        self.books.decide(chosen, state.value, self.now)

    def finding(self) -> None:
        deed = self.random.choice(("open", "clear", "clear", "confirm", "relate", "lift", "extend"))
        if deed == "open":
            self._open_finding()
            return
        if not self.findings:
            return
        row, known = self.random.choice(self.findings)
        rows = FraudFinding.objects.filter(pk=row.pk)
        if deed in {"clear", "confirm"} and known.state == "open":
            known.state = {"clear": FindingState.CLEARED, "confirm": FindingState.CONFIRMED}[deed].value
            rows.update(state=known.state, decided_at=self.now, decided_by="a@example.org", decision="Seen.")
            if deed == "clear":
                FraudRelation.objects.filter(finding=row).update(
                    lifted_at=self.now, lifted_by="a@example.org"
                )
                known.related = dict.fromkeys(known.related, False)
        elif deed == "extend" and known.state == "open":
            known.doubtful_from -= timedelta(days=1)
            rows.update(doubtful_from=known.doubtful_from)
        elif deed == "relate" and known.state != "cleared":
            node = self._node()
            if node != known.node and node not in known.related:
                known.related[node] = True
                FraudRelation.objects.create(
                    finding=row, node_id=node, ground="endpoint", value="http://x", related_at=self.now
                )
        elif deed == "lift" and known.related:
            node = self.random.choice(sorted(known.related))
            known.related[node] = False
            FraudRelation.objects.filter(finding=row, node_id=node).update(
                lifted_at=self.now, lifted_by="a@example.org"
            )

    def _open_finding(self) -> None:
        node = self._node()
        if any(known.node == node and known.state != "cleared" for _, known in self.findings):
            return
        doubtful = self.now - _seconds(self.random.choice((0, 3600, 86_400, 604_800)))
        details: dict[str, Any] = {"opened_at": self.now, "doubtful_from": doubtful}
        row = FraudFinding.objects.create(
            node_id=node, cause=FraudCause.ADMIN, opened_by="a@example.org", **details
        )
        known = Finding(node, **details)
        self.findings.append((row, known))
        self.books.findings.append(known)
