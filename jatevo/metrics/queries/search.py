"""Searches of receipts: sums of any set of them, by time and payment state.

`receipt_search` has several rows for a receipt until they are merged. FINAL takes the newest. Columns that are the
same in all of them are compared in PREWHERE, which reads no other column of the rows that it leaves out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from jatevo.metrics.notes import ORIGINS, read_notes, write_note
from jatevo.metrics.queries.sql_text import joined
from jatevo.metrics.search_rows import (
    HALF_BITS,
    IN_HALVES,
    OF_NODE_TABLE,
    SEARCH_FIELDS,
    SEARCH_TABLE,
    SearchRow,
)
from jatevo.metrics.transport import MetricsUnavailable, Param, Transport

NOT_FILLED = "the search of receipts is not filled yet"
_ORIGIN = "SELECT argMax(origin, noted_at) FROM receipt_search_origin"
_NAMED = ("outcome", "signed_with", "payment")
PAYMENT_NUMBERS = ("pending", "payable", "held", "excluded")  # as in the Enum of the schema
_STATES = len(PAYMENT_NUMBERS)


@dataclass(frozen=True)
class SearchConditions:
    """Which receipts: conditions on columns that never change, and the payment state, if one is asked for.

    `of_nodes`: the conditions name the nodes.
    """

    fixed: Sequence[str] = ()
    params: Mapping[str, Param] = field(default_factory=dict)
    payment: str = ""
    of_nodes: bool = False

    @property
    def table(self) -> str:
        """The one of the two tables with the same rows that reads least for sums."""
        return OF_NODE_TABLE if self.of_nodes else SEARCH_TABLE

    @property
    def sql(self) -> str:
        return joined("FINAL", self._prewhere, "WHERE payment = {payment}" if self.payment else "")

    @property
    def sql_for_candidates(self) -> str:
        """The same receipts, but some may come twice, and some have had that payment state and lost it since.

        ClickHouse then reads no more than it has to. A receipt is pending at first, so that all would be candidates
        for that state until they are merged.
        """
        if self.payment == "pending":
            return self.sql
        conditions = (*self.fixed, "payment = {payment}") if self.payment else self.fixed
        return f"PREWHERE {' AND '.join(conditions)}" if conditions else ""

    @property
    def _prewhere(self) -> str:
        return f"PREWHERE {' AND '.join(self.fixed)}" if self.fixed else ""

    @property
    def bound(self) -> dict[str, Param]:
        return {**self.params, **({"payment": self.payment} if self.payment else {})}


@dataclass(frozen=True)
class SearchSums:
    """Sums of receipts in one payment state. `p95_ms_sum` is the sum of their own p95; `fee_usd` has every digit."""

    receipts: int
    tokens_input: int
    tokens_output: int
    cache_hits: int
    failures: int
    p95_ms_sum: float
    fee_usd: Decimal

    def __add__(self, other: "SearchSums") -> "SearchSums":
        return SearchSums(
            self.receipts + other.receipts,
            self.tokens_input + other.tokens_input,
            self.tokens_output + other.tokens_output,
            self.cache_hits + other.cache_hits,
            self.failures + other.failures,
            self.p95_ms_sum + other.p95_ms_sum,
            self.fee_usd + other.fee_usd,
        )


# The halves are added up on their own: some thousand receipts that state absurd counts overflow 64 bits.
_HALVES = ", ".join(f"sum({name}_low), sum({name}_high)" for name in IN_HALVES)
_SUMS = f"count(), {_HALVES}, sum(cache_hit), sum(outcome = 'error'), sum(p95_ms)"
# Three numbers are added up sooner than one decimal with all digits. The table by node has only that.
_FEES = {
    SEARCH_TABLE: "sum(fee_dollars), sum(fee_nanos), sum(fee_rest)",
    OF_NODE_TABLE: "sum(fee_usd), 0, 0",
}
_NANO, _REST = Decimal("1e-9"), Decimal("1e-16")


def search_origin(store: Transport) -> str:
    """The filling that ClickHouse holds. '' if there was none, or if a shard does not hold the newest."""
    if store.cluster is None:
        ((origin,),) = store.execute(_ORIGIN)
        return str(origin)
    known = read_notes(store, ORIGINS)
    return str(known[-1].values[0]) if known and known[-1].everywhere else ""


def note_search_origin(store: Transport, origin: str, *, at: datetime) -> None:
    write_note(store, ORIGINS, origin, at=at)


def search_rows_between(
    store: Transport, first: datetime, until: datetime, *, table: str = SEARCH_TABLE
) -> list[SearchRow]:
    """The rows that count of receipts accepted from `first` until `until`, which are whole seconds."""
    columns = ", ".join(map(_read, SEARCH_FIELDS))
    rows = store.execute(
        joined(
            *("SELECT", columns, "FROM", table, "FINAL"),
            "PREWHERE accepted_at >= {first} AND accepted_at < {until}",
        ),
        {"first": first, "until": until},
    )
    return [SearchRow(**dict(zip(SEARCH_FIELDS, row, strict=True))) for row in rows]


def _read(name: str) -> str:
    """The expression for a field of SearchRow."""
    if name == "accepted_at":
        return "toUInt32(accepted_at)"
    if name in IN_HALVES:
        return f"bitOr(bitShiftLeft(toUInt64({name}_high), {HALF_BITS}), toUInt64({name}_low))"
    if name == "p95_ms":
        return "toFloat64(p95_ms)"  # with all of its digits
    return f"toString({name})" if name in _NAMED else name


def first_accepted(store: Transport, conditions: SearchConditions) -> datetime | None:
    """When the oldest of the receipts was accepted, to the second."""
    # in the order of time, where it is soon found, whatever nodes are asked for
    sql = conditions.sql if conditions.payment else conditions.sql_for_candidates
    rows = store.execute(
        joined("SELECT accepted_at FROM receipt_search", sql, "ORDER BY accepted_at, id LIMIT 1"),
        conditions.bound,
    )
    return rows[0][0] if rows else None


def search_positions(
    store: Transport,
    conditions: SearchConditions,
    *,
    beyond: tuple[datetime, int] | None,
    descending: bool,
    limit: int,
    origin: str,
    reach: datetime | None = None,
    near: bool = False,
) -> tuple[list[tuple[datetime, int]], bool]:
    """The exact times of acceptance and the ids of the next candidates in the order of `(accepted_at, id)`, and
    whether there may be more.

    Candidates are the receipts and perhaps some that were in that payment state before. `limit` counts repeats.
    `reach` is a whole second beyond which none is looked for. `near`: it is so near that all receipts up to there are
    read sooner than those of each node. Raises MetricsUnavailable if ClickHouse does not hold the filling `origin`.
    """
    order = "DESC" if descending else "ASC"
    fixed, params = tuple(conditions.fixed), dict(conditions.params)
    if reach is not None:
        fixed += (f"accepted_at {'>=' if descending else '<'} {{reach}}",)
        params["reach"] = reach
    if beyond is not None:
        sign = "<" if descending else ">"
        fixed += (
            f"accepted_at {sign}= {{beyond_second}}",
            f"(accepted_at {sign} {{beyond_second}} OR micros {sign} {{beyond_micros}}"
            f" OR (micros = {{beyond_micros}} AND id {sign} {{beyond_id}}))",
        )
        at, id = beyond
        params |= {
            "beyond_second": at.replace(microsecond=0),
            "beyond_micros": at.microsecond,
            "beyond_id": id,
        }
    narrowed = SearchConditions(fixed, params, conditions.payment)
    # Asked for in the same query, because a query alone takes as long as the search for what is frequent. A cluster has
    # an origin on each shard.
    with_origin = "" if store.cluster else f", ({_ORIGIN})"
    rows = store.execute(
        joined(
            *("SELECT accepted_at, micros, id", with_origin, "FROM"),
            SEARCH_TABLE if near else conditions.table,
            narrowed.sql_for_candidates,
            f"ORDER BY accepted_at {order}, micros {order}, id {order} LIMIT {{most}}",
        ),
        {**narrowed.bound, "most": limit},
    )
    if (rows[0][3] if rows and with_origin else search_origin(store)) != origin:
        raise MetricsUnavailable(NOT_FILLED)
    found = dict.fromkeys((at + timedelta(microseconds=micros), id) for at, micros, id, *_ in rows)
    return list(found), len(rows) == limit


def search_sums(
    store: Transport, conditions: SearchConditions, *, first: datetime, cell_seconds: int, cells: int
) -> dict[tuple[int, str], SearchSums]:
    """The sums by cell of time and payment state.

    Cell 0 begins at `first`, and each of the `cells` lasts `cell_seconds`. No receipt may lie beyond them. Cells without
    receipts are left out.
    """
    # ClickHouse adds up by a number of 16 bits without hashing it
    group = "toUInt16" if cells * _STATES <= 2**16 else "toUInt32"
    rows = store.execute(
        joined(
            f"SELECT {group}(intDiv(toUInt32(accepted_at) - {{first_second}}, {{cell_seconds}}) * {_STATES}",
            "+ toUInt8(payment)) AS cell_and_payment,",
            f"{_SUMS}, {_FEES[conditions.table]}",
            *("FROM", conditions.table),
            conditions.sql,
            "GROUP BY cell_and_payment",
        ),
        {**conditions.bound, "first_second": int(first.timestamp()), "cell_seconds": cell_seconds},
    )
    return {
        (number // _STATES, PAYMENT_NUMBERS[number % _STATES]): _sums(*figures) for number, *figures in rows
    }


def _sums(
    receipts: int,
    input_low: int,
    input_high: int,
    output_low: int,
    output_high: int,
    cache_hits: int,
    failures: int,
    p95_ms_sum: float,
    fee_dollars: Decimal | int,
    fee_nanos: int,
    fee_rest: int,
) -> SearchSums:
    return SearchSums(
        receipts,
        (input_high << HALF_BITS) + input_low,
        (output_high << HALF_BITS) + output_low,
        cache_hits,
        failures,
        p95_ms_sum,
        fee_dollars + fee_nanos * _NANO + fee_rest * _REST,
    )
