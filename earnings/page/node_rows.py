"""The table of nodes, or for all organisations of organisations: what each earned in the chosen days."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from earnings.figures.balances import Balances, balances_by_node, balances_by_org
from earnings.figures.query import EarningsQuery
from earnings.figures.scope import Scope
from earnings.figures.sums import Sums, sums_by_node, sums_by_org
from jatevo.accounts.models import Org
from nodes.models import Node


@dataclass(frozen=True)
class EarnerRow:
    """A node or an organisation. `status` and `region` are '' for organisations."""

    key: str
    name: str
    sums: Sums
    balance: Balances
    status: str = ""
    region: str = ""
    node: bool = True


@dataclass(frozen=True)
class SortColumn:
    """A column to sort by, with its value."""

    key: str
    label: str
    value: Callable[[EarnerRow], Any]
    number: bool = True


COLUMNS = (
    SortColumn("name", "Name", lambda row: row.name, number=False),
    SortColumn("receipts", "Receipts", lambda row: row.sums.receipts),
    SortColumn("fees", "Fees", lambda row: row.sums.fees_usd),
    SortColumn("unconfirmed", "Unconfirmed part", lambda row: row.sums.unconfirmed_usd),
    SortColumn("held", "Held", lambda row: row.sums.held_usd),
    SortColumn("excluded", "Excluded", lambda row: row.sums.excluded_usd),
    SortColumn("available", "Available", lambda row: row.balance.available),
    SortColumn("ready", "Ready", lambda row: row.balance.ready),
    SortColumn("paid", "Paid out", lambda row: row.balance.exported),
)
_BY_KEY = {column.key: column for column in COLUMNS}
DEFAULT = "-fees"


@dataclass(frozen=True)
class Earners:
    """All rows, sorted, with their total."""

    rows: list[EarnerRow]
    total: EarnerRow
    sort: str
    of_nodes: bool

    def aria_sort(self, key: str) -> str:
        """How the rows are sorted by that column, '' if they are not."""
        if self.sort.removeprefix("-") != key:
            return ""
        return "descending" if self.sort.startswith("-") else "ascending"

    def turned(self, key: str) -> str:
        """The order that a click on the column gives."""
        column = _BY_KEY[key]
        first = f"-{key}" if column.number else key
        other = key if column.number else f"-{key}"
        return other if self.sort == first else first


def earners_balances(scope: Scope) -> dict[Any, Balances]:
    """The balances of the earners of the scope. Parts of a cent, which belong to no node, are under None."""
    return balances_by_node(scope) if _of_nodes(scope) else balances_by_org(scope)


def earners_of(
    query: EarningsQuery,
    sort: str,
    balances: Mapping[Any, Balances],
    nodes: Mapping[str, tuple[str, str]],
) -> Earners:
    """The nodes of the organisation (of the chosen one); without one, the organisations of the network.

    `nodes` are the present ones of the scope, with status and region.
    """
    scope = query.scope
    of_nodes = _of_nodes(scope)
    if of_nodes:
        rows = _nodes(query, balances, nodes)
    else:
        found = sums_by_org(scope)
        rows = [
            EarnerRow(
                str(org_id), name, found.get(org_id, Sums()), balances.get(org_id, Balances()), node=False
            )
            for org_id, name in Org.objects.values_list("pk", "name")
        ]
    wanted = sort if sort.removeprefix("-") in _BY_KEY else DEFAULT
    column = _BY_KEY[wanted.removeprefix("-")]
    rows.sort(key=lambda row: row.name)
    rows.sort(key=column.value, reverse=wanted.startswith("-"))
    whole = EarnerRow(
        "", "Total", Sums.of_all(row.sums for row in rows), Balances.of_all(row.balance for row in rows)
    )
    return Earners(rows, whole, wanted, of_nodes)


def _of_nodes(scope: Scope) -> bool:
    return scope.org_id is not None or scope.node_id is not None


def _nodes(
    query: EarningsQuery, balances: Mapping[Any, Balances], known: Mapping[str, tuple[str, str]]
) -> list[EarnerRow]:
    found = sums_by_node(query.scope)
    # nodes that changed hands still have earnings of their former organisation
    elsewhere = {*found, *balances} - {None, *known}
    former = Node.objects.filter(pk__in=elsewhere).values_list("pk", flat=True) if elsewhere else ()
    gone = dict.fromkeys(former, ("", ""))
    nothing, no_balance = Sums(), Balances()
    return [
        EarnerRow(
            node_id, node_id, found.get(node_id, nothing), balances.get(node_id, no_balance), status, region
        )
        for node_id, (status, region) in {**known, **gone}.items()
    ]
