"""What the figures above the list of receipts mean."""

from jatevo.web.definitions import define

_WINDOW = "the receipts that match the search and were accepted before the time shown"
_SOURCE = "accepted receipts"

# receipts.search.totals
MATCHING = define(
    "receipts_matching",
    "Receipts",
    text="How many accepted receipts match the search, among those that you can see. Totals, histogram and export stop at"
    " the same moment, some seconds ago, before which every accepted receipt is counted. The list goes on with newer ones.",
    window=_WINDOW,
    source=_SOURCE,
)

TOKENS = define(
    "receipts_tokens",
    "Tokens in / out",
    text="The sums of the input tokens and of the output tokens that the receipts state.",
    window=_WINDOW,
    source=_SOURCE,
)

CACHE_HITS = define(
    "receipts_cache_hits",
    "Cache hits",
    text="The share of the receipts that state a cache hit.",
    window=_WINDOW,
    source=_SOURCE,
)

FAILURES = define(
    "receipts_failures",
    "Failures",
    text="Receipts for requests that failed. Cancelled requests are not among them.",
    window=_WINDOW,
    source=_SOURCE,
)

AVERAGE_P95 = define(
    "receipts_p95",
    "Average p95",
    text="The mean of the p95 that each receipt states for its own request.",
    window=_WINDOW,
    source=_SOURCE,
)

FEES_BY_VERDICT = define(
    "receipts_fees",
    "Fees by payment state",
    text="What the receipts come to by the rate in force when each request ended, by the verdict that holds: payable, held"
    " or excluded. Pending receipts are not judged yet, so that their fees are not known.",
    window=_WINDOW,
    source="accepted receipts, their newest verdicts and rates",
)
