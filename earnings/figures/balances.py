"""What the ledger holds for a node, an organisation or the network: available, ready, paid out."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter
from typing import Any, Self

from django.db.models import F, QuerySet, Sum

from earnings.figures.scope import Scope
from earnings.figures.sums import total
from earnings.models import NodeBalance


@dataclass(frozen=True)
class Balances:
    """US dollars by account. Only final days are in the ledger.

    `accrued` is available for a payout; it is negative where something was excluded after it was paid out.
    `carried` is parts of a cent that wait for the next payout.
    """

    accrued: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    ready: Decimal = Decimal(0)
    exported: Decimal = Decimal(0)
    carried: Decimal = Decimal(0)

    @classmethod
    def of_all(cls, several: Iterable["Balances"]) -> Self:
        """All of them together."""
        rows = [_VALUES(each) for each in several]
        return cls(*map(total, zip(*rows, strict=True)))

    @property
    def available(self) -> Decimal:
        return self.accrued


_ACCOUNTS = ("accrued", "held", "ready", "exported", "carried")
_VALUES = attrgetter(*_ACCOUNTS)


def balances(scope: Scope) -> Balances:
    """Of the scope's node, organisation or network. Days and models do not narrow it: a balance is now."""
    return _of(_rows(scope).aggregate(**{f"sum_{name}": Sum(F(name)) for name in _ACCOUNTS}))


def balances_by_node(scope: Scope) -> dict[str | None, Balances]:
    """By node id. Parts of a cent belong to no node: they are under None."""
    return _grouped(_rows(scope), "node_id")


def balances_by_org(scope: Scope) -> dict[Any, Balances]:
    """By the id of the organisation."""
    return _grouped(_rows(scope), "org_id")


def _rows(scope: Scope) -> QuerySet[NodeBalance]:
    return scope.narrow(NodeBalance.objects.order_by(), node="node_id")


def _grouped(rows: QuerySet[NodeBalance], key: str) -> dict[Any, Balances]:
    found = rows.values(key).annotate(**{f"sum_{name}": Sum(F(name)) for name in _ACCOUNTS})
    return {row[key]: _of(row) for row in found}


def _of(row: dict[str, Any]) -> Balances:
    return Balances(**{name: Decimal(row[f"sum_{name}"] or 0) for name in _ACCOUNTS})
