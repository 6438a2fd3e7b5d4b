"""What a statement says about an organisation's month."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from django.db.models import Max, Q, QuerySet, Sum

from earnings.figures.jtvo import JtvoEstimate, JtvoRates
from earnings.figures.scope import Scope
from earnings.figures.sums import EXACT, Sums, lines, sums_by_day, sums_by_model, sums_by_node
from earnings.models import Account, Line, Movement, Payment, Rate
from earnings.rules.periods import Month, day_starts_at
from earnings.statements.ledger_part import OWED, LedgerPart, ledger_part
from earnings.statements.root_hash import root_hash
from jatevo.accounts.models import Org
from jatevo.flags.registry import Flag, enabled

MOST_LINES: Final = 5_000  # that are printed; the others are in the file of lines
MOST_HASHED: Final = 50_000  # receipts of a preliminary statement, which somebody waits for


@dataclass(frozen=True)
class EarnedPart:
    """What the receipts of a day, a node or a model come to. `final_at`: since when that is final, if it is one time."""

    name: str
    sums: Sums
    final_at: datetime | None = None


@dataclass(frozen=True)
class StatementContent:
    """An organisation's month. `preliminary`: it may still change, and is not stored.

    The work is that whose requests ended in the month; the ledger is what was dated into it. Days near the end
    become final, and enter the ledger, in the next month.
    """

    org: Org
    month: Month
    made_at: datetime
    preliminary: bool
    ledger: LedgerPart
    days: list[EarnedPart]
    nodes: list[EarnedPart]
    models: list[EarnedPart]
    whole: Sums
    entered_later: Sums  # the part of `whole` that became final after the month
    running: Sums  # the part of `whole` that is not final yet
    lines: list[Line]
    lines_count: int
    rates: list[Rate]
    jtvo: JtvoEstimate | None
    payments: list[Payment]
    returned: list[Payment]
    root_hash: bytes | None

    @property
    def opening_owed(self) -> Decimal:
        return self.ledger.opening(*OWED)

    @property
    def closing_owed(self) -> Decimal:
        return self.ledger.closing(*OWED)

    @property
    def moved_owed(self) -> Decimal:
        return EXACT.subtract(self.closing_owed, self.opening_owed)

    @property
    def closing_held(self) -> Decimal:
        return self.ledger.closing(Account.HELD)

    @property
    def lines_left_out(self) -> int:
        return self.lines_count - len(self.lines)


def statement_content(org: Org, month: Month, *, at: datetime, preliminary: bool) -> StatementContent:
    """Reads it all. Raises StatementDoesNotAddUp.

    Must run in a transaction with one snapshot, so that its parts agree.
    """
    start, end = day_starts_at(month.first_day), day_starts_at(month.next.first_day)
    scope = Scope(org.pk, first=month.first_day, last=month.last_day)
    of_month = lines(scope)
    by_day = sums_by_day(scope)
    final = dict(of_month.values_list("day").annotate(Max("final_at")))
    whole = Sums.of_all(by_day.values())
    hashed = not preliminary or whole.receipts <= MOST_HASHED
    payments = Payment.objects.filter(org=org).select_related("export").order_by("pk")
    return StatementContent(
        org=org,
        month=month,
        made_at=at,
        preliminary=preliminary,
        ledger=ledger_part(org.pk, start=start, end=end),
        days=[EarnedPart(day.isoformat(), by_day[day], _utc(final.get(day))) for day in sorted(by_day)],
        nodes=_parts(sums_by_node(scope).items()),
        models=_parts(sums_by_model(scope).items()),
        whole=whole,
        entered_later=_summed(of_month.filter(final_at__gte=end)),
        running=_summed(of_month.filter(final_at__isnull=True)),
        lines=list(
            of_month.select_related("rate").order_by("day", "node_id", "model", "rate_id")[:MOST_LINES]
        ),
        lines_count=of_month.count(),
        rates=list(Rate.objects.filter(pk__in=of_month.values("rate_id")).order_by("model", "holds_from")),
        jtvo=JtvoRates().estimate(by_day) if enabled(Flag.SHOW_JTVO_ESTIMATES) else None,
        payments=list(payments.filter(export__created_at__gte=start, export__created_at__lt=end)),
        returned=list(payments.filter(returned_at__gte=start, returned_at__lt=end)),
        root_hash=root_hash(org.pk, month.first_day, month.last_day) if hashed else None,
    )


def has_content(month: Month) -> Q:
    """The organisations with work or movements in a month."""
    start, end = day_starts_at(month.first_day), day_starts_at(month.next.first_day)
    worked = Line.objects.filter(day__range=(month.first_day, month.last_day)).values("org_id")
    moved = Movement.objects.filter(at__gte=start, at__lt=end).values("org_id")
    return Q(pk__in=worked) | Q(pk__in=moved)


def _parts(found: Iterable[tuple[str, Sums]]) -> list[EarnedPart]:
    return [EarnedPart(name, sums) for name, sums in sorted(found)]


def _summed(found: QuerySet[Line]) -> Sums:
    return Sums.of(found.aggregate(**{name: Sum(name) for name in Sums.__dataclass_fields__}))


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
