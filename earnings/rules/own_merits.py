"""Rules 1 to 6: what is judged of a receipt by itself and by what gateways said of its request. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from earnings.rules.facts import DISPATCH_COUNTS, GRACE, Dispatch, ItemFacts, RequestFacts
from earnings.rules.verdicts import Cause, Failure, Numbers, PayRule, RuleOutcome, VerdictState

LATE_AFTER = timedelta(minutes=15)
LONGEST_REQUEST = timedelta(hours=24)
# A second's worth of very short requests: as if each of the node's slots had served two full seconds.
BURST_SECONDS = 2

_SECOND = timedelta(seconds=1)


def rfc3339(at: datetime) -> str:
    """A moment in UTC as RFC 3339, as it stands in the numbers of a verdict."""
    return at.isoformat().replace("+00:00", "Z")


def plain(number: Decimal) -> str:
    """A decimal without exponent or idle zeros, as it stands in the numbers of a verdict."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def confirmed(item: ItemFacts, request: RequestFacts) -> bool:
    """Whether a gateway's dispatch to this node confirms the receipt, whatever the other rules say."""
    return any(not disagreements(item, dispatch) for dispatch in request.dispatches_to(item))


def disagreements(item: ItemFacts, dispatch: Dispatch) -> Sequence[str]:
    """In what a receipt and a dispatch to its node disagree: model, time, tokens_input, tokens_output."""
    wrong = []
    if dispatch.model != item.model:
        wrong.append("model")
    if not item.ts_start - GRACE <= dispatch.at <= item.ts_end + GRACE:
        wrong.append("time")
    # 10 % and 50 tokens more than the gateway counted are a difference between tokenisers
    if dispatch.tokens_input is not None and 10 * item.tokens_input > 11 * dispatch.tokens_input + 500:
        wrong.append("tokens_input")
    if dispatch.max_tokens is not None and item.tokens_output > dispatch.max_tokens:
        wrong.append("tokens_output")
    return wrong


def _outcome(item: ItemFacts, request: RequestFacts, at: datetime) -> RuleOutcome:
    failure = Failure(VerdictState.EXCLUDED, Cause.FAILED) if item.failed else None
    return RuleOutcome(PayRule.OUTCOME, {}, failure)


def _in_service(item: ItemFacts, request: RequestFacts, at: datetime) -> RuleOutcome:
    dispatched = bool(request.dispatches_to(item))
    passed = item.in_service or (item.silent_only and dispatched)
    numbers: Numbers = {
        "ts_end": rfc3339(item.ts_end),
        "in_service": item.in_service,
        "silent_only": item.silent_only,
        "dispatched": dispatched,
    }
    return RuleOutcome(
        PayRule.IN_SERVICE, numbers, None if passed else Failure(VerdictState.EXCLUDED, Cause.NOT_IN_SERVICE)
    )


def _lifetime(item: ItemFacts, request: RequestFacts, at: datetime) -> RuleOutcome:
    numbers: Numbers = {
        "ts_start": rfc3339(item.ts_start),
        "ts_end": rfc3339(item.ts_end),
        "node_since": rfc3339(item.node_since),
        "key_since": rfc3339(item.key_since) if item.key_since else None,
        "key_until": rfc3339(item.key_until) if item.key_until else None,
        "grace_seconds": GRACE // _SECOND,
    }
    cause = None
    if item.ts_start < item.node_since - GRACE:
        cause = Cause.BEFORE_NODE
    elif item.key_since is not None and item.ts_end < item.key_since - GRACE:
        cause = Cause.BEFORE_KEY
    elif item.key_until is not None and item.ts_end > item.key_until + GRACE:
        cause = Cause.AFTER_KEY
    return RuleOutcome(PayRule.LIFETIME, numbers, Failure(VerdictState.EXCLUDED, cause) if cause else None)


