"""Whether a receipt is paid: the eight rules of the API contract ("When a receipt is paid"), in order. Pure.

`judge_request` decides about all the receipts of one request together, because rule 7 compares them. `checks` explains
one of them, rule by rule. A person's decision replaces what rules 1 to 7 say of that receipt. It does not replace rule 8:
a receipt that was released is held or excluded all the same when a finding of fraud covers it.

Accrual decides the same in SQL, for millions at once. `earnings_fsck` and the tests hold the two against each other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from earnings.rules.facts import Coverage, Dispatch, ItemFacts, RequestFacts, Winner
from earnings.rules.one_per_request import Contest
from earnings.rules.own_merits import OWN_MERITS, confirmed, rfc3339
from earnings.rules.verdicts import Cause, CheckResult, Failure, Numbers, PayRule, RuleOutcome, VerdictState
from earnings.rules.wording import sentence


@dataclass(frozen=True)
class Judged:
    """A verdict on one receipt. `rule` and `cause` are empty if it is payable; `actor` is empty if the rules decided.

    `confirmed` says whether a gateway confirms the receipt, whatever its state. `numbers` are those of the rule that
    decided, with its cause; a verdict by a person has none.
    """

    state: VerdictState
    rule: str
    cause: str
    confirmed: bool
    numbers: Numbers
    actor: str = ""
    reason: str = ""

    @property
    def sentence(self) -> str:
        """The verdict in words for its operator."""
        if self.actor:
            done = "Released" if self.state is VerdictState.PAYABLE else "Excluded"
            return f"{done} by an admin: {self.reason}"
        if not self.rule:
            return (
                "Passed every rule, and a gateway confirms it."
                if self.confirmed
                else "Passed every rule. No gateway confirms it."
            )
        failure = Failure(self.state, Cause(self.cause))
        return sentence(RuleOutcome(PayRule(self.rule), self.numbers, failure))


@dataclass(frozen=True)
class RuleCheck:
    """What one rule found, with its numbers and a sentence for people.

    `state` and `cause` are None unless it failed. `overridden`: it failed, but a person released the receipt.
    """

    rule: PayRule
    result: CheckResult
    sentence: str
    numbers: Numbers
    state: VerdictState | None = None
    cause: Cause | None = None
    overridden: bool = False


def judge_request(
    items: Sequence[ItemFacts],
    dispatches: Sequence[Dispatch] = (),
    winner: Winner | None = None,
    coverages: Mapping[str, Sequence[Coverage]] | None = None,
    *,
    at: datetime,
) -> dict[int, Judged]:
    """The verdict on each receipt of one request, by receipt id. `coverages` are findings of fraud by node id."""
    request = RequestFacts(items, dispatches, winner, coverages or {})
    contest = Contest(request, at)
    return {item.receipt_id: _judge(item, request, contest, at) for item in items}


def judge(item: ItemFacts, request: RequestFacts, *, at: datetime) -> Judged:
    """The verdict on one receipt of a request. `request.items` includes it."""
    return _judge(item, request, Contest(request, at), at)


def checks(item: ItemFacts, request: RequestFacts, *, at: datetime) -> list[RuleCheck]:
    """What each of the eight rules found about a receipt, in order. `request.items` includes it.

    After a failure the rest are not reached, unless a person released the receipt in spite of it.
    """
    released = item.decision is not None and item.decision.state is VerdictState.PAYABLE
    found: list[RuleCheck] = []
    stopped = False
    for outcome in _outcomes(item, request, Contest(request, at), at):
        if stopped:
            found.append(
                RuleCheck(outcome.rule, CheckResult.NOT_REACHED, "Not checked: an earlier rule failed.", {})
            )
            continue
        failure = outcome.failure
        overridden = failure is not None and released and outcome.rule is not PayRule.FRAUD
        stopped = failure is not None and not overridden
        found.append(
            RuleCheck(
                outcome.rule,
                CheckResult.FAILED if failure else CheckResult.PASSED,
                sentence(outcome),
                outcome.numbers,
                failure.state if failure else None,
                failure.cause if failure else None,
                overridden,
            )
        )
    return found


def _judge(item: ItemFacts, request: RequestFacts, contest: Contest, at: datetime) -> Judged:
    by_gateway = confirmed(item, request)
    decision = item.decision
    if decision is not None:
        fraud = _fraud(item, request)
        if decision.state is VerdictState.PAYABLE and fraud.failure:
            return _failed(fraud, fraud.failure, by_gateway)
        return Judged(
            decision.state, decision.rule, decision.cause, by_gateway, {}, decision.actor, decision.reason
        )
    for outcome in _outcomes(item, request, contest, at):
        if outcome.failure:
            return _failed(outcome, outcome.failure, by_gateway)
    return Judged(VerdictState.PAYABLE, "", "", by_gateway, {})


def _outcomes(
    item: ItemFacts, request: RequestFacts, contest: Contest, at: datetime
) -> Iterator[RuleOutcome]:
    for rule in OWN_MERITS:
        yield rule(item, request, at)
    yield contest.outcome(item)
    yield _fraud(item, request)


def _fraud(item: ItemFacts, request: RequestFacts) -> RuleOutcome:
    """PayRule 8. A confirmed finding counts before an open one."""
    covering = [c for c in request.coverages.get(item.node_id, ()) if c.covers(item)]
    if not covering:
        return RuleOutcome(PayRule.FRAUD, {"finding": None})
    worst = min(covering, key=lambda c: (not c.confirmed, c.finding))
    numbers: Numbers = {
        "finding": worst.finding,
        "since": rfc3339(worst.since) if worst.since else None,
    }
    failure = (
        Failure(VerdictState.EXCLUDED, Cause.FRAUD_CONFIRMED)
        if worst.confirmed
        else Failure(VerdictState.HELD, Cause.FRAUD_SUSPECTED)
    )
    return RuleOutcome(PayRule.FRAUD, numbers, failure)


def _failed(outcome: RuleOutcome, failure: Failure, by_gateway: bool) -> Judged:
    numbers = {"cause": str(failure.cause), **outcome.numbers}
    return Judged(failure.state, outcome.rule, failure.cause, by_gateway, numbers)
