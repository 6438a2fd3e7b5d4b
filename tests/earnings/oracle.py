"""What is paid, computed a second time: plainly, slowly, and from the contract alone.

Nothing of the console's rules or its SQL is used here. The contract is "When a receipt is paid" of the API and
"Money" of the design. `Books` is told what happens, in the order in which it happens; `run` does what a complete
accrual does, by going through everything again.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TypeVar

GRACE = timedelta(minutes=5)
ON_TIME = timedelta(minutes=15)
DISPATCH_COUNTS = timedelta(days=7)
DAY = timedelta(days=1)
FINAL_AFTER = timedelta(days=8)
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
LOSING = ("excluded", "one_per_request", "hedged_loser")
DISPUTED = ("held", "one_per_request", "disputed")


@dataclass
class KnownNode:
    id: str
    org: str
    region: str
    created_at: datetime


@dataclass(frozen=True)
class Passage:
    """A change of a node's phase. `heard_at`: of its last heartbeat before silence, if known."""

    node: str
    at: datetime
    to: str
    reason: str
    heard_at: datetime | None = None


@dataclass
class Offer:
    node: str
    model: str
    since: datetime
    until: datetime | None = None


@dataclass
class Outage:
    region: str  # '' is every region
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class Price:
    model: str
    since: datetime
    input_usd: Fraction
    output_usd: Fraction
    discount: Fraction


@dataclass(frozen=True)
class Limit:
    model: str
    since: datetime
    per_second: Fraction
    context: int


Dated = TypeVar("Dated", Price, Limit)


@dataclass(frozen=True)
class Said:
    """A dispatch."""

    request: str
    node: str
    model: str
    ts: datetime
    received_at: datetime
    tokens_input: int | None
    max_tokens: int | None


@dataclass
class Finding:
    node: str
    opened_at: datetime
    doubtful_from: datetime
    state: str = "open"
    related: dict[str, bool] = field(default_factory=dict)  # node: whether the relation still holds


@dataclass(frozen=True)
class Accepted:
    """A receipt with what its acceptance recorded."""

    id: int
    accepted_at: datetime
    node: str
    org: str
    request: str
    model: str
    start: datetime
    end: datetime
    tokens_input: int
    tokens_output: int
    failed: bool
    hedged: bool
    cache_hit: bool
    concurrency: int
    key_since: datetime | None
    key_until: datetime | None


@dataclass(frozen=True)
class Ruling:
    """A verdict. `rule` and `cause` are '' if the item is payable."""

    state: str
    rule: str = ""
    cause: str = ""
    confirmed: bool = False


@dataclass
class Entry:
    """An item: a receipt with the facts found when it was itemised."""

    receipt: Accepted
    price: Price
    fee: Fraction
    node_since: datetime
    in_service: bool
    only_silent: bool
    explained: timedelta
    offered: bool | None
    at_once: int
    second_tokens: int
    limit: Limit
    must_be_dispatched: bool
    ruling: Ruling | None = None
    passes: bool = False  # rules 1 to 6, when it was last judged
    person: str = ""  # what a person decided

    @property
    def day(self) -> date:
        return self.receipt.end.date()


LineKey = tuple[str, str, date, str, str, datetime]  # node, org, day, model, the rate's model and date


@dataclass
class Sums:
    receipts: int = 0
    tokens_input: int = 0
    tokens_output: int = 0
    payable_receipts: int = 0
    payable: Fraction = Fraction(0)
    confirmed: Fraction = Fraction(0)
    held_receipts: int = 0
    held: Fraction = Fraction(0)
    excluded_receipts: int = 0
    excluded: Fraction = Fraction(0)


def same_name(model: str) -> str:
    """The form in which names of models are compared. The stories use ASCII names only."""
    lower = model.lower()
    return lower[: -len(":latest")] if lower.endswith(":latest") and lower != ":latest" else lower


