"""The rows of ClickHouse's receipt_search: what people search receipts by, and what is added up.

Three things write them: the shipper when a receipt was accepted, the payment feed when a verdict came, and the
filling from PostgreSQL. All of them write whole rows, so that the one with the highest version is right.
"""

import struct
from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter

import msgspec

from jatevo.metrics.facts import ReceiptFact
from jatevo.metrics.transport import Transport
from jatevo.wire.names import normal_model
from jatevo.wire.schema import RequestOutcome

SEARCH_TABLE = "receipt_search"
OF_NODE_TABLE = "receipt_search_of_node"  # the same rows in the order of nodes, which a view writes
SEARCH_TABLES = (SEARCH_TABLE, OF_NODE_TABLE)
HALF_BITS = 32
_LOW = 2**HALF_BITS - 1
_MOST_AT_ONCE = 20_000
# ClickHouse refuses an insert into more than 100 partitions, which are months here.
_MOST_SECONDS_AT_ONCE = 1000 * 86_400


class SignedWith(StrEnum):
    """The key that signed a receipt, as acceptance knew it."""

    UNKNOWN = "unknown"  # from before acceptance recorded it
    CURRENT = "current"
    FORMER = "former"


class SearchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One receipt. `accepted_at` is in unix seconds, and `micros` the rest. `org_id` is '' where it is not recorded.

    `version` is 0 before the receipt is judged, and then that of the newest verdict. `p95_ms` is a number of single
    precision (`single`).
    """

    accepted_at: int
    id: int
    micros: int
    node_id: str
    request_id: str
    org_id: str
    region: str
    model: str
    tokens_input: int
    tokens_output: int
    p95_ms: float
    hedged: int
    cache_hit: int
    outcome: str
    signed_with: str
    payment: str = "pending"
    fee_usd: Decimal = Decimal(0)
    version: int = 0

    @property
    def tokens_input_low(self) -> int:
        return self.tokens_input & _LOW

    @property
    def tokens_input_high(self) -> int:
        return self.tokens_input >> HALF_BITS

    @property
    def tokens_output_low(self) -> int:
        return self.tokens_output & _LOW

    @property
    def tokens_output_high(self) -> int:
        return self.tokens_output >> HALF_BITS


SEARCH_FIELDS = SearchRow.__struct_fields__
IN_HALVES = ("tokens_input", "tokens_output")
_COLUMNS = tuple(
    column
    for name in SEARCH_FIELDS
    for column in ((f"{name}_low", f"{name}_high") if name in IN_HALVES else (name,))
)
cells_of = attrgetter(*_COLUMNS)


def row_of(fact: ReceiptFact) -> SearchRow | None:
    """The row of a receipt that was just accepted. None for a fact of a release that did not say enough."""
    more = fact.search
    if more is None:
        return None
    return SearchRow(
        accepted_at=fact.accepted_at,
        id=more.id,
        micros=more.micros,
        node_id=fact.node_id,
        request_id=fact.request_id,
        org_id=more.org_id or "",
        region=more.region,
        model=normal_model(fact.model_id),
        tokens_input=fact.tokens_input,
        tokens_output=fact.tokens_output,
        p95_ms=single(fact.p95_ms or 0.0),
        hedged=int(fact.hedged),
        cache_hit=int(fact.cache_hit),
        outcome=outcome_of(failed=fact.failed, cancelled=more.cancelled),
        signed_with=(SignedWith.FORMER if more.former_key else SignedWith.CURRENT).value,
    )


def single(value: float) -> float:
    """The nearest number of 32 bits, as ClickHouse keeps it here: seven digits, in half the space."""
    (nearest,) = struct.unpack("<f", struct.pack("<f", value))
    return float(nearest)


def outcome_of(*, failed: bool, cancelled: bool) -> str:
    """The outcome by which receipts are searched. A receipt that states none is `ok`."""
    if failed:
        return RequestOutcome.ERROR.value
    return RequestOutcome.CANCELLED.value if cancelled else RequestOutcome.OK.value


def write_search_rows(store: Transport, rows: Sequence[SearchRow]) -> None:
    """Inserts the rows. A row may be written again."""
    ordered = sorted(rows, key=lambda row: (row.accepted_at, row.id))
    for first in range(0, len(ordered), _MOST_AT_ONCE):
        some = ordered[first : first + _MOST_AT_ONCE]
        for months in _of_few_months(some):
            store.insert(SEARCH_TABLE, _COLUMNS, [cells_of(row) for row in months])


def _of_few_months(rows: Sequence[SearchRow]) -> Iterator[list[SearchRow]]:
    """The rows, which are in order of time, in groups that lie within so many days."""
    part: list[SearchRow] = []
    for row in rows:
        if part and row.accepted_at - part[0].accepted_at > _MOST_SECONDS_AT_ONCE:
            yield part
            part = []
        part.append(row)
    if part:
        yield part
