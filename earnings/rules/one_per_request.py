"""PayRule 7: which of the receipts for one request is the one that is paid. Pure.

Contenders are the receipts that pass rules 1 to 6, and those that a person released. Among them the order is: the
answer that a gateway says it used; receipts of nodes that a gateway dispatched the request to; all others. Equals of
one organisation, all dispatched or all hedged, go to the first accepted. Equals of several are in dispute, and so are
receipts of one organisation that says neither that the request was hedged nor was sent it by a gateway.

Two kinds of receipt hold their place against others. One that a person released is paid, and the others make way
unless a gateway prefers them. But a release for what rules 1 to 6 say, such as being late, takes nothing from another
organisation: whoever decided it did not decide about that one's receipt. And one whose day was final before a newcomer was accepted is not reopened by it. A newcomer
that a gateway prefers is paid all the same: otherwise whoever posts receipts for ids that he guesses, and waits,
would block the node that is later sent the request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from earnings.rules.facts import ItemFacts, RequestFacts
from earnings.rules.own_merits import first_failure
from earnings.rules.verdicts import Cause, Failure, PayRule, RuleOutcome, VerdictState


@dataclass(frozen=True)
class _Ranking:
    """Who comes first among receipts that compete on equal terms. `paid` is None while they are in dispute."""

    best: frozenset[int]
    paid: ItemFacts | None
    receipts: int


class Contest:
    """The contest of one request's receipts at a moment. `outcome` says of each whether it may be paid."""

    def __init__(self, request: RequestFacts, at: datetime) -> None:
        self._request = request
        merits = {item.receipt_id: first_failure(item, request, at) is None for item in request.items}
        released = {item.receipt_id for item in request.items if _is_released(item)}
        contenders = [
            item
            for item in request.items
            if (merits[item.receipt_id] and item.decision is None) or item.receipt_id in released
        ]
        self._contenders = contenders
        self._won = {item.receipt_id for item in request.items if request.won(item)}
        self._dispatched = {item.receipt_id for item in request.items if request.dispatches_to(item)}
        self._released = released
        # Paid because a person decided about them alone, and not about the request.
        self._released_alone = {receipt_id for receipt_id in released if not merits[receipt_id]}
        self._outcomes: dict[int, RuleOutcome] = {}
        if released or any(item.final_at for item in contenders):
            # in this order a receipt that may hold its place is decided before those that it holds it against
            for item in sorted(contenders, key=lambda item: item.accepted_at):
                self.outcome(item)
        elif contenders:
            ranking = self._rank(contenders)  # the same for all of them
            for item in contenders:
                self._outcomes[item.receipt_id] = self._among(item, ranking)

    def outcome(self, item: ItemFacts) -> RuleOutcome:
        """Rule 7 for one receipt of the request, whether or not it passes the rules before."""
        found = self._outcomes.get(item.receipt_id)
        if found is None:
            found = self._outcomes[item.receipt_id] = self._decide(item)
        return found

    def _decide(self, item: ItemFacts) -> RuleOutcome:
        others = [
            other
            for other in self._contenders
            if other.receipt_id != item.receipt_id
            and not (other.receipt_id in self._released_alone and other.org_id != item.org_id)
        ]
        holders = [other for other in others if self._holds_place(other, item)]
        if holders and not self._preferred(item, holders):
            return self._behind(item, holders)
        holding = {holder.receipt_id for holder in holders}
        rivals = [o for o in others if o.receipt_id not in holding and not _settled_before(item, o)]
        return self._among(item, self._rank([item, *rivals]))

    def _holds_place(self, other: ItemFacts, item: ItemFacts) -> bool:
        """Whether `other` keeps its place against `item`, whatever the ordinary order says."""
        if other.receipt_id in self._released:
            return True
        if not _settled_before(other, item):
            return False
        failure = self.outcome(other).failure
        return failure is None or failure.cause is Cause.DISPUTED

    def _preferred(self, item: ItemFacts, holders: Sequence[ItemFacts]) -> bool:
        """Whether a gateway's word puts the receipt before those that hold a place."""
        if item.receipt_id in self._won:
            return True
        sent = self._dispatched | self._won
        return item.receipt_id in sent and not any(holder.receipt_id in sent for holder in holders)

    def _behind(self, item: ItemFacts, holders: Sequence[ItemFacts]) -> RuleOutcome:
        released = any(holder.receipt_id in self._released for holder in holders)
        own = [holder for holder in holders if holder.org_id == item.org_id]
        numbers = self._numbers(item, len(holders) + 1, paid=own[0] if own else None) | {
            "decided_by_person": released,
            "settled_before": not released,
        }
        failure = (
            Failure(VerdictState.EXCLUDED, Cause.HEDGED_LOSER)
            if released or own
            else Failure(VerdictState.HELD, Cause.DISPUTED)
        )
        return RuleOutcome(PayRule.ONE_PER_REQUEST, numbers, failure)

    def _rank(self, contenders: Sequence[ItemFacts]) -> _Ranking:
        best = (
            [c for c in contenders if c.receipt_id in self._won]
            or [c for c in contenders if c.receipt_id in self._dispatched]
            or contenders
        )
        one_org = len({c.org_id for c in best}) == 1
        agreed = all(c.receipt_id in self._dispatched for c in best) or all(c.hedged for c in best)
        decided = len(best) == 1 or (one_org and agreed)
        paid = min(best, key=lambda c: c.receipt_id) if decided else None
        return _Ranking(frozenset(c.receipt_id for c in best), paid, len(contenders))

    def _among(self, item: ItemFacts, ranking: _Ranking) -> RuleOutcome:
        paid = ranking.paid
        failure = None
        if paid is None and item.receipt_id in ranking.best:
            failure = Failure(VerdictState.HELD, Cause.DISPUTED)
        elif paid is None or paid.receipt_id != item.receipt_id:
            failure = Failure(VerdictState.EXCLUDED, Cause.HEDGED_LOSER)
        numbers = self._numbers(item, ranking.receipts, paid=paid)
        return RuleOutcome(PayRule.ONE_PER_REQUEST, numbers, failure)

    def _numbers(
        self, item: ItemFacts, receipts: int, *, paid: ItemFacts | None
    ) -> dict[str, str | int | bool | Sequence[str] | None]:
        """Says how many receipts compete, and names the paid node only to its own organisation."""
        own = paid is not None and paid.org_id == item.org_id
        return {
            "receipts": receipts,
            "paid_node": paid.node_id if paid is not None and own else None,
            "dispatched": item.receipt_id in self._dispatched,
            "won": item.receipt_id in self._won,
            "decided_by_person": False,
            "settled_before": False,
        }


def _is_released(item: ItemFacts) -> bool:
    return item.decision is not None and item.decision.state is VerdictState.PAYABLE


def _settled_before(item: ItemFacts, other: ItemFacts) -> bool:
    """Whether `item`'s day was final when `other` was accepted. It was itself accepted before its day was final."""
    return item.final_at is not None and item.accepted_at < item.final_at <= other.accepted_at
