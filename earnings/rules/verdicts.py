"""The vocabulary of verdicts: states, the eight rules in their order, and the causes for which they fail. Pure.

The rules are those of the API contract ("When a receipt is paid"). They are checked in the order in which `PayRule`
lists them, and the first that fails decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

# JSON-able: decimals are strings, times RFC 3339 in UTC, durations whole seconds.
Numbers = Mapping[str, str | int | bool | Sequence[str] | None]


class VerdictState(StrEnum):
    """What a verdict says of a receipt."""

    PAYABLE = "payable"
    HELD = "held"  # waits for a person or an event
    EXCLUDED = "excluded"  # not paid

    @property
    def label(self) -> str:
        return self.value.capitalize()


class PayRule(StrEnum):
    """The rules by which a receipt is paid, in the order in which they are checked."""

    OUTCOME = "outcome"
    IN_SERVICE = "in_service"
    LIFETIME = "lifetime"
    LATE = "late"
    IMPLAUSIBLE = "implausible"
    DISPATCH = "dispatch"
    ONE_PER_REQUEST = "one_per_request"
    FRAUD = "fraud"

    @property
    def label(self) -> str:
        """The rule in a few words, as a heading."""
        return _TEXTS[self].label

    @property
    def sentence(self) -> str:
        """What the rule asks, for people."""
        return _TEXTS[self].sentence

    @property
    def otherwise(self) -> str:
        """What happens to a receipt that fails it."""
        return _TEXTS[self].otherwise


class Cause(StrEnum):
    """Why a receipt failed a rule. Each belongs to one rule (`CAUSES`)."""

    FAILED = "failed"
    NOT_IN_SERVICE = "not_in_service"
    BEFORE_NODE = "before_node"
    BEFORE_KEY = "before_key"
    AFTER_KEY = "after_key"
    LATE = "late"
    SPEED = "speed"
    CONTEXT = "context"
    DURATION = "duration"
    MODEL = "model"
    CONCURRENCY = "concurrency"
    BURST = "burst"
    UNCONFIRMED = "unconfirmed"
    CONTRADICTS = "contradicts"
    HEDGED_LOSER = "hedged_loser"
    DISPUTED = "disputed"
    FRAUD_SUSPECTED = "fraud_suspected"
    FRAUD_CONFIRMED = "fraud_confirmed"

    @property
    def label(self) -> str:
        """The cause in a few words, for tables and filters."""
        return _CAUSE_LABELS[self]


# The causes of each rule, in the order in which they are looked for.
CAUSES: Mapping[PayRule, Sequence[Cause]] = {
    PayRule.OUTCOME: (Cause.FAILED,),
    PayRule.IN_SERVICE: (Cause.NOT_IN_SERVICE,),
    PayRule.LIFETIME: (Cause.BEFORE_NODE, Cause.BEFORE_KEY, Cause.AFTER_KEY),
    PayRule.LATE: (Cause.LATE,),
    PayRule.IMPLAUSIBLE: (
        Cause.SPEED,
        Cause.CONTEXT,
        Cause.DURATION,
        Cause.MODEL,
        Cause.CONCURRENCY,
        Cause.BURST,
    ),
    PayRule.DISPATCH: (Cause.CONTRADICTS, Cause.UNCONFIRMED),
    PayRule.ONE_PER_REQUEST: (Cause.HEDGED_LOSER, Cause.DISPUTED),
    PayRule.FRAUD: (Cause.FRAUD_CONFIRMED, Cause.FRAUD_SUSPECTED),
}


class CheckResult(StrEnum):
    """What one rule found."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not_reached"  # an earlier rule failed

    @property
    def label(self) -> str:
        return self.value.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Failure:
    """How a receipt failed a rule: what becomes of it, and the cause."""

    state: VerdictState
    cause: Cause


@dataclass(frozen=True)
class RuleOutcome:
    """What one rule found about one receipt, with its numbers. `failure` is None if the receipt passes."""

    rule: PayRule
    numbers: Numbers
    failure: Failure | None = None

    @property
    def passed(self) -> bool:
        return self.failure is None


@dataclass(frozen=True)
class _RuleText:
    label: str
    sentence: str
    otherwise: str


_TEXTS: Mapping[PayRule, _RuleText] = {
    PayRule.OUTCOME: _RuleText(
        "Request succeeded",
        "The request succeeded or was cancelled. A cancelled request is paid for what was delivered.",
        "Not paid.",
    ),
    PayRule.IN_SERVICE: _RuleText(
        "Node in service",
        "The node was active when the request ended, give or take 5 minutes. If only silence had taken it offline,"
        " a gateway's dispatch to it also counts.",
        "Not paid.",
    ),
    PayRule.LIFETIME: _RuleText(
        "Within the life of node and key",
        "The request began after the node was registered and ended while the key that signed the receipt was valid,"
        " give or take 5 minutes.",
        "Not paid.",
    ),
    PayRule.LATE: _RuleText(
        "Handed in on time",
        "The receipt came within 15 minutes of the request's end, or a dispatch or a recorded outage explains the delay.",
        "Held until an admin reviews it.",
    ),
    PayRule.IMPLAUSIBLE: _RuleText(
        "Plausible numbers",
        "Speed, context length, duration, model and the number of simultaneous requests are possible for this node.",
        "Held until an admin reviews it.",
    ),
    PayRule.DISPATCH: _RuleText(
        "Matches the dispatch",
        "A gateway sent the request to this node, and its model, time and tokens agree with the receipt. While dispatches"
        " are not required, a receipt for a request that no gateway reported also passes, as unconfirmed.",
        "Held until a matching dispatch arrives. Not paid if none has arrived 7 days after the request's end.",
    ),
    PayRule.ONE_PER_REQUEST: _RuleText(
        "One paid receipt per request",
        "Each request is paid once: to the node whose answer the gateway used, or else to a node that the gateway sent it to,"
        " or else to the node whose receipt was accepted first.",
        "Not paid if another node is paid for the request. Held if two organisations claim it and no dispatch decides.",
    ),
    PayRule.FRAUD: _RuleText(
        "No finding of fraud",
        "No open or confirmed finding of fraud covers the receipt.",
        "Held while the finding is open. Paid if it is cleared, not paid if it is confirmed.",
    ),
}

_CAUSE_LABELS: Mapping[Cause, str] = {
    Cause.FAILED: "Request failed",
    Cause.NOT_IN_SERVICE: "Node not in service",
    Cause.BEFORE_NODE: "Before the node was registered",
    Cause.BEFORE_KEY: "Before the key was added",
    Cause.AFTER_KEY: "After the key was replaced",
    Cause.LATE: "Late",
    Cause.SPEED: "Too many tokens per second",
    Cause.CONTEXT: "Context too long",
    Cause.DURATION: "Longer than 24 hours",
    Cause.MODEL: "Model not offered",
    Cause.CONCURRENCY: "Too many simultaneous requests",
    Cause.BURST: "Too many tokens in one second",
    Cause.UNCONFIRMED: "Not confirmed by a gateway",
    Cause.CONTRADICTS: "Contradicts the dispatch",
    Cause.HEDGED_LOSER: "Another receipt is paid for the request",
    Cause.DISPUTED: "Disputed",
    Cause.FRAUD_SUSPECTED: "Suspected fraud",
    Cause.FRAUD_CONFIRMED: "Confirmed fraud",
}
