"""Why a node earns nothing: the causes that its data show, in order, each with what to do. Pure.

The order follows a request's way: a node must be in service before it is sent requests, sent requests before it posts
receipts, and post receipts before they are paid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from earnings.rules.spelling import count
from earnings.rules.verdicts import Cause, VerdictState

# Of the minutes of a day with a heartbeat. Under it, a node is close to quarantine.
REGULAR_SHARE = 0.9


class NothingKey(StrEnum):
    """What can keep a node from earning."""

    NOT_STARTED = "not_started"
    PROBING = "probing"
    OFFLINE = "offline"
    QUARANTINE = "quarantine"
    IRREGULAR = "irregular"
    PROBES_FAIL = "probes_fail"
    NOT_REACHABLE = "not_reachable"
    NO_MODELS = "no_models"
    NO_REQUESTS = "no_requests"
    NO_RECEIPTS = "no_receipts"
    NOT_PAID = "not_paid"
    PRICE_ZERO = "price_zero"


@dataclass(frozen=True)
class VerdictCount:
    """How many of a node's receipts of the period ended with one verdict. `cause` is empty if they are payable."""

    state: VerdictState
    cause: str
    receipts: int


@dataclass(frozen=True)
class NothingFacts:
    """What the console knows about a node and its last `days` days.

    `phase` is registered, probing, active, quarantine or offline; `explanation` and `next_step` are the node page's
    words about it. `heard_share` (0 to 1) is the share of the minutes of the last day with a heartbeat, None while none
    was due. `failed_probes` counts those of the last day that counted. `reachable` says whether validators reach the
    endpoint, None while that is not known. `models` is None while the node never said which models it
    offers. `dispatched` is None while no gateway reports dispatches. `payable_usd` is the sum of the payable fees.
    """

    phase: str
    explanation: str
    next_step: str
    heard_share: float | None
    failed_probes: int
    passed_probes: int
    models: int | None
    dispatched: int | None
    verdicts: Sequence[VerdictCount]
    payable_usd: Decimal
    days: int
    reachable: bool | None = None


@dataclass(frozen=True)
class NothingCause:
    """One cause, in a sentence, and what to do about it. `cause` is that of the verdict, if it is one."""

    key: NothingKey
    what: str
    what_to_do: str
    cause: str = ""


def causes_of_nothing(facts: NothingFacts) -> list[NothingCause]:
    """The causes in order. Empty if the node earns and nothing of its period is held or excluded."""
    return [*_of_service(facts), *_of_work(facts), *_of_pay(facts)]


_PHASES: Mapping[str, NothingKey] = {
    "registered": NothingKey.NOT_STARTED,
    "probing": NothingKey.PROBING,
    "offline": NothingKey.OFFLINE,
    "quarantine": NothingKey.QUARANTINE,
}


def _of_service(facts: NothingFacts) -> list[NothingCause]:
    found = []
    if key := _PHASES.get(facts.phase):
        found.append(
            NothingCause(
                key,
                f"The node is not in service, so it is sent no requests. {facts.explanation}",
                facts.next_step,
            )
        )
    if facts.phase == "registered":
        return found  # nothing of what follows can be expected yet
    if facts.heard_share is not None and facts.heard_share < REGULAR_SHARE and facts.phase != "offline":
        found.append(
            NothingCause(
                NothingKey.IRREGULAR,
                f"Heartbeats came in only {int(facts.heard_share * 100)} % of the minutes of the last day. More"
                " than 20 % missing in an hour quarantines a node.",
                "Check the machine's network, and that it does not sleep.",
            )
        )
    if facts.failed_probes:
        probes = facts.failed_probes + facts.passed_probes
        found.append(
            NothingCause(
                NothingKey.PROBES_FAIL,
                f"{facts.failed_probes:,} of {count(probes, 'probe')} failed in the last day.",
                "See on the node's page what failed. The endpoint must be reachable from outside your network.",
            )
        )
    if facts.reachable is False and facts.phase == "active":
        found.append(
            NothingCause(
                NothingKey.NOT_REACHABLE,
                "The node is in service, but not reachable from outside its network, so gateways cannot send it"
                " requests.",
                "Forward a port, use IPv6, or use a tunnel. The node's page says how.",
            )
        )
    return found


