"""What is implausible about receipts, for their pages and those of their nodes. The rules and numbers are those by
which receipts are held.
"""

from datetime import datetime

from earnings.accrual.contested import load_requests
from earnings.rules.facts import RequestFacts
from earnings.rules.own_merits import plausibility
from earnings.rules.verdicts import PayRule
from earnings.rules.wording import sentence, sentences_by_cause
from receipts.models import Receipt
from receipts.slots import Plausibility, ReceiptFlag

# The rules whose failures are flags: a delay that nothing explains, and impossible numbers.
FLAG_RULES = (PayRule.LATE, PayRule.IMPLAUSIBLE)


def plausibility_of(receipt: Receipt, *, at: datetime) -> Plausibility | None:
    """How plausible a receipt is, also where another rule decided about its payment. None if it has no item yet."""
    known = load_requests([receipt.request_id]).get(receipt.request_id)
    items = known.items if known else ()
    item = next((each.facts for each in items if each.facts.receipt_id == receipt.id), None)
    if known is None or item is None:
        return None
    request = RequestFacts([each.facts for each in known.items], known.dispatches, known.winner, {})
    outcomes = plausibility(item, request, at)
    return Plausibility(
        flags=[
            ReceiptFlag(cause.label, words)
            for outcome in outcomes
            for cause, words in sentences_by_cause(outcome).items()
        ],
        in_order=[sentence(outcome) for outcome in outcomes if outcome.failure is None],
    )