class Books:
    """Everything that happened, and what it comes to."""

    def __init__(self) -> None:
        self.nodes: dict[str, KnownNode] = {}
        self.passages: list[Passage] = []
        self.offers: list[Offer] = []
        self.outages: list[Outage] = []
        self.prices: list[Price] = []
        self.limits: list[Limit] = []
        self.must_dispatch: list[tuple[datetime, bool]] = []
        self.receipts: list[Accepted] = []
        self.waiting: list[Accepted] = []
        self.said: dict[str, list[Said]] = defaultdict(list)
        self.winners: dict[str, tuple[str, datetime]] = {}
        self.findings: list[Finding] = []
        self.entries: dict[int, Entry] = {}
        self.requests: dict[str, list[Entry]] = defaultdict(list)
        self.final: dict[date, datetime] = {}

    # What happens

    def accept(self, receipt: Accepted) -> None:
        self.receipts.append(receipt)
        self.waiting.append(receipt)

    def run(self, at: datetime) -> None:
        for receipt in self.waiting:
            entry = self._entry(receipt)
            self.entries[receipt.id] = entry
            self.requests[receipt.request].append(entry)
        self.waiting.clear()
        for request in self.requests:
            self._judge(request, at)
        for entry in self.entries.values():
            ends = datetime(entry.day.year, entry.day.month, entry.day.day, tzinfo=UTC) + DAY
            if ends + FINAL_AFTER <= at:
                self.final.setdefault(entry.day, at)

    def decide(self, ids: Iterable[int], state: str, at: datetime) -> None:
        for number in ids:
            self.entries[number].person = state
        for request in {self.entries[number].receipt.request for number in ids}:
            self._judge(request, at)

    def decidable(self) -> list[int]:
        """Items that a person may decide: held ones, but for those that wait for a finding of fraud."""
        return [
            number
            for number, entry in self.entries.items()
            if entry.ruling is not None and entry.ruling.state == "held" and entry.ruling.rule != "fraud"
        ]

    # What it comes to

    def lines(self) -> dict[LineKey, Sums]:
        lines: dict[LineKey, Sums] = defaultdict(Sums)
        for entry in self.entries.values():
            receipt, price, ruling = entry.receipt, entry.price, entry.ruling
            assert ruling is not None
            model = same_name(receipt.model)
            line = lines[receipt.node, receipt.org, entry.day, model, price.model, price.since]
            line.receipts += 1
            line.tokens_input += receipt.tokens_input
            line.tokens_output += receipt.tokens_output
            if ruling.state == "payable":
                line.payable_receipts += 1
                line.payable += entry.fee
                line.confirmed += entry.fee if ruling.confirmed else 0
            elif ruling.state == "held":
                line.held_receipts += 1
                line.held += entry.fee
            else:
                line.excluded_receipts += 1
                line.excluded += entry.fee
        return dict(lines)

    # Facts, as they are when the item is made

    def _entry(self, receipt: Accepted) -> Entry:
        node = self.nodes[receipt.node]
        model = same_name(receipt.model)
        price = _in_force(self.prices, model, receipt.end)
        part = 1 - price.discount if receipt.cache_hit else Fraction(1)
        fee = (
            receipt.tokens_input * price.input_usd * part + receipt.tokens_output * price.output_usd
        ) / 1_000_000
        before = [
            other
            for other in self.receipts
            if other.node == receipt.node
            and (other.accepted_at, other.id) <= (receipt.accepted_at, receipt.id)
        ]
        at_once = 1
        if receipt.start < receipt.end:
            running = [other for other in before if other.start < receipt.end and other.end > receipt.start]
            for moment in {max(receipt.start, other.start) for other in running}:
                at_once = max(at_once, sum(other.start <= moment < other.end for other in running))
        second = 0
        if receipt.start == receipt.end:
            second = sum(other.tokens_output for other in before if other.start == other.end == receipt.end)
        policies = [(since, must) for since, must in self.must_dispatch if since <= receipt.end]
        return Entry(
            receipt,
            price,
            fee,
            node_since=node.created_at,
            in_service=self._in_service(receipt),
            only_silent=self._only_silent(receipt),
            explained=self._explained(receipt, node),
            offered=self._offered(receipt, model),
            at_once=at_once,
            second_tokens=second,
            limit=_in_force(self.limits, model, receipt.end),
            must_be_dispatched=max(policies)[1],
        )

    def _passages(self, node: str) -> list[Passage]:
        return [passage for passage in self.passages if passage.node == node]

    def _in_service(self, receipt: Accepted) -> bool:
        passages = self._passages(receipt.node)
        for number, passage in enumerate(passages):
            until = passages[number + 1].at if number + 1 < len(passages) else FOREVER
            if passage.to == "active" and passage.at <= receipt.end + GRACE and until >= receipt.end - GRACE:
                return True
        return False

    def _only_silent(self, receipt: Accepted) -> bool:
        """Whether, at the end of the request, nothing but silence had happened since the node was active."""
        since: list[Passage] | None = None
        for passage in self._passages(receipt.node):
            if passage.at > receipt.end:
                break
            if passage.to == "active":
                since = []
            elif since is not None:
                since.append(passage)
        if not since:
            return False
        first, *others = since
        silent = first.to == "offline" and first.reason in {"no_heartbeat", "maintenance"}
        return silent and all(passage.to in {"registered", "probing"} for passage in others)

    def _explained(self, receipt: Accepted, node: KnownNode) -> timedelta:
        """The part of the delay that an outage of the console or the node's own silence covers."""
        spans = [
            (outage.since, outage.until or FOREVER)
            for outage in self.outages
            if outage.region in {"", node.region}
        ]
        passages = self._passages(receipt.node)
        for number, passage in enumerate(passages):
            if passage.to == "offline":
                over = [later.at for later in passages[number + 1 :] if later.to in {"active", "quarantine"}]
                spans.append((passage.heard_at or passage.at, over[0] if over else FOREVER))
        covered, reached = timedelta(), receipt.end
        for since, until in sorted(spans):
            since, until = max(since, reached), min(until, receipt.accepted_at)
            if until > since:
                covered += until - since
                reached = until
        return covered

    def _offered(self, receipt: Accepted, model: str) -> bool | None:
        """From 24 hours before its start to its end, with the grace of clocks."""
        offers = [offer for offer in self.offers if offer.node == receipt.node]
        first, last = receipt.start - DAY, receipt.end + GRACE
        if any(
            offer.model == model and offer.since <= last and (offer.until is None or offer.until >= first)
            for offer in offers
        ):
            return True
        # a node's first offers come with its registration
        known = max(first, self.nodes[receipt.node].created_at + timedelta(minutes=1))
        return False if any(offer.since <= known for offer in offers) else None

    # The rules

    def _judge(self, request: str, at: datetime) -> None:
        entries = sorted(self.requests[request], key=lambda entry: entry.receipt.id)
        failures = {entry.receipt.id: self._alone(entry, at) for entry in entries}
        for entry in entries:
            entry.passes = failures[entry.receipt.id] is None
        contenders = [
            entry for entry in entries if entry.person == "payable" or (entry.passes and not entry.person)
        ]
        lost = self._contest(request, contenders)
        for entry in entries:
            confirmed = any(self._agrees(entry, said) for said in self._said_to(entry))
            failure = failures[entry.receipt.id]
            if entry.person == "excluded":
                assert entry.ruling is not None
                ruling = Ruling("excluded", entry.ruling.rule, entry.ruling.cause, confirmed)
            else:
                failure = None if entry.person == "payable" else failure or lost.get(entry.receipt.id)
                failure = failure or self._fraud(entry)
                ruling = Ruling(*failure, confirmed) if failure else Ruling("payable", confirmed=confirmed)
            entry.ruling = ruling

    def _alone(self, entry: Entry, at: datetime) -> tuple[str, str, str] | None:
        """Rules 1 to 6: the first that fails."""
        receipt = entry.receipt
        dispatched = bool(self._said_to(entry))
        if receipt.failed:
            return "excluded", "outcome", "failed"
        if not entry.in_service and not (entry.only_silent and dispatched):
            return "excluded", "in_service", "not_in_service"
        if receipt.start < entry.node_since - GRACE:
            return "excluded", "lifetime", "before_node"
        if receipt.key_since is not None and receipt.end < receipt.key_since - GRACE:
            return "excluded", "lifetime", "before_key"
        if receipt.key_until is not None and receipt.end > receipt.key_until + GRACE:
            return "excluded", "lifetime", "after_key"
        if receipt.accepted_at - receipt.end - entry.explained > ON_TIME and not dispatched:
            return "held", "late", "late"
        impossible = _impossible(entry)
        if impossible:
            return "held", "implausible", impossible
        doubt = self._undispatched(entry)
        if doubt:
            return ("excluded" if receipt.end + DISPATCH_COUNTS < at else "held"), "dispatch", doubt
        return None

    def _said(self, entry: Entry) -> list[Said]:
        receipt = entry.receipt
        return [
            said for said in self.said[receipt.request] if said.received_at <= receipt.end + DISPATCH_COUNTS
        ]

    def _said_to(self, entry: Entry) -> list[Said]:
        return [said for said in self._said(entry) if said.node == entry.receipt.node]

    def _agrees(self, entry: Entry, said: Said) -> bool:
        receipt = entry.receipt
        return (
            same_name(said.model) == same_name(receipt.model)
            and receipt.start - GRACE <= said.ts <= receipt.end + GRACE
            and (
                said.tokens_input is None or receipt.tokens_input <= Fraction(11, 10) * said.tokens_input + 50
            )
            and (said.max_tokens is None or receipt.tokens_output <= said.max_tokens)
        )

    def _undispatched(self, entry: Entry) -> str:
        if not self._said(entry):
            return "unconfirmed" if entry.must_be_dispatched else ""
        agrees = any(self._agrees(entry, said) for said in self._said_to(entry))
        return "" if agrees else "contradicts"

    def _contest(self, request: str, contenders: Sequence[Entry]) -> dict[int, tuple[str, str, str]]:
        """Who loses the request, and how."""
        lost = {entry.receipt.id: self._result(entry, request, contenders) for entry in contenders}
        return {number: loss for number, loss in lost.items() if loss}

    def _result(self, entry: Entry, request: str, contenders: Sequence[Entry]) -> tuple[str, str, str] | None:
        ahead = self._ahead(entry, request, contenders)
        if ahead:
            own = any(other.person or other.receipt.org == entry.receipt.org for other in ahead)
            return LOSING if own else DISPUTED
        equals = [
            other
            for other in contenders
            if not other.person
            and not self._settled_before(entry, other)
            and not self._settled_before(other, entry)
            and not self._ahead(other, request, contenders)
        ]
        highest = max(self._rank(other, request) for other in [entry, *equals])
        best = [
            other
            for other in {id(one): one for one in [entry, *equals]}.values()
            if self._rank(other, request) == highest
        ]
        agreed = all(other.receipt.hedged for other in best) or all(map(self._said_to, best))
        if len(best) == 1 or (agreed and len({other.receipt.org for other in best}) == 1):
            return None if min(best, key=lambda other: other.receipt.id) is entry else LOSING
        return DISPUTED if any(other is entry for other in best) else LOSING

    def _ahead(self, entry: Entry, request: str, contenders: Sequence[Entry]) -> list[Entry]:
        """Those before which the entry must make way, unless a gateway's word ranks it higher.

        They are those that were settled when it came, and those that a person released. But what a person released
        although it fails rules 1 to 6 takes nothing from another organisation.
        """
        ahead = [
            other
            for other in contenders
            if other is not entry
            and (
                (other.person and (other.passes or other.receipt.org == entry.receipt.org))
                or (
                    self._settled_before(other, entry)
                    and self._result(other, request, contenders) in {None, DISPUTED}
                )
            )
        ]
        preferred = all(self._rank(entry, request) > self._rank(other, request) for other in ahead)
        return [] if preferred else ahead

    def _settled_before(self, entry: Entry, other: Entry) -> bool:
        """Whether the entry's day was final when the other one was accepted."""
        final_at = self.final.get(entry.day)
        return final_at is not None and entry.receipt.accepted_at < final_at <= other.receipt.accepted_at

    def _rank(self, entry: Entry, request: str) -> int:
        """What a gateway says: 2 that it used this answer, 1 that it sent it the request."""
        node, named_at = self.winners.get(request, ("", FOREVER))
        if node == entry.receipt.node and named_at <= entry.receipt.end + DISPATCH_COUNTS:
            return 2
        return 1 if self._said_to(entry) else 0

    def _fraud(self, entry: Entry) -> tuple[str, str, str] | None:
        node = self.nodes[entry.receipt.node]
        states = set()
        for finding in self.findings:
            org = self.nodes[finding.node].org
            covers = (
                (finding.node == node.id and entry.receipt.end >= finding.doubtful_from)
                or finding.related.get(node.id, False)
                or (
                    finding.state == "open"
                    and finding.node != node.id
                    and node.org == org
                    and node.created_at >= finding.opened_at
                )
            )
            if covers:
                states.add(finding.state)
        if "confirmed" in states:
            return "excluded", "fraud", "fraud_confirmed"
        return ("held", "fraud", "fraud_suspected") if "open" in states else None


def _in_force(rows: Sequence[Dated], model: str, at: datetime) -> Dated:
    """The row of the model, else the default one, that holds at that moment."""
    for name in (model, ""):
        holding = [row for row in rows if row.model == name and row.since <= at]
        if holding:
            return max(holding, key=lambda row: row.since)
    raise LookupError(f"nothing holds for {model} at {at}")


def _impossible(entry: Entry) -> str:
    """The first number that cannot be true, or ''."""
    receipt, limit = entry.receipt, entry.limit
    seconds = Fraction((receipt.end - receipt.start) // timedelta(microseconds=1), 1_000_000)
    if receipt.tokens_output > limit.per_second * (seconds + 1):
        return "speed"
    if receipt.tokens_input + receipt.tokens_output > limit.context:
        return "context"
    if seconds > 86_400:
        return "duration"
    if entry.offered is False:
        return "model"
    if entry.at_once > receipt.concurrency:
        return "concurrency"
    if entry.second_tokens > 2 * receipt.concurrency * limit.per_second:
        return "burst"
    return ""
