"""A check of `manage.py earnings_fsck` in SQL: a query for rows that contradict each other.

It gives (subject, detail) for each contradiction.
"""

from dataclasses import dataclass
from typing import Final

from earnings.models.ledger import ROUTES


@dataclass(frozen=True)
class SqlCheck:
    """`promise` says what holds if the query finds nothing."""

    key: str
    promise: str
    query: str

    @property
    def sql(self) -> str:
        """The query, with the parts that several share."""
        return self.query.format(**_SHARED)


_NEWEST: Final = """
    SELECT DISTINCT ON (receipt_id) receipt_id, state, rule, confirmed FROM earnings_verdict
    WHERE day >= %(first)s AND day < %(next)s
    ORDER BY receipt_id, id DESC
"""
_ACCOUNTS: Final = ("accrued", "held", "ready", "exported")
_ENTRIES: Final = """
    SELECT line_id, node_id, org_id, at, to_account AS account, amount_usd FROM earnings_movement
    UNION ALL
    SELECT line_id, node_id, org_id, at, from_account, -amount_usd FROM earnings_movement
"""


def _sums(accounts: tuple[str, ...]) -> str:
    return ", ".join(
        f"COALESCE(sum(amount_usd) FILTER (WHERE account = '{name}'), 0) AS {name}" for name in accounts
    )


def _listed(accounts: tuple[str, ...], table: str) -> str:
    return ", ".join(f"COALESCE({table}.{name}, 0)" for name in accounts)


_KNOWN_ROUTES: Final = ", ".join(
    f"('{kind.value}', '{source.value}', '{target.value}')"
    for kind, routes in ROUTES.items()
    for source, target in sorted(routes)
)

_TOTALS: Final = (
    "receipts", "tokens_input", "tokens_output", "payable_receipts", "payable_usd", "confirmed_usd",
    "held_receipts", "held_usd", "excluded_receipts", "excluded_usd",
)  # fmt: skip
_LEDGER: Final = (*_ACCOUNTS, "carried")
_SHARED: Final = {
    "newest": _NEWEST,
    "entries": _ENTRIES,
    "known_routes": _KNOWN_ROUTES,
    "line_sums": _sums(_ACCOUNTS),
    "line_b": _listed(_ACCOUNTS, "b"),
    "line_m": _listed(_ACCOUNTS, "m"),
    "node_sums": _sums(_LEDGER),
    "node_b": _listed(_LEDGER, "b"),
    "node_m": _listed(_LEDGER, "m"),
    "totals": ", ".join(f"sum({name}) AS {name}" for name in _TOTALS),
    "totals_t": _listed(_TOTALS, "t"),
    "totals_s": _listed(_TOTALS, "s"),
}
