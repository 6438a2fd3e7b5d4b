"""The newest verdicts on receipts, and what they say in words."""

from collections.abc import Iterable
from datetime import date

from earnings.models import Verdict
from earnings.rules.payability import Judged
from earnings.rules.verdicts import Cause, PayRule, VerdictState


def newest_verdicts(receipts: Iterable[tuple[date, int]]) -> dict[int, Verdict]:
    """The verdict that holds for each receipt, by receipt id. One query. `date` is the item's day."""
    keys = list(receipts)
    if not keys:
        return {}
    found = (
        Verdict.objects.filter(
            day__in={day for day, _ in keys}, receipt_id__in=[number for _, number in keys]
        )
        .order_by("receipt_id", "-id")
        .distinct("receipt_id")
    )
    return {verdict.receipt_id: verdict for verdict in found}


def sentence_of(verdict: Verdict) -> str:
    """The verdict in words, from its own numbers. A verdict without them is told by its cause."""
    if verdict.rule and not verdict.actor and not verdict.numbers:
        return f"{cause_label(verdict.rule, verdict.cause)}."
    judged = Judged(
        VerdictState(verdict.state),
        verdict.rule,
        verdict.cause,
        verdict.confirmed,
        verdict.numbers or {},
        verdict.actor,
        verdict.reason,
    )
    return judged.sentence


def cause_label(rule: str, cause: str) -> str:
    """The cause in a few words, or its rule where a verdict has no cause of its own."""
    if cause:
        return Cause(cause).label
    return PayRule(rule).label if rule else ""
