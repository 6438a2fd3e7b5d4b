"""One receipt as an amount: how its fee is made up, what each rule found, and every verdict on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from earnings.accrual.contested import load_requests
from earnings.accrual.coverage import current_coverage
from earnings.figures.items import with_verdicts
from earnings.figures.scope import NotYours, scope_for
from earnings.figures.verdicts import sentence_of
from earnings.models import Item, Rate, Verdict
from earnings.rules.facts import RequestFacts
from earnings.rules.payability import RuleCheck, checks
from jatevo.accounts.models import User
from jatevo.web.templatetags.money import exact_usd
from receipts.models import Receipt, ReceiptIdentity


@dataclass(frozen=True)
class Said:
    """A verdict with its sentence."""

    verdict: Verdict
    sentence: str


@dataclass(frozen=True)
class ShownItem:
    """`said` has the verdicts, newest first. `kept`: the receipt itself is still stored."""

    item: Item
    rate: Rate
    said: Sequence[Said]
    checks: Sequence[RuleCheck]
    kept: bool
    sha256: str
    seconds: int
    final_at: datetime | None

    @property
    def newest(self) -> Said | None:
        return self.said[0] if self.said else None

    @property
    def fee_words(self) -> str:
        """The fee with every digit."""
        return exact_usd(self.item.fee_usd)


def shown_item(user: User, node_id: str, request_id: str, *, at: datetime) -> ShownItem | None:
    """The item, or None if it does not exist or is another organisation's."""
    try:
        scope = scope_for(user)
    except NotYours:
        return None
    found = with_verdicts(scope.own(Item.objects.filter(request_id=request_id, node_id=node_id)))
    item: Item | None = found.select_related("rate", "line", "node").first()
    if item is None:
        return None
    verdicts = Verdict.objects.filter(day=item.day, receipt_id=item.receipt_id).order_by("-id")
    return ShownItem(
        item=item,
        rate=item.rate,
        said=[Said(verdict, sentence_of(verdict)) for verdict in verdicts],
        checks=_checks(item, at),
        kept=_kept(item),
        sha256=bytes(item.sha256).hex(),
        seconds=int((item.ts_end - item.ts_start).total_seconds()),
        final_at=item.line.final_at,
    )


def _checks(item: Item, at: datetime) -> list[RuleCheck]:
    """What each rule finds now, from all that is known of the request. No sentence names another organisation."""
    known = load_requests([item.request_id])[item.request_id]
    facts = [each.facts for each in known.items]
    request = RequestFacts(facts, known.dispatches, known.winner, current_coverage().by_node)
    own = next(each for each in facts if each.receipt_id == item.receipt_id)
    return checks(own, request, at=at)


def _kept(item: Item) -> bool:
    identity = ReceiptIdentity.objects.filter(node_id=item.node_id, request_id=item.request_id).first()
    # the identity's time leads to the one partition that holds the receipt
    return (
        identity is not None
        and Receipt.objects.filter(accepted_at=identity.accepted_at, id=item.receipt_id).exists()
    )
