"""The table of the payout run: every node with a balance, whether it is eligible, and why not."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from earnings.payouts import Preview, preview
from earnings.rules.pricing import exact_sum
from earnings.run.forms import RunFilter


@dataclass(frozen=True)
class Totals:
    """How many nodes, and what they come to."""

    nodes: int
    amount_usd: Decimal

    @classmethod
    def of(cls, rows: list[Preview]) -> "Totals":
        return cls(len(rows), exact_sum(each.amount_usd for each in rows))


@dataclass(frozen=True)
class RunTable:
    """The rows that the filters leave, eligible ones and larger amounts first, and totals of all."""

    rows: list[Preview]
    eligible: Totals
    not_eligible: Totals
    second: Totals  # the eligible ones that a second admin must confirm


def run_table(filters: RunFilter, *, at: datetime) -> RunTable:
    """Every node that has a balance and no open payout, narrowed by the filters."""
    every = [each for each in preview(nodes=None, at=at) if each.candidate.open_payout_id is None]
    wanted = {} if filters.problems else filters.cleaned_data
    rows = every
    if name := wanted.get("q"):
        rows = [each for each in rows if name.lower() in each.candidate.node_id]
    if org := wanted.get("org"):
        rows = [each for each in rows if each.candidate.org_id == org.pk]
    if show := wanted.get("show"):
        rows = [each for each in rows if each.possible is (show == "eligible")]
    rows.sort(key=lambda each: (not each.possible, -each.amount_usd, each.candidate.node_id))
    return RunTable(
        rows=rows,
        eligible=Totals.of([each for each in every if each.possible]),
        not_eligible=Totals.of([each for each in every if not each.possible]),
        second=Totals.of([each for each in every if each.possible and each.second.needed]),
    )
