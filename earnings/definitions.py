"""What the figures of earnings mean."""

from jatevo.web.definitions import define

_RECEIPTS = "accepted receipts, their newest verdicts and the rate in force when each request ended"

FEES = define(
    "earnings_fees",
    "Fees",
    text="What the receipts come to that are neither held nor excluded: tokens by the model's rate, less the discount"
    " for cache hits. No digit is rounded away before a payout. The amount may still change until its day is final,"
    " 8 days after the day's end.",
    window="the chosen UTC days, by when each request ended",
    source=_RECEIPTS,
)

UNCONFIRMED = define(
    "earnings_unconfirmed",
    "Unconfirmed part",
    text="The part of the fees for which no gateway has reported that it sent the request to this node. It is paid"
    " while dispatches are not required, but rests on the node's own word.",
    window="the same days as the fees beside it",
    source="accepted receipts and the dispatches of gateways",
)

HELD = define(
    "earnings_held",
    "Held",
    text="What receipts come to that wait for a person or an event: they came late, their numbers are not plausible,"
    " a gateway contradicts them, another organisation claims the same request, or a finding of fraud is open.",
    window="the chosen UTC days, by when each request ended",
    source=_RECEIPTS,
)

EXCLUDED = define(
    "earnings_excluded",
    "Excluded",
    text="What receipts would have come to that are not paid. Each of them names the rule that excluded it.",
    window="the chosen UTC days, by when each request ended",
    source=_RECEIPTS,
)

JTVO = define(
    "earnings_jtvo",
    "JTVO estimate",
    text="Each day's fees times the JTVO per US dollar in force at 00:00 UTC of that day. It is an estimate and no"
    " claim to tokens. Unknown for days without a rate.",
    window="the same days as the fees",
    source="fees, and the JTVO rates that an admin enters with their source and date",
)

AVAILABLE = define(
    "earnings_available",
    "Available",
    text="Final amounts that are neither held nor marked ready. The next payout takes them if they reach the threshold."
    " Negative if receipts were excluded after they had been paid out: later fees cover that first.",
    window="all final days until now",
    source="the ledger",
)

READY = define(
    "earnings_ready",
    "Ready",
    text="Amounts that an admin has marked ready and that the next export file will contain.",
    window="now",
    source="the ledger",
)

PAID_OUT = define(
    "earnings_paid_out",
    "Paid out",
    text="Amounts in export files, less those that were returned. The console sends no money itself.",
    window="since the first receipt",
    source="the ledger",
)

NEXT_PAYOUT = define(
    "earnings_next_payout",
    "Next payout",
    text="The day of the next payout by the schedule. What is available then is paid if it reaches the threshold and"
    " every eligibility rule passes; else it is kept for the payout after it.",
    window="the policy in force now",
    source="the payout policy and the ledger",
)

THIS_MONTH = define(
    "earnings_this_month",
    "This month so far",
    text="The month of UTC that is running. Do not compare it with whole months: days are missing, and the last days"
    " may still change.",
    window="from the first day of the month, 00:00 UTC, until now",
    source=_RECEIPTS,
)

HISTORY = define(
    "earnings_history",
    "History",
    text="A day is running until it ends and not final for 8 days after that, because receipts and dispatches may"
    " come late. Then its amounts enter the ledger, and whatever is decided later is a movement of its own date.",
    window="UTC days",
    source=_RECEIPTS,
)

REGION = define(
    "earnings_region",
    "Median of the region",
    text="What a typical active node of other organisations in this region earned, rounded to two digits. Each"
    " organisation counts once, with its median node. Shown only if there are at least five of them.",
    window="the last 7 whole UTC days",
    source=_RECEIPTS,
)
