"""The facts from which a receipt is judged. Acceptance and itemisation record them; the rules only read. Pure.

The names are those of the columns of `earnings_item`. Times are aware UTC.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from earnings.rules.verdicts import VerdictState

# How far clocks may disagree, at both ends of a span.
GRACE = timedelta(seconds=300)
# How long after the request's end a gateway's word about it still counts.
DISPATCH_COUNTS = timedelta(days=7)


@dataclass(frozen=True)
class Decision:
    """A person's verdict on one receipt, release (`payable`) or exclude, with the reason that they gave.

    `rule` and `cause` say what they decided about. Both are empty for a release.
    """

    state: VerdictState
    actor: str
    reason: str
    rule: str = ""
    cause: str = ""


@dataclass(frozen=True)
class ItemFacts:
    """What is known about one accepted receipt.

    `key_since`: None if it is not known which key signed the receipt. `in_service`: the node was active at some moment within GRACE of `ts_end`. `silent_only`: it was not, but only
    silence or announced maintenance had taken it offline. `offered`: the node offered the model in the 24 hours
    before; None if its history does not go back that far. `concurrent`: the most receipts of the node, accepted no
    later than this one, that run at one moment of it. `second_tokens`: of a receipt that begins and ends in the same
    second, the output tokens of the node's such receipts of that second, accepted no later than this one.
    `final_at`: when its day became final, None while it is not.
    """

    receipt_id: int
    node_id: str
    org_id: Hashable
    request_id: str
    accepted_at: datetime
    model: str  # in the form in which models are compared
    ts_start: datetime
    ts_end: datetime
    tokens_input: int
    tokens_output: int
    node_since: datetime
    key_since: datetime | None
    in_service: bool
    concurrency: int
    limit_output_per_second: Decimal
    limit_context: int
    require_dispatch: bool
    key_until: datetime | None = None
    failed: bool = False
    hedged: bool = False
    silent_only: bool = False
    outage_seconds: int = 0
    offered: bool | None = None
    concurrent: int = 1
    second_tokens: int = 0
    final_at: datetime | None = None
    decision: Decision | None = None


@dataclass(frozen=True)
class Dispatch:
    """A gateway's word that it sent a request to a node. `at` is the gateway's clock, `received_at` the console's."""

    node_id: str
    model: str  # in the form in which models are compared
    at: datetime
    received_at: datetime
    hedged: bool = False
    tokens_input: int | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class Winner:
    """A gateway's word about which node's answer to a request it used."""

    node_id: str
    received_at: datetime


@dataclass(frozen=True)
class Coverage:
    """A finding of fraud, open or confirmed, that concerns a node.

    `since` is the end of the first doubtful request: earlier ones are not covered. None covers everything, as it
    does for a related node, and for a node that its organisation registered while the finding is open.
    """

    finding: int
    confirmed: bool
    since: datetime | None = None

    def covers(self, item: ItemFacts) -> bool:
        return self.since is None or item.ts_end >= self.since


@dataclass(frozen=True)
class RequestFacts:
    """Everything about one request: all its receipts, what gateways said of it, and the findings by node id."""

    items: Sequence[ItemFacts]
    dispatches: Sequence[Dispatch] = ()
    winner: Winner | None = None
    coverages: Mapping[str, Sequence[Coverage]] = field(default_factory=dict)

    def dispatches_for(self, item: ItemFacts) -> Sequence[Dispatch]:
        """The dispatches of the request, to any node, that came in time to count for this receipt."""
        return [d for d in self.dispatches if d.received_at <= item.ts_end + DISPATCH_COUNTS]

    def dispatches_to(self, item: ItemFacts) -> Sequence[Dispatch]:
        """Those of them that went to the receipt's own node."""
        return [d for d in self.dispatches_for(item) if d.node_id == item.node_id]

    def won(self, item: ItemFacts) -> bool:
        """Whether a gateway named, in time, this node's answer as the one that it used."""
        winner = self.winner
        return (
            winner is not None
            and winner.node_id == item.node_id
            and winner.received_at <= item.ts_end + DISPATCH_COUNTS
        )
