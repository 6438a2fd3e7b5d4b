"""Recording what a gateway says. Each statement is judged alone, and the first one about a fact stands.

One SQL statement stores all that is new in a batch. PostgreSQL therefore decides between concurrent batches.
Only where something was known already, a second one reads it to tell repeats from contradictions.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias

import orjson
from django.db import connection

from receipts.dispatches.payloads import Sent, Won
from receipts.models import Dispatch, DispatchWinner


class Recorded(StrEnum):
    """The outcome for one statement of a gateway."""

    NEW = "new"
    REPEATED = "repeated"
    CONFLICT = "dispatch_conflict"


# What a statement is about: a request at a node, or the winner of a request (with '' for the node).
_Key: TypeAlias = tuple[str, str]
_WINNER: Final = ""

# Rows are inserted in order of request and node, so that two batches with common ids wait for each other in the
# same order. `seen` skips a row that another batch of the gateway is updating.
_SQL = """
WITH sent AS (
    INSERT INTO receipts_dispatch (
        gateway_id, request_id, node_id, model, model_id, ts, hedged, tokens_input, max_tokens, received_at)
    SELECT %(gateway)s, request_id, node_id, model, model_id, ts, hedged, tokens_input, max_tokens, %(at)s
    FROM unnest(
        %(request_id)s::varchar[], %(node_id)s::varchar[], %(model)s::varchar[], %(model_id)s::varchar[],
        %(ts)s::timestamptz[], %(hedged)s::boolean[], %(tokens_input)s::bigint[], %(max_tokens)s::bigint[]
    ) AS t (request_id, node_id, model, model_id, ts, hedged, tokens_input, max_tokens)
    ORDER BY request_id, node_id
    ON CONFLICT DO NOTHING
    RETURNING request_id, node_id
), won AS (
    INSERT INTO receipts_dispatchwinner (request_id, node_id, gateway_id, received_at)
    SELECT request_id, node_id, %(gateway)s, %(at)s
    FROM unnest(%(won_request_id)s::varchar[], %(won_node_id)s::varchar[]) AS t (request_id, node_id)
    ORDER BY request_id
    ON CONFLICT DO NOTHING
    RETURNING request_id
), seen AS (
    UPDATE receipts_gateway SET last_seen_at = %(at)s WHERE id = (
        SELECT id FROM receipts_gateway
        WHERE id = %(gateway)s AND (last_seen_at IS NULL OR last_seen_at < %(at)s::timestamptz - interval '10 s')
        FOR NO KEY UPDATE SKIP LOCKED)
)
SELECT request_id, node_id FROM sent UNION ALL SELECT request_id, '' FROM won
"""
_CONFLICT_SQL = """
INSERT INTO receipts_dispatchconflict AS c (gateway_id, request_id, node_id, before, now, times, received_at)
SELECT %(gateway)s, request_id, node_id, before, now, times, %(at)s
FROM unnest(
    %(request_id)s::varchar[], %(node_id)s::varchar[], %(before)s::jsonb[], %(now)s::jsonb[], %(times)s::integer[]
) AS t (request_id, node_id, before, now, times)
ORDER BY request_id, node_id
ON CONFLICT (gateway_id, request_id, node_id) DO UPDATE SET
    now = excluded.now,
    times = LEAST(c.times::bigint + excluded.times, 2147483647),
    received_at = excluded.received_at
"""


def record(*, gateway_id: str, said: Sequence[Sent | Won], at: datetime) -> list[Recorded]:
    """Stores what a gateway said in one batch. Returns an outcome for each statement, in the order given.

    A contradiction changes nothing: the earlier statement stands, and the contradiction is kept for admins.
    """
    first: dict[_Key, Sent | Won] = {}
    for statement in said:
        first.setdefault(_key(statement), statement)
    new = _store(gateway_id, first.values(), at)
    standing = {key: (gateway_id, first[key]) for key in new} | _standing(first.keys() - new)
    outcomes: list[Recorded] = []
    conflicts: list[Sent | Won] = []
    for statement in said:
        key = _key(statement)
        if key in new and statement is first[key]:
            outcomes.append(Recorded.NEW)
        elif statement == standing[key][1]:
            outcomes.append(Recorded.REPEATED)
        else:
            outcomes.append(Recorded.CONFLICT)
            conflicts.append(statement)
    if conflicts:
        _keep(gateway_id, conflicts, standing, at)
    return outcomes


def _key(statement: Sent | Won) -> _Key:
    return statement.request_id, _WINNER if isinstance(statement, Won) else statement.node_id


def _store(gateway_id: str, statements: Iterable[Sent | Won], at: datetime) -> set[_Key]:
    """Inserts what nobody has said yet. Returns the keys of that."""
    statements = list(statements)
    sent = [each for each in statements if isinstance(each, Sent)]
    won = [each for each in statements if isinstance(each, Won)]
    names = [field.name for field in fields(Sent)]
    columns: dict[str, Any] = {name: [getattr(each, name) for each in sent] for name in names}
    columns["won_request_id"] = [each.request_id for each in won]
    columns["won_node_id"] = [each.node_id for each in won]
    with connection.cursor() as cursor:
        cursor.execute(_SQL, columns | {"gateway": gateway_id, "at": at})
        return {(request_id, node_id) for request_id, node_id in cursor.fetchall()}


def _standing(keys: Iterable[_Key]) -> dict[_Key, tuple[str, Sent | Won]]:
    """What was said before about those keys, and by which gateway."""
    keys = set(keys)
    found: dict[_Key, tuple[str, Sent | Won]] = {}
    requests = {request_id for request_id, node_id in keys if node_id != _WINNER}
    if requests:
        names = [field.name for field in fields(Sent)]
        nodes = {node_id for _, node_id in keys}
        for row in Dispatch.objects.filter(request_id__in=requests, node_id__in=nodes):
            sent = Sent(**{name: getattr(row, name) for name in names})
            found[_key(sent)] = (row.gateway_id, sent)
    winners = {request_id for request_id, node_id in keys if node_id == _WINNER}
    if winners:
        for winner in DispatchWinner.objects.filter(request_id__in=winners):
            won = Won(winner.request_id, winner.node_id)
            found[_key(won)] = (winner.gateway_id, won)
    return found


def _keep(
    gateway_id: str,
    conflicts: Sequence[Sent | Won],
    standing: Mapping[_Key, tuple[str, Sent | Won]],
    at: datetime,
) -> None:
    """Keeps the latest contradiction of each key, and counts them."""
    latest = {_key(statement): statement for statement in conflicts}
    times = Counter(map(_key, conflicts))
    before = [{"gateway": standing[key][0], **_as_json(standing[key][1])} for key in latest]
    with connection.cursor() as cursor:
        cursor.execute(
            _CONFLICT_SQL,
            {
                "gateway": gateway_id,
                "request_id": [request_id for request_id, _ in latest],
                "node_id": [node_id for _, node_id in latest],
                "before": [orjson.dumps(each).decode() for each in before],
                "now": [orjson.dumps(_as_json(each)).decode() for each in latest.values()],
                "times": [times[key] for key in latest],
                "at": at,
            },
        )


def _as_json(statement: Sent | Won) -> dict[str, Any]:
    """The statement without what its key says already. For the winner, the key does not name the node."""
    if isinstance(statement, Won):
        return {"winner": statement.node_id}
    left_out = ("request_id", "node_id", "model")
    return {name: value for name, value in asdict(statement).items() if name not in left_out}
