"""The table of the payout run: every node with a balance, whether it is eligible, and why not."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from earnings.payouts import BulkJudged, Preview, judge_all
from earnings.rules.pricing import exact_sum
from earnings.run.forms import RunFilter


@dataclass(frozen=True)
class Totals:
    """How many nodes, and what they come to."""

    nodes: int
    amount_usd: Decimal

    @classmethod
    def of(cls, rows: Iterable[BulkJudged | Preview]) -> "Totals":
        amounts = [each.amount_usd for each in rows]
        return cls(len(amounts), exact_sum(amounts))


@dataclass(frozen=True)
class RunTable:
    """The rows that the filters leave, eligible ones and larger amounts first, and totals of all."""

    rows: list[BulkJudged]
    eligible: Totals
    not_eligible: Totals
    second: Totals  # the eligible ones that a second admin must confirm


def run_table(filters: RunFilter, *, at: datetime) -> RunTable:
    """Every node that has a balance and no open payout, narrowed by the filters."""
    every = judge_all(at=at)
    wanted = {} if filters.problems else filters.cleaned_data
    rows = every
    if name := wanted.get("q"):
        rows = [each for each in rows if name.lower() in each.node_id]
    if org := wanted.get("org"):
        rows = [each for each in rows if each.org_id == org.pk]
    if show := wanted.get("show"):
        rows = [each for each in rows if each.possible is (show == "eligible")]
    return RunTable(
        rows=rows,
        eligible=Totals.of(each for each in every if each.possible),
        not_eligible=Totals.of(each for each in every if not each.possible),
        second=Totals.of(each for each in every if each.possible and each.second_needed),
    )