def _late(item: ItemFacts, request: RequestFacts, at: datetime) -> RuleOutcome:
    delay = item.accepted_at - item.ts_end
    dispatched = bool(request.dispatches_to(item))
    on_time = delay - timedelta(seconds=item.outage_seconds) <= LATE_AFTER
    numbers: Numbers = {
        "delay_seconds": max(0, -(-delay // _SECOND)),  # a part of a second counts as one
        "outage_seconds": item.outage_seconds,
        "limit_seconds": LATE_AFTER // _SECOND,
        "dispatched": dispatched,
    }
    passed = on_time or dispatched
    return RuleOutcome(PayRule.LATE, numbers, None if passed else Failure(VerdictState.HELD, Cause.LATE))


def _implausible(item: ItemFacts, request: RequestFacts, at: datetime) -> RuleOutcome:
    seconds = (item.ts_end - item.ts_start) // _SECOND + 1
    burst_limit = BURST_SECONDS * item.concurrency * item.limit_output_per_second
    wrong: Mapping[Cause, bool] = {
        Cause.SPEED: item.tokens_output > item.limit_output_per_second * seconds,
        Cause.CONTEXT: item.tokens_input + item.tokens_output > item.limit_context,
        Cause.DURATION: item.ts_end - item.ts_start > LONGEST_REQUEST,
        Cause.MODEL: item.offered is False,
        Cause.CONCURRENCY: item.concurrent > item.concurrency,
        Cause.BURST: item.ts_start == item.ts_end and item.second_tokens > burst_limit,
    }
    causes = [cause for cause, holds in wrong.items() if holds]
    numbers: Numbers = {
        "causes": [str(cause) for cause in causes],
        "tokens_input": item.tokens_input,
        "tokens_output": item.tokens_output,
        "seconds": seconds,
        "limit_output_per_second": plain(item.limit_output_per_second),
        "limit_context": item.limit_context,
        "model": item.model,
        "offered": item.offered,
        "concurrent": item.concurrent,
        "concurrency": item.concurrency,
        "second_tokens": item.second_tokens,
        "limit_second_tokens": plain(burst_limit),
    }
    return RuleOutcome(
        PayRule.IMPLAUSIBLE, numbers, Failure(VerdictState.HELD, causes[0]) if causes else None
    )


def _dispatch(item: ItemFacts, request: RequestFacts, at: datetime) -> RuleOutcome:
    """Names no other node: a dispatch to a rival is not for this node's owner to know."""
    any_node = request.dispatches_for(item)
    to_it = request.dispatches_to(item)
    expires_at = item.ts_end + DISPATCH_COUNTS
    # of several dispatches to the node the one that agrees best
    said = min(to_it, key=lambda dispatch: len(disagreements(item, dispatch)), default=None)
    wrong = disagreements(item, said) if said else ["node"] if any_node else []
    numbers: dict[str, str | int | bool | Sequence[str] | None] = {
        "dispatched": bool(to_it),
        "disagrees": list(wrong),
        "required": item.require_dispatch,
        "expires_at": rfc3339(expires_at),
    }
    if said and wrong:
        numbers |= {
            "model": item.model,
            "said_model": said.model,
            "ts_start": rfc3339(item.ts_start),
            "ts_end": rfc3339(item.ts_end),
            "said_at": rfc3339(said.at),
            "tokens_input": item.tokens_input,
            "said_tokens_input": said.tokens_input,
            "tokens_output": item.tokens_output,
            "said_max_tokens": said.max_tokens,
        }
    cause = None
    if wrong:
        cause = Cause.CONTRADICTS
    elif not any_node and item.require_dispatch:
        cause = Cause.UNCONFIRMED
    if cause is None:
        return RuleOutcome(PayRule.DISPATCH, numbers)
    state = VerdictState.EXCLUDED if expires_at < at else VerdictState.HELD
    return RuleOutcome(PayRule.DISPATCH, numbers, Failure(state, cause))


# Rules 1 to 6, in their order.
OWN_MERITS: Sequence[Callable[[ItemFacts, RequestFacts, datetime], RuleOutcome]] = (
    _outcome,
    _in_service,
    _lifetime,
    _late,
    _implausible,
    _dispatch,
)


def first_failure(item: ItemFacts, request: RequestFacts, at: datetime) -> RuleOutcome | None:
    """The first of rules 1 to 6 that the receipt fails, or None if it passes them all."""
    return next(
        (outcome for rule in OWN_MERITS if not (outcome := rule(item, request, at)).passed),
        None,
    )


def plausibility(item: ItemFacts, request: RequestFacts, at: datetime) -> list[RuleOutcome]:
    """What the rules about lateness and plausibility find, whatever the other rules say of the receipt."""
    return [_late(item, request, at), _implausible(item, request, at)]
