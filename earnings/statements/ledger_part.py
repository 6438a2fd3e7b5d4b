"""The ledger of an organisation in a month: what it opened with, what moved, what it closed with."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection

from earnings.figures.sums import EXACT, total
from earnings.models import Account, MovementKind

OWED: Final = (Account.ACCRUED, Account.HELD, Account.READY, Account.CARRIED)
SHOWN: Final = (Account.ACCRUED, Account.HELD, Account.READY, Account.EXPORTED, Account.CARRIED)

_ENTRIES = """
    SELECT at, kind, to_account AS account, amount_usd FROM earnings_movement WHERE org_id = %(org)s AND at < %(end)s
    UNION ALL
    SELECT at, kind, from_account, -amount_usd FROM earnings_movement WHERE org_id = %(org)s AND at < %(end)s
"""
_OPENING = f"SELECT account, sum(amount_usd) FROM ({_ENTRIES}) e WHERE at < %(start)s GROUP BY account"  # noqa: S608
_CLOSING = f"SELECT account, sum(amount_usd) FROM ({_ENTRIES}) e GROUP BY account"  # noqa: S608
_MOVED = """
SELECT (at AT TIME ZONE 'UTC')::date, kind, from_account, to_account, count(*), sum(amount_usd)
FROM earnings_movement WHERE org_id = %(org)s AND at >= %(start)s AND at < %(end)s
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
_HELD = """
WITH entry AS (
    SELECT line_id, to_account AS account, amount_usd FROM earnings_movement WHERE org_id = %(org)s AND at < %(end)s
    UNION ALL
    SELECT line_id, from_account, -amount_usd FROM earnings_movement WHERE org_id = %(org)s AND at < %(end)s
), held_line AS (
    SELECT line_id FROM entry WHERE account = 'held' GROUP BY line_id HAVING sum(amount_usd) <> 0
)
SELECT v.rule, v.cause, count(*), sum(i.fee_usd), min(v.at)
FROM held_line
JOIN earnings_item i ON i.line_id = held_line.line_id
JOIN LATERAL (
    SELECT state, rule, cause, at FROM earnings_verdict
    WHERE day = i.day AND receipt_id = i.receipt_id AND at < %(end)s ORDER BY id DESC LIMIT 1
) v ON v.state = 'held'
GROUP BY v.rule, v.cause ORDER BY sum(i.fee_usd) DESC, v.rule, v.cause
"""


class StatementDoesNotAddUp(Exception):
    """The ledger contradicts itself, so there is no statement. `manage.py earnings_fsck` says where."""


@dataclass(frozen=True)
class AccountInMonth:
    """One account: `opening + moved = closing`."""

    account: Account
    opening: Decimal
    moved: Decimal
    closing: Decimal


@dataclass(frozen=True)
class Moved:
    """The movements of one UTC day, kind and direction."""

    day: date
    kind: MovementKind
    source: Account
    target: Account
    count: int
    amount_usd: Decimal


@dataclass(frozen=True)
class HeldReason:
    """What the ledger held at the end, by the verdict that held then."""

    rule: str
    cause: str
    receipts: int
    fees_usd: Decimal
    since: datetime


@dataclass(frozen=True)
class LedgerPart:
    accounts: list[AccountInMonth]
    moved: list[Moved]
    held: list[HeldReason]

    def closing(self, *accounts: Account) -> Decimal:
        return total(each.closing for each in self.accounts if each.account in accounts)

    def opening(self, *accounts: Account) -> Decimal:
        return total(each.opening for each in self.accounts if each.account in accounts)

    def as_json(self) -> dict[str, dict[str, str]]:
        """The balances as stored beside a statement: account to amount, at the start and at the end."""
        return {
            name: {each.account.value: str(getattr(each, name)) for each in self.accounts}
            for name in ("opening", "closing")
        }


def ledger_part(org_id: UUID, *, start: datetime, end: datetime) -> LedgerPart:
    """The movements dated from `start` until before `end`.

    Raises StatementDoesNotAddUp unless opening + movements = closing, and what is held is what verdicts hold.
    """
    asked = {"org": org_id, "start": start, "end": end}
    opening, closing = dict(_rows(_OPENING, asked)), dict(_rows(_CLOSING, asked))
    moved = [
        Moved(day, MovementKind(kind), Account(source), Account(target), count, amount)
        for day, kind, source, target, count, amount in _rows(_MOVED, asked)
    ]
    accounts = []
    for account in SHOWN:
        change = EXACT.subtract(
            total(each.amount_usd for each in moved if each.target == account),
            total(each.amount_usd for each in moved if each.source == account),
        )
        before, after = opening.get(account, Decimal(0)), closing.get(account, Decimal(0))
        if EXACT.add(before, change) != after:
            raise StatementDoesNotAddUp(f"{account}: {before} and {change} are not {after}")
        accounts.append(AccountInMonth(account, before, change, after))
    held = [HeldReason(*row) for row in _rows(_HELD, asked)]
    part = LedgerPart(accounts, moved, held)
    by_verdicts = total(each.fees_usd for each in held)
    if by_verdicts != part.closing(Account.HELD):
        raise StatementDoesNotAddUp(f"verdicts hold {by_verdicts}, the ledger {part.closing(Account.HELD)}")
    return part


def _rows(sql: str, asked: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, asked)
        return cursor.fetchall()