def _of_work(facts: NothingFacts) -> list[NothingCause]:
    if facts.phase == "registered":
        return []
    found = []
    if facts.models == 0:
        found.append(
            NothingCause(
                NothingKey.NO_MODELS,
                "The node offers no models.",
                "Load a model in the runtime. The next heartbeat reports it.",
            )
        )
    receipts = sum(verdict.receipts for verdict in facts.verdicts)
    period = f"in the last {count(facts.days, 'day')}"
    if receipts:
        return found
    if facts.dispatched == 0:
        found.append(
            NothingCause(
                NothingKey.NO_REQUESTS,
                f"Gateways sent this node no requests {period}.",
                "Offer models that are in demand, and keep the node's reputation high and its latency low.",
            )
        )
    elif facts.dispatched:
        found.append(
            NothingCause(
                NothingKey.NO_RECEIPTS,
                f"Gateways sent this node {count(facts.dispatched, 'request')} {period}, and no receipt for them came.",
                "Check the agent's log for receipts that were refused, and that its spool is not full.",
            )
        )
    else:
        found.append(
            NothingCause(
                NothingKey.NO_RECEIPTS,
                f"No receipt came from this node {period}.",
                "If it served requests, check the agent's log for receipts that were refused. If not, offer models that"
                " are in demand.",
            )
        )
    return found


def _of_pay(facts: NothingFacts) -> list[NothingCause]:
    receipts = sum(verdict.receipts for verdict in facts.verdicts)
    unpaid = [v for v in facts.verdicts if v.state is not VerdictState.PAYABLE and v.receipts]
    found = [
        NothingCause(
            NothingKey.NOT_PAID,
            f"{verdict.receipts:,} of {count(receipts, 'receipt')} {'is' if verdict.receipts == 1 else 'are'}"
            f" {verdict.state.value}: {_label(verdict.cause)}.",
            _advice(verdict.cause),
            verdict.cause,
        )
        for verdict in sorted(unpaid, key=lambda v: (-v.receipts, v.state, v.cause))
    ]
    payable = sum(v.receipts for v in facts.verdicts if v.state is VerdictState.PAYABLE)
    if payable and not facts.payable_usd:
        found.append(
            NothingCause(
                NothingKey.PRICE_ZERO,
                f"{count(payable, 'receipt')} passed every rule, but {'its fee is' if payable == 1 else 'their fees are'} $0.",
                "The rates of the models on the Earnings page say what is paid. Requests without tokens earn nothing.",
            )
        )
    return found


def _label(cause: str) -> str:
    if not cause:
        return "an admin decided so"
    label = Cause(cause).label
    return label[0].lower() + label[1:]


def _advice(cause: str) -> str:
    return ADVICE[Cause(cause)] if cause else "The receipt says who decided, and why."


# What an operator can do about receipts that failed for a cause.
ADVICE: Mapping[Cause, str] = {
    Cause.FAILED: "Check the runtime's log for errors.",
    Cause.NOT_IN_SERVICE: "Only work done while the node is active is paid. See its history for when it was.",
    Cause.BEFORE_NODE: "Work from before the node was registered is not paid. Check the machine's clock.",
    Cause.BEFORE_KEY: "Check the machine's clock, and that the agent signs with the key that it registered.",
    Cause.AFTER_KEY: "Make sure that the agent uses its new key, and that no copy of it still runs with the old one.",
    Cause.LATE: "Check that the agent can reach the console all the time, so that receipts do not wait. An admin reviews"
    " those that are held.",
    Cause.SPEED: "Check the machine's clock and how the runtime counts tokens. An admin reviews what is held.",
    Cause.CONTEXT: "Check how the runtime counts tokens. An admin reviews what is held.",
    Cause.DURATION: "Check the machine's clock. An admin reviews what is held.",
    Cause.MODEL: "Make sure that heartbeats list every model that the node serves. An admin reviews what is held.",
    Cause.CONCURRENCY: "Set the agent's concurrency to what the node really serves at once. An admin reviews what is held.",
    Cause.BURST: "Check the machine's clock and how the agent measures time. An admin reviews what is held.",
    Cause.UNCONFIRMED: "Only requests that a gateway sent to the node are paid. Requests from elsewhere are not.",
    Cause.CONTRADICTS: "Check that the receipts state the model, the time and the tokens of the request that was served.",
    Cause.HEDGED_LOSER: "Nothing to do: the request was sent to several nodes, and a faster one is paid.",
    Cause.DISPUTED: "Nothing to do: an admin decides which receipt is paid.",
    Cause.FRAUD_SUSPECTED: "Contact an admin. The receipts are paid if the finding is cleared.",
    Cause.FRAUD_CONFIRMED: "Contact an admin if you believe that this is wrong.",
}
