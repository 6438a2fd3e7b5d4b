"""The filters of receipts and who may see what, as conditions of ClickHouse. PostgreSQL's are in filters.py."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from jatevo.metrics.queries import SearchConditions
from jatevo.metrics.transport import Param
from jatevo.web.query_values import Moment
from jatevo.wire.names import normal_model
from receipts.filters import ReceiptFilter
from receipts.models import Receipt, Sight, sight_of

# Receipts of a search by id are looked up in PostgreSQL, which has indexes for that. More share no prefix that anybody
# would look for, and ClickHouse compares them.
MOST_LOOKED_UP: Final = 1_000
_START_BYTES: Final = 8


class MatchesNothing(Exception):
    """No receipt can meet the conditions."""


@dataclass(frozen=True)
class Condition:
    """A condition on columns that never change, with its parameters, or a payment state.

    `of_nodes`: only receipts of the nodes that it names meet it. `of_all` says the same by columns that only the table of
    all receipts has.
    """

    sql: str = ""
    params: Mapping[str, Param] = field(default_factory=dict)
    payment: str = ""
    of_nodes: bool = False
    of_all: "Condition | None" = None


def conditions_of(search: ReceiptFilter, user: object) -> SearchConditions:
    """The receipts that the person may see and that meet the filters, which are valid.

    A query or two of PostgreSQL. Raises MatchesNothing.
    """
    return _together([*_seen_by(sight_of(user), search.seen_nodes), *_filtered(search)])


def accepted_before(conditions: SearchConditions, moment: datetime) -> SearchConditions:
    """The same receipts, as far as they were accepted before a whole second."""
    return replace(
        conditions,
        fixed=(*conditions.fixed, "accepted_at < {as_of}"),
        params={**conditions.params, "as_of": moment},
    )


def _together(parts: list[Condition]) -> SearchConditions:
    of_nodes = any(part.of_nodes for part in parts)
    if not of_nodes:
        parts = [part.of_all or part for part in parts]
    return SearchConditions(
        tuple(part.sql for part in parts if part.sql),
        {name: value for part in parts for name, value in part.params.items()},
        next((part.payment for part in parts if part.payment), ""),
        of_nodes,
    )


def _seen_by(sight: Sight, known: Sequence[str] | None) -> Iterator[Condition]:
    if sight.everything:
        return
    nodes = list(sight.nodes.order_by("pk").values_list("pk", flat=True) if known is None else known)
    if not nodes:
        raise MatchesNothing
    yield Condition("node_id IN {seen_nodes}", {"seen_nodes": nodes}, of_nodes=True)
    if sight.org_id is not None:
        yield Condition("org_id IN {seen_orgs}", {"seen_orgs": [str(sight.org_id), ""]})


def _filtered(search: ReceiptFilter) -> Iterator[Condition]:
    given = search.form.cleaned_data
    for name in search.filters:
        value = given.get(name)
        if value in (None, ""):
            continue
        if name in LOOKED_UP:
            yield _looked_up(search, name, value)
        else:
            yield CONDITIONS[name](value)


def _equals(column: str) -> Callable[[Any], Condition]:
    def condition(value: Any) -> Condition:
        return Condition(
            f"{column} = {{{column}}}", {column: value if isinstance(value, bool) else str(value)}
        )

    return condition


def _of_model(model_id: str) -> Condition:
    return Condition("model = {model}", {"model": normal_model(model_id)})


def _from(moment: Moment) -> Condition:
    return _bound("first", moment.start, ">", "micros >= ")


def _to(moment: Moment) -> Condition:
    return _bound("last", moment.end, "<", "micros < ")


def _bound(name: str, at: datetime, beyond: str, micros: str) -> Condition:
    """Accepted beyond the second of `at`, or in it with such micros. A column of whole seconds has only the first."""
    second = at.astimezone(UTC).replace(microsecond=0)
    params: dict[str, Param] = {name: second}
    if not at.microsecond:
        return Condition(f"accepted_at {'>=' if beyond == '>' else '<'} {{{name}}}", params)
    params[f"{name}_micros"] = at.microsecond
    return Condition(
        f"accepted_at {beyond}= {{{name}}}"
        f" AND (accepted_at {beyond} {{{name}}} OR {micros}{{{name}_micros}})",
        params,
    )


CONDITIONS: Final[Mapping[str, Callable[[Any], Condition]]] = {
    "node_id": lambda node_id: Condition("node_id = {node_id}", {"node_id": str(node_id)}, of_nodes=True),
    "model_id": _of_model,
    "region": _equals("region"),
    "hedged": _equals("hedged"),
    "cache_hit": _equals("cache_hit"),
    "outcome": _equals("outcome"),
    "payment": lambda state: Condition(payment=str(state)),
    "key": lambda key: Condition("signed_with = {signed_with}", {"signed_with": str(key)}),
    "from": _from,
    "to": _to,
}
LOOKED_UP: Final = ("sha256", "request_id")
Positions = Sequence[tuple[datetime, int]]


def looked_up(search: ReceiptFilter) -> Positions | None:
    """The times and ids of all receipts that have the id or hash of the search, whoever may see them.

    None without such a filter, or where there are more than MOST_LOOKED_UP. They need not meet the other filters.
    """
    given = search.form.cleaned_data
    wanted = [(name, given.get(name)) for name in LOOKED_UP if given.get(name) not in (None, "")]
    for name, value in wanted:
        if (found := _by_index(search, name, str(value))) is not None:
            return found
    return None


def _looked_up(search: ReceiptFilter, name: str, value: str) -> Condition:
    found = _by_index(search, name, value)
    if found is None:
        return _starting_with(value)
    if not found:
        raise MatchesNothing
    times = sorted({at.astimezone(UTC).replace(microsecond=0) for at, _ in found})
    return Condition(
        f"accepted_at IN {{{name}_times}} AND id IN {{{name}_ids}}",
        {f"{name}_times": times, f"{name}_ids": sorted(id for _, id in found)},
    )


def _starting_with(prefix: str) -> Condition:
    """By the number that the first bytes of an id are (jatevo/metrics/schema/0022), and the rest of a longer prefix."""
    whole = Condition("startsWith(request_id, {request_id})", {"request_id": prefix})
    start = prefix.encode()[:_START_BYTES]
    first, last = (int.from_bytes(start.ljust(_START_BYTES, filler), "big") for filler in (b"\0", b"\xff"))
    sql = "request_start >= {first_start} AND request_start <= {last_start}"
    params: Mapping[str, Param] = {"first_start": first, "last_start": last}
    if len(prefix.encode()) > _START_BYTES:
        sql = f"{sql} AND {whole.sql}"
        params = {**params, **whole.params}
    return replace(whole, of_all=Condition(sql, params))


def _by_index(search: ReceiptFilter, name: str, value: str) -> Positions | None:
    """What PostgreSQL finds by an id or a hash, as times and ids. None if a prefix has more than MOST_LOOKED_UP.

    Who may see them is left to the conditions beside. Here it would lead PostgreSQL away from this index.
    """
    if name not in search.looked_up:
        matching = search.filters[name].filter(Receipt.objects.order_by(), value)
        few = MOST_LOOKED_UP + 1 if search.filters[name].lookup_expr == "startswith" else None
        found = list(matching.values_list("accepted_at", "id")[:few])
        search.looked_up[name] = None if few is not None and len(found) == few else found
    return search.looked_up[name]
