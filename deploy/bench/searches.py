"""The searches of receipts to measure: every filter and every pair of filters, their first and hundredth page, and totals.

Each filter has a value that many receipts have, and one that few have. Pairs take one of either.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import combinations
from urllib.parse import urlencode

import psycopg

from bench.cases import LIST_MS, Case
from bench.measuring import RoleClients

TOTALS_COLD_MS, TOTALS_WARM_MS, LOOKUP_MS = 300.0, 50.0, 10.0
FAR_PAGE = 100
ROLES = ("admin", "operator")
_NEXT = re.compile(r'rel="next"[^>]*[?&;]cursor=([\w=-]+)|[?&;]cursor=([\w=-]+)[^>]*rel="next"')
_NOT_YET = ("does not answer", "are being prepared")

Values = Mapping[str, Sequence[Mapping[str, str]]]  # by filter: its parameters, common and rare

# Of a sample, because counting ten million receipts by each column takes minutes.
_SAMPLE = "(SELECT * FROM receipts_receipt TABLESAMPLE SYSTEM (0.2) REPEATABLE (1)) AS receipt"
_SOME = f"SELECT node_id, request_id FROM {_SAMPLE} ORDER BY sha256 LIMIT 20"  # noqa: S608 - constants
_COMMON_AND_RARE = """
SELECT value FROM (SELECT {column}::text AS value, count(*) AS times FROM {sample}
    WHERE node_id IN (SELECT id FROM nodes_node WHERE %(org)s::uuid IS NULL OR org_id = %(org)s) GROUP BY 1) AS counted
ORDER BY times {order}, value LIMIT 1
"""


def values_of(database: psycopg.Connection, org: str | None) -> Values:
    """Values of each filter among the receipts of an organisation's nodes, or of all nodes."""

    def value(column: str, order: str) -> str:
        asked = _COMMON_AND_RARE.format(column=column, sample=_SAMPLE, order=order)
        row = database.execute(asked.encode(), {"org": org}).fetchone()
        if row is None:
            raise RuntimeError("there are no receipts: fill the home with bench.load --signed-days")
        return str(row[0])

    named = {
        name: [{name: value(name, order)} for order in ("DESC", "ASC")]
        for name in ("node_id", "model_id", "region")
    }
    ((last,),) = database.execute("SELECT max(accepted_at) FROM receipts_receipt").fetchall()
    days = [f"{last - timedelta(days=days):%F}" for days in (60, 30, 7)]
    return {
        **named,
        "hedged": [{"hedged": "false"}, {"hedged": "true"}],
        "cache_hit": [{"cache_hit": "false"}, {"cache_hit": "true"}],
        "outcome": [{"outcome": "ok"}, {"outcome": "error"}],
        "payment": [{"payment": "payable"}, {"payment": "held"}],
        "key": [{"key": "current"}, {"key": "former"}],
        "time": [{"from": days[0], "to": days[1]}, {"from": days[2]}],
        "request_id": [
            {"request_id": value("request_id", "ASC")[:4]},
            {"request_id": value("request_id", "DESC")},
        ],
    }


def searches(values: Values, draw: random.Random) -> Iterator[tuple[str, dict[str, str]]]:
    """The name of the group and the parameters of each search."""
    yield "no filter", {}
    for several in values.values():
        for parameters in several:
            yield "one filter", dict(parameters)
    for first, second in combinations(values.values(), 2):
        yield "two filters", {**draw.choice(first), **draw.choice(second)}


def pages(
    visitors: RoleClients,
    values: Values,
    role: str,
    draw: random.Random,
    say: Callable[[str], None],
    *,
    far: int,
) -> list[Case]:
    """The first page of each search, and the hundredth of `far` of them, where there is one.

    A hundred requests lead to each hundredth page.
    """
    asked = list(searches(values, draw))
    far_of = draw.sample(asked, far)
    found = []
    for each in asked:
        group, parameters = each
        name = f"{group}, {role}"
        found.append(Case("first page", name, _url("/receipts/", parameters), role, LIST_MS))
        if each in far_of and (cursor := _far(visitors, role, parameters)):
            page = _url("/receipts/", {**parameters, "cursor": cursor})
            found.append(Case("hundredth page", name, page, role, LIST_MS))
    say(f"{len(found)} pages as {role}")
    return found


def totals(values: Values, role: str, draw: random.Random, *, limit_ms: float, group: str) -> list[Case]:
    """Strip and histogram of each search."""
    return [
        Case(
            group,
            f"{name}, {role}",
            _url("/receipts/~totals/", parameters),
            role,
            limit_ms,
            "receipts-totals",
        )
        for name, parameters in searches(values, draw)
    ]


def lookups(database: psycopg.Connection) -> list[Case]:
    """A receipt by its id, over the API."""
    rows = database.execute(_SOME.encode()).fetchall()
    return [
        Case("lookup by id", "admin", f"/v1/receipts/{node}/{request}", "admin", LOOKUP_MS)
        for node, request in rows
    ]


def is_whole(text: str) -> bool:
    """Whether the totals are there, and not only the reason why they are not."""
    return not any(words in text for words in _NOT_YET)


def _far(visitors: RoleClients, role: str, parameters: Mapping[str, str]) -> str:
    """The cursor of the hundredth page, which the links lead to. '' if there are fewer pages."""
    cursor = ""
    for _ in range(FAR_PAGE - 1):
        more = {"cursor": cursor} if cursor else {}
        path = _url("/receipts/", {**parameters, **more})
        _, answer = visitors.ask(Case("", "", path, role, target="receipts-list"))
        answer.raise_for_status()
        if (found := _NEXT.search(answer.text)) is None:
            return ""
        cursor = found[1] or found[2]
    return cursor


def _url(path: str, parameters: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(parameters)}" if parameters else path
