"""What each rule found about a receipt, as a sentence for the node's operator. Pure.

A sentence is made from the numbers of an outcome alone, so that a stored verdict reads the same as a new one. None of
them names another organisation's node.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from earnings.rules.spelling import count, duration, moment
from earnings.rules.verdicts import Cause, PayRule, RuleOutcome, VerdictState

_Numbers = Mapping[str, Any]


def sentence(outcome: RuleOutcome) -> str:
    """What the rule found, in a sentence or two."""
    failure = outcome.failure
    if failure is None:
        return _PASSED[outcome.rule](outcome.numbers)
    return _FAILED[outcome.rule](outcome.numbers, failure.state, failure.cause)


def sentences_by_cause(outcome: RuleOutcome) -> dict[Cause, str]:
    """What the rule found, a sentence for each cause for which the receipt fails it."""
    if outcome.failure is None:
        return {}
    if outcome.rule is PayRule.IMPLAUSIBLE:
        numbers: _Numbers = outcome.numbers
        return {Cause(each): _IMPLAUSIBLE[Cause(each)](numbers) for each in numbers["causes"]}
    return {outcome.failure.cause: sentence(outcome)}


def _at(text: str) -> str:
    return moment(datetime.fromisoformat(text))


def _passed_in_service(n: _Numbers) -> str:
    if n["in_service"]:
        return "The node was active when the request ended."
    return "Only silence had taken the node offline, and a gateway sent it this request."


def _passed_late(n: _Numbers) -> str:
    delay, limit, outage = n["delay_seconds"], n["limit_seconds"], n["outage_seconds"]
    came = f"Came {duration(delay)} after the request ended"
    if delay <= limit:
        return f"{came}; the limit is {duration(limit)}."
    if delay - outage <= limit:
        return (
            f"{came}. A recorded outage explains {duration(outage)} of that; the limit is {duration(limit)}."
        )
    return f"{came}. A gateway sent the request to this node, which explains the delay."


def _passed_implausible(n: _Numbers) -> str:
    tokens = count(n["tokens_output"], "output token")
    at_once = f"{count(n['concurrent'], 'request')} at once (the node serves {n['concurrency']:,})"
    model = "" if n["offered"] else " Which models the node offered then is not known."
    return f"{tokens} in at most {count(n['seconds'], 'second')}, and {at_once}: within the limits.{model}"


def _passed_dispatch(n: _Numbers) -> str:
    if n["dispatched"]:
        return "A gateway sent this request to this node, and model, time and tokens agree."
    return "No gateway reported this request. Dispatches are not required, so it passes as unconfirmed."


def _passed_one_per_request(n: _Numbers) -> str:
    if n["receipts"] == 1:
        return "No other receipt competes for this request."
    if n["won"]:
        return f"Of {n['receipts']:,} receipts for this request, the gateway used this node's answer."
    return f"Of {n['receipts']:,} receipts for this request, this is the one that is paid."


_PASSED: Mapping[PayRule, Callable[[_Numbers], str]] = {
    PayRule.OUTCOME: lambda n: "The request succeeded or was cancelled.",
    PayRule.IN_SERVICE: _passed_in_service,
    PayRule.LIFETIME: lambda n: (
        "The request lies within the life of the node and of the key that signed the receipt."
    ),
    PayRule.LATE: _passed_late,
    PayRule.IMPLAUSIBLE: _passed_implausible,
    PayRule.DISPATCH: _passed_dispatch,
    PayRule.ONE_PER_REQUEST: _passed_one_per_request,
    PayRule.FRAUD: lambda n: "No finding of fraud covers this receipt.",
}


def _failed_outcome(n: _Numbers, state: VerdictState, cause: Cause) -> str:
    return "The request failed. Failed requests are not paid."


def _failed_in_service(n: _Numbers, state: VerdictState, cause: Cause) -> str:
    what = f"The node was not active within 5 minutes of the request's end ({_at(n['ts_end'])})."
    if not n["silent_only"]:
        return what
    return f"{what} Only silence had taken it offline, but no gateway reported sending it this request."


def _failed_lifetime(n: _Numbers, state: VerdictState, cause: Cause) -> str:
    grace = duration(n["grace_seconds"])
    if cause is Cause.BEFORE_NODE:
        return (
            f"The request began at {_at(n['ts_start'])}, more than {grace} before the node was registered"
            f" ({_at(n['node_since'])})."
        )
    ended = f"The request ended at {_at(n['ts_end'])}, more than {grace}"
    if cause is Cause.BEFORE_KEY:
        return f"{ended} before the key that signed the receipt was added ({_at(n['key_since'])})."
    return f"{ended} after the key that signed the receipt was replaced ({_at(n['key_until'])})."


def _failed_late(n: _Numbers, state: VerdictState, cause: Cause) -> str:
    came = f"Came {duration(n['delay_seconds'])} after the request ended"
    limit = f"the limit is {duration(n['limit_seconds'])}"
    if not n["outage_seconds"]:
        return f"{came}; {limit}, and no outage explains it."
    return f"{came}; {limit}, and recorded outages explain only {duration(n['outage_seconds'])} of the delay."


def _failed_implausible(n: _Numbers, state: VerdictState, cause: Cause) -> str:
    return " ".join(_IMPLAUSIBLE[Cause(each)](n) for each in n["causes"])


_IMPLAUSIBLE: Mapping[Cause, Callable[[_Numbers], str]] = {
    Cause.SPEED: lambda n: (
        f"{count(n['tokens_output'], 'output token')} in at most {count(n['seconds'], 'second')};"
        f" the limit for the model is {Decimal(n['limit_output_per_second']):,} per second."
    ),
    Cause.CONTEXT: lambda n: (
        f"{count(n['tokens_input'] + n['tokens_output'], 'token')} of input and output;"
        f" the limit for the model is {n['limit_context']:,}."
    ),
    Cause.DURATION: lambda n: f"The request took {duration(n['seconds'] - 1)}; the limit is 24 hours.",
    Cause.MODEL: lambda n: f"The node did not offer {n['model']} in the 24 hours before.",
    Cause.CONCURRENCY: lambda n: (
        f"{count(n['concurrent'], 'request')} ran at the same time; the node says that it serves {n['concurrency']:,} at once."
    ),
    Cause.BURST: lambda n: (
        f"{count(n['second_tokens'], 'output token')} from requests that began and ended in the same second;"
        f" the limit is {Decimal(n['limit_second_tokens']):,}."
    ),
}


def _failed_dispatch(n: _Numbers, state: VerdictState, cause: Cause) -> str:
    if cause is Cause.UNCONFIRMED:
        if state is VerdictState.EXCLUDED:
            return "No gateway reported this request within 7 days of its end."
        return f"No gateway has reported this request yet. It is not paid unless one does by {_at(n['expires_at'])}."
    found = " ".join(_DISAGREES[each](n) for each in n["disagrees"])
    if state is VerdictState.EXCLUDED:
        return f"{found} No matching dispatch arrived within 7 days of the request's end."
    return f"{found} It is not paid unless a matching dispatch arrives by {_at(n['expires_at'])}."


_DISAGREES: Mapping[str, Callable[[_Numbers], str]] = {
    "node": lambda n: "Gateways reported this request, but none of them sent it to this node.",
    "model": lambda n: f"The receipt says {n['model']}, and the gateway asked for {n['said_model']}.",
    "time": lambda n: (
        f"The gateway sent the request at {_at(n['said_at'])}, and the receipt says that it ran"
        f" from {_at(n['ts_start'])} to {_at(n['ts_end'])}."
    ),
    "tokens_input": lambda n: (
        f"The receipt counts {count(n['tokens_input'], 'input token')}, and the gateway {n['said_tokens_input']:,}."
    ),
    "tokens_output": lambda n: (
        f"The receipt counts {count(n['tokens_output'], 'output token')}, and the gateway allowed {n['said_max_tokens']:,}."
    ),
}


def _failed_one_per_request(n: _Numbers, state: VerdictState, cause: Cause) -> str:
    if cause is Cause.DISPUTED:
        return (
            f"{n['receipts']:,} receipts claim this request, and no dispatch decides between them."
            " It is held until an admin decides."
        )
    if n["decided_by_person"]:
        return "An admin decided that another receipt is paid for this request."
    if n["paid_node"]:
        return f"Each request is paid once, and {n['paid_node']} is paid for this one."
    return "Each request is paid once, and a gateway sent this one to another node."


def _failed_fraud(n: _Numbers, state: VerdictState, cause: Cause) -> str:
    since = f" from {_at(n['since'])} on" if n["since"] else ""
    if cause is Cause.FRAUD_CONFIRMED:
        return (
            f"An admin confirmed finding of fraud {n['finding']}, which covers this node's receipts{since}."
        )
    return (
        f"Finding of fraud {n['finding']} covers this node's receipts{since}."
        " They are paid if it is cleared, and not paid if it is confirmed."
    )


_FAILED: Mapping[PayRule, Callable[[_Numbers, VerdictState, Cause], str]] = {
    PayRule.OUTCOME: _failed_outcome,
    PayRule.IN_SERVICE: _failed_in_service,
    PayRule.LIFETIME: _failed_lifetime,
    PayRule.LATE: _failed_late,
    PayRule.IMPLAUSIBLE: _failed_implausible,
    PayRule.DISPATCH: _failed_dispatch,
    PayRule.ONE_PER_REQUEST: _failed_one_per_request,
    PayRule.FRAUD: _failed_fraud,
}
