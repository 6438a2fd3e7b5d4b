"""Accrual: accepted receipts become items, are judged by the rules, and add up to lines and to the ledger.

`accrue` is what the worker calls. One transaction takes a batch of receipts from the queue, writes their items
and verdicts, and updates the lines, so that it can be stopped at any point and goes on from there.
"""

from earnings.accrual.decisions import decide, overruled, release_excluded, require_payable
from earnings.accrual.run import Accrued, accrue, accrue_all

__all__ = ["Accrued", "accrue", "accrue_all", "decide", "overruled", "release_excluded", "require_payable"]
