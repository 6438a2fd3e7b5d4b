"""PayRule 7: which of the receipts for one request is the one that is paid. Pure.

Contenders are the receipts that pass rules 1 to 6, and those that a person released. Among them the order is: the
answer that a gateway says it used; receipts of nodes that a gateway dispatched the request to; all others. Equals of
one organisation, all dispatched or all hedged, go to the first accepted. Equals of several are in dispute, and so are
receipts of one organisation that says neither that the request was hedged nor was sent it by a gateway.

Two kinds of receipt hold their place against others. One that a person released is paid, and the others make way
unless a gateway prefers them. One whose day was final before a newcomer was accepted is not reopened by it. A newcomer
that a gateway prefers is paid all the same: otherwise whoever posts receipts for ids that he guesses, and waits,
would block the node that is later sent the request.
"""

from collections.abc import Sequence
from datetime import datetime

from earnings.rules.facts import Decision, ItemFacts, RequestFacts
from earnings.rules.own_merits import first_failure
from earnings.rules.verdicts import Cause, Failure, PayRule, RuleOutcome, VerdictState


class Contest:
    """The contest of one request's receipts at a moment. `outcome` says of each whether it may be paid."""

    def __init__(self, request: RequestFacts, at: datetime) -> None:
        self._request = request
        self._contenders = [item for item in request.items if _contends(item, request, at)]
        self._outcomes: dict[int, RuleOutcome] = {}
        # Those that may hold a place first, so that `outcome` never goes deep.
        for item in sorted(self._contenders, key=lambda item: item.accepted_at):
            self.outcome(item)

    def outcome(self, item: ItemFacts) -> RuleOutcome:
        """PayRule 7 for one receipt of the request, whether or not it passes the rules before."""
        found = self._outcomes.get(item.receipt_id)
        if found is None:
            found = self._outcomes[item.receipt_id] = self._decide(item)
        return found

    def _decide(self, item: ItemFacts) -> RuleOutcome:
        others = [other for other in self._contenders if other.receipt_id != item.receipt_id]
        holders = [other for other in others if self._holds_place(other, item)]
        if holders and not self._preferred(item, holders):
            return self._behind(item, holders)
        held = {holder.receipt_id for holder in holders}
        rivals = [o for o in others if o.receipt_id not in held and not _settled_before(item, o)]
        return self._among(item, [item, *rivals])

    def _holds_place(self, other: ItemFacts, item: ItemFacts) -> bool:
        """Whether `other` keeps its place against `item`, whatever the ordinary order says."""
        if _released(other.decision):
            return True
        if not _settled_before(other, item):
            return False
        failure = self.outcome(other).failure
        return failure is None or failure.cause is Cause.DISPUTED

    def _preferred(self, item: ItemFacts, holders: Sequence[ItemFacts]) -> bool:
        """Whether a gateway's word puts the receipt before those that hold a place."""
        if self._request.won(item):
            return True
        return self._dispatched(item) and not any(
            self._dispatched(holder) or self._request.won(holder) for holder in holders
        )

    def _behind(self, item: ItemFacts, holders: Sequence[ItemFacts]) -> RuleOutcome:
        released = any(_released(holder.decision) for holder in holders)
        own = [holder for holder in holders if holder.org_id == item.org_id]
        numbers = self._numbers(item, len(holders) + 1, paid=own[0] if own else None) | {
            "decided_by_person": released,
            "settled_before": not released,
        }
        if released or own:
            return RuleOutcome(
                PayRule.ONE_PER_REQUEST, numbers, Failure(VerdictState.EXCLUDED, Cause.HEDGED_LOSER)
            )
        return RuleOutcome(PayRule.ONE_PER_REQUEST, numbers, Failure(VerdictState.HELD, Cause.DISPUTED))

    def _among(self, item: ItemFacts, contenders: Sequence[ItemFacts]) -> RuleOutcome:
        best = (
            [c for c in contenders if self._request.won(c)]
            or [c for c in contenders if self._dispatched(c)]
            or contenders
        )
        one_org = len({c.org_id for c in best}) == 1
        agreed = all(self._dispatched(c) for c in best) or all(c.hedged for c in best)
        if len(best) == 1 or (one_org and agreed):
            paid = min(best, key=lambda c: c.receipt_id)
            numbers = self._numbers(item, len(contenders), paid=paid)
            loses = paid.receipt_id != item.receipt_id
        else:
            numbers = self._numbers(item, len(contenders), paid=None)
            if any(c.receipt_id == item.receipt_id for c in best):
                return RuleOutcome(
                    PayRule.ONE_PER_REQUEST, numbers, Failure(VerdictState.HELD, Cause.DISPUTED)
                )
            loses = True
        failure = Failure(VerdictState.EXCLUDED, Cause.HEDGED_LOSER) if loses else None
        return RuleOutcome(PayRule.ONE_PER_REQUEST, numbers, failure)

    def _dispatched(self, item: ItemFacts) -> bool:
        return bool(self._request.dispatches_to(item))

    def _numbers(
        self, item: ItemFacts, receipts: int, *, paid: ItemFacts | None
    ) -> dict[str, str | int | bool | Sequence[str] | None]:
        """Says how many receipts compete, and names the paid node only to its own organisation."""
        own = paid is not None and paid.org_id == item.org_id
        return {
            "receipts": receipts,
            "paid_node": paid.node_id if paid is not None and own else None,
            "dispatched": self._dispatched(item),
            "won": self._request.won(item),
            "decided_by_person": False,
            "settled_before": False,
        }


def _contends(item: ItemFacts, request: RequestFacts, at: datetime) -> bool:
    if item.decision is not None:
        return _released(item.decision)
    return first_failure(item, request, at) is None


def _released(decision: Decision | None) -> bool:
    return decision is not None and decision.state is VerdictState.PAYABLE


def _settled_before(item: ItemFacts, other: ItemFacts) -> bool:
    """Whether `item`'s day was final when `other` was accepted. It was itself accepted before its day was final."""
    return item.final_at is not None and item.accepted_at < item.final_at <= other.accepted_at
