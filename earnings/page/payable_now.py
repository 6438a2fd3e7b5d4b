"""What stands between the nodes of a scope and their next payout: the eligibility rules, by node or counted."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from earnings.figures.scope import Scope
from earnings.models import Policy
from earnings.payouts.candidates import candidates
from earnings.payouts.judging import rules_of
from earnings.rules.eligibility import EligibilityRule
from nodes.models import Node

# Beyond this many nodes the payout run, not the page, says which are eligible.
MOST_NODES = 500


@dataclass(frozen=True)
class CountedRule:
    """A rule over several nodes. `failing` are the first nodes that fail it."""

    label: str
    passed: int
    nodes: int
    failing: Sequence[str]

    @property
    def ok(self) -> bool:
        return self.passed == self.nodes

    @property
    def detail(self) -> str:
        if self.ok:
            return f"All {self.nodes:,} nodes pass."
        more = self.nodes - self.passed - len(self.failing)
        names = ", ".join(self.failing) + (f" and {more:,} more" if more else "")
        return f"{self.passed:,} of {self.nodes:,} nodes pass. Not: {names}."


@dataclass(frozen=True)
class PayableNow:
    """The rules of the one node, or the counts of several; `eligible` of `nodes` pass all rules."""

    rules: Sequence[EligibilityRule]
    counted: Sequence[CountedRule]
    eligible: int
    nodes: int


def payable_now(
    scope: Scope, node: Node | None, *, nodes: Collection[str], policy: Policy, at: datetime
) -> PayableNow | None:
    """The rules for a payout now, by the policy in force: of the node, or of all `nodes` that the scope has.

    None for the whole network, for no nodes, and for too many.
    """
    if scope.org_id is None and node is None:
        return None
    wanted = [node.pk] if node is not None else list(nodes)
    if not wanted or len(wanted) > MOST_NODES:
        return None
    org_id = scope.org_id or (node.org_id if node is not None else None)
    found = candidates(wanted, policy=policy, at=at, org_id=org_id)
    judged = {
        each.node_id: rules_of(each, amount_usd=each.available_usd, policy=policy, at=at) for each in found
    }
    eligible = sum(all(rule.ok for rule in rules) for rules in judged.values())
    if node is not None:
        return PayableNow(judged.get(node.pk, ()), (), eligible, 1)
    return PayableNow((), _counted(judged), eligible, len(judged))


def hint_of(found: PayableNow | None) -> str:
    """What comes out of the rules, in a few words."""
    if found is None:
        return ""
    if found.rules:
        return "Eligible now" if found.eligible else "Not eligible yet"
    return f"{found.eligible:,} of {found.nodes:,} nodes eligible now"


def _counted(judged: dict[str, tuple[EligibilityRule, ...]]) -> list[CountedRule]:
    by_rule: dict[str, list[tuple[str, bool]]] = {}
    for node_id, rules in judged.items():
        for rule in rules:
            by_rule.setdefault(rule.rule.label, []).append((node_id, rule.ok))
    return [
        CountedRule(
            label, sum(ok for _, ok in each), len(each), [node_id for node_id, ok in each if not ok][:3]
        )
        for label, each in by_rule.items()
    ]
