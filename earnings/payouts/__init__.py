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
from earnings.payouts.marking import Marked, confirm, mark_ready, withdraw
from earnings.payouts.previews import Preview, preview, preview_of
from earnings.payouts.returning import return_payment

__all__ = [
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
    "mark_ready",
    "preview",
    "preview_of",
    "return_payment",
    "withdraw",
]
