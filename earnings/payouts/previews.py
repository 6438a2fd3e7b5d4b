"""What marking nodes ready would do, and what is so now with payouts that are open. Changes nothing."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from earnings.figures.payout import policy_at
from earnings.models import Payout, PayoutState, Policy
from earnings.payouts import judged_in_bulk as in_bulk
from earnings.payouts.candidates import Candidate, candidates
from earnings.payouts.judged_in_bulk import BulkJudged
from earnings.payouts.judging import may_override, rules_of, second_admin, wallet_totals
from earnings.payouts.paid_alone import paid_alone
from earnings.rules.eligibility import EligibilityKey, EligibilityRule
from earnings.rules.pricing import exact_sum
from earnings.rules.second_person import SecondPerson
from jatevo.accounts.models import Role, User

OPEN = (PayoutState.PROPOSED, PayoutState.READY)


@dataclass(frozen=True)
class Preview:
    """What marking a node ready would do now.

    `failed` are the rules that stand in its way, overridden ones left out. `overridable` are the failed ones
    that an admin may override. `problem` says in a sentence why
    nothing can be marked, '' if it can. `second` says whether a second admin must
    confirm, and why.
    """

    candidate: Candidate
    amount_usd: Decimal
    unconfirmed_usd: Decimal
    rules: tuple[EligibilityRule, ...]
    failed: tuple[EligibilityRule, ...]
    overridable: tuple[EligibilityRule, ...]
    overridden: tuple[EligibilityKey, ...]
    second: SecondPerson
    problem: str

    @property
    def possible(self) -> bool:
        return not self.problem


def preview(
    *,
    nodes: Collection[str] | None,
    at: datetime,
    override: Collection[str] = (),
    policy: Policy | None = None,
) -> list[Preview]:
    """What `mark_ready` would do with these nodes now (None: with all that have a balance). Changes nothing."""
    policy = policy or policy_at(at)
    found = candidates(nodes, policy=policy, at=at)
    amounts = {
        each.key: each.ready_usd + each.owed_usd if each.open_payout_id else each.available_usd
        for each in found
    }
    totals = wallet_totals([*((each, amounts[each.key]) for each in found), *_other_open(found, policy, at)])
    alone = paid_alone(at=at)
    admins = _admins()
    return [
        _preview(
            each,
            amounts[each.key],
            exact_sum([totals[address], alone.get(address, Decimal(0))]),
            override,
            policy,
            admins,
            at,
        )
        for each in found
        for address in [(each.chain, each.address)]
    ]


def judge_all(*, at: datetime) -> list[BulkJudged]:
    """Every node with a balance and without an open payout, judged like `preview` but without sentences.

    Eligible ones come first, then larger amounts.
    """
    return in_bulk.judge_all(policy=policy_at(at), at=at, admins=_admins())


def preview_judged(judged: Sequence[BulkJudged], *, at: datetime) -> list[Preview]:
    """The previews of these nodes, in their order. One that has no balance any more is left out."""
    policy, admins = policy_at(at), _admins()
    found = {each.key: each for each in candidates({each.node_id for each in judged}, policy=policy, at=at)}
    return [
        _preview(found[each.node_id, each.org_id], each.amount_usd, each.wallet_usd, (), policy, admins, at)
        for each in judged
        if (each.node_id, each.org_id) in found
    ]


def preview_of(payouts: Sequence[Payout], *, at: datetime) -> dict[int, Preview]:
    """The open payouts judged by what is so now, by their ids. One that is not open any more is left out."""
    found = preview(nodes={each.node_id for each in payouts}, at=at)
    by_payout = {each.candidate.open_payout_id: each for each in found}
    return {
        each.pk: _overriding(by_payout[each.pk], each.overridden) for each in payouts if each.pk in by_payout
    }


def sentence(failed: Iterable[EligibilityRule]) -> str:
    """Why rules fail, in one line."""
    return " ".join(each.detail for each in failed)


def _preview(
    candidate: Candidate,
    amount_usd: Decimal,
    wallet_usd: Decimal,
    override: Collection[str],
    policy: Policy,
    admins: int,
    at: datetime,
) -> Preview:
    marked = candidate.open_payout_id is not None
    rules = rules_of(candidate, amount_usd=amount_usd, policy=policy, at=at)
    overridable = tuple(each for each in rules if not each.ok and may_override(each, amount_usd))
    overridden = tuple(each.rule for each in overridable if each.rule in override)
    failed = tuple(each for each in rules if not each.ok and each.rule not in overridden)
    unconfirmed = candidate.ready_unconfirmed_usd if marked else candidate.unconfirmed_usd
    problem = sentence(failed)
    if marked:
        state = "is ready" if candidate.open_state == PayoutState.READY else "awaits a second admin"
        problem = f"A payout of this node already {state}."
    return Preview(
        candidate=candidate,
        amount_usd=amount_usd,
        unconfirmed_usd=min(unconfirmed, max(amount_usd, Decimal(0))),
        rules=rules,
        failed=failed,
        overridable=overridable,
        overridden=overridden,
        second=second_admin(
            amount_usd=amount_usd,
            wallet_usd=wallet_usd,
            unconfirmed_usd=unconfirmed,
            overridden=overridden,
            policy=policy,
            admins=admins,
        ),
        problem=problem,
    )


def _admins() -> int:
    return User.objects.filter(role=Role.ADMIN, is_active=True).count()


def _overriding(now: Preview, overridden: Collection[str]) -> Preview:
    """The same, with the rules overridden that were overridden when it was marked."""
    failed = tuple(each for each in now.failed if not (each in now.overridable and each.rule in overridden))
    return replace(now, failed=failed)


def _other_open(found: Sequence[Candidate], policy: Policy, at: datetime) -> list[tuple[Candidate, Decimal]]:
    """The open payouts of the same organisations' other nodes, with their amounts."""
    known = {each.key for each in found}
    open_nodes = set(
        Payout.objects.filter(state__in=OPEN, org_id__in={each.org_id for each in found}).values_list(
            "node_id", flat=True
        )
    )
    others = candidates(open_nodes, policy=policy, at=at) if open_nodes else []
    return [(each, each.ready_usd) for each in others if each.open_payout_id and each.key not in known]
