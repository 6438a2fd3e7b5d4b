"""Payouts: marking nodes ready, a second admin's confirmation, export files, and payments that came back.

No on-chain operation: the console says what is to be paid, and keeps what was exported.
"""

from earnings.payouts.candidates import Candidate, candidates
from earnings.payouts.errors import (
    Conflict,
    NotEligible,
    PayoutError,
    ReasonMissing,
    SecondPersonNeeded,
)
from earnings.payouts.exporting import Exported, TakenBack, export
from earnings.payouts.judged_in_bulk import BulkJudged
from earnings.payouts.marking import Marked, confirm, mark_ready, withdraw
from earnings.payouts.previews import Preview, judge_all, preview, preview_judged, preview_of
from earnings.payouts.returning import return_payment

__all__ = [
    "BulkJudged",
    "Candidate",
    "Conflict",
    "Exported",
    "Marked",
    "NotEligible",
    "PayoutError",
    "Preview",
    "ReasonMissing",
    "SecondPersonNeeded",
    "TakenBack",
    "candidates",
    "confirm",
    "export",
    "judge_all",
    "mark_ready",
    "preview",
    "preview_judged",
    "preview_of",
    "return_payment",
    "withdraw",
]
