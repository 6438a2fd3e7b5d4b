"""Recording heartbeats in one SQL statement, because ten thousand nodes send one every ten seconds each.

What follows for many of them, such as challenges, is one statement for all. What follows for few has its own transactions.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import structlog

from jatevo.web.postgresql.columns import texts
from jatevo.web.postgresql.statements import fetch
from nodes.actions.asking import ask_due
from nodes.actions.errors import RowLocked, StaleHeartbeat, TokenEnded
from nodes.actions.fraud import relate
from nodes.actions.offers import record_offers
from nodes.actions.statements import Restated, Statement, restate, states_anew
from nodes.actions.transition import heard_again
from nodes.models import Challenge
from nodes.rules.challenges import AskedNode, due_challenge
from nodes.rules.lifecycle import Phase, Status
from nodes.rules.marks import endpoint_mark

log = structlog.get_logger(__name__)

# `old` locks the rows, in the order of their ids, with {locking}. A heartbeat that is not later than the last one
# changes nothing, even if the replay guard was lost with the cache, nor does one that was signed with a token that has
# ended since. When a new minute begins, the count of the previous minute is stored (for the missed-heartbeats rule) and
# queued for the metrics store. A changed endpoint is stored as a mark, which findings of fraud use.
# A changed endpoint is not known to be reachable, and no endpoint is known not to be.
# Changed models put the history of offers behind, and `record_offers` brings it up to date.
# The last columns are what the node stated before, for those that state something.
_SQL = """
WITH beat AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(beats)s::json) AS t (
        node varchar(64), token_version integer, ts float8, metrics jsonb, models varchar[], endpoint text,
        endpoint_mark text, network text, states boolean)
), old AS MATERIALIZED (
    SELECT n.id, n.token_version, n.last_heartbeat_ts, n.beat_minute, n.beats, n.endpoint
    FROM nodes_node n
    WHERE n.id = ANY(%(nodes)s)
    ORDER BY n.id FOR NO KEY UPDATE {locking}
), changed AS (
    UPDATE nodes_node n SET
        first_heard_at = COALESCE(n.first_heard_at, %(at)s),
        last_heartbeat_at = %(at)s,
        last_heartbeat_ts = b.ts,
        last_metrics = b.metrics,
        models_offered = COALESCE(b.models, n.models_offered),
        offers_behind = n.offers_behind OR COALESCE(b.models <> n.models_offered, false),
        endpoint = COALESCE(b.endpoint, n.endpoint),
        reachable = CASE WHEN COALESCE(b.endpoint, n.endpoint) = '' THEN false
                         WHEN b.endpoint <> n.endpoint THEN NULL ELSE n.reachable END,
        reachable_since = CASE WHEN COALESCE(b.endpoint, n.endpoint) = ''
                               THEN CASE WHEN n.reachable IS FALSE THEN n.reachable_since ELSE %(at)s END
                               WHEN b.endpoint <> n.endpoint THEN NULL ELSE n.reachable_since END,
        asn_hint = COALESCE(b.network, n.asn_hint),
        beat_minute = %(minute)s,
        beats = CASE WHEN old.beat_minute = %(minute)s THEN old.beats + 1 ELSE 1 END
    FROM old JOIN beat b ON b.node = old.id
    WHERE n.id = old.id AND (old.last_heartbeat_ts IS NULL OR old.last_heartbeat_ts < b.ts)
      AND (b.token_version IS NULL OR b.token_version = old.token_version)
    RETURNING n.id, n.status, n.probing_since, old.beat_minute AS ended_minute, old.beats AS ended_beats,
              n.endpoint <> old.endpoint AS moved, b.endpoint_mark, n.offers_behind, n.fraud, n.endpoint, n.reachable,
              GREATEST(n.last_health_at, n.last_audit_at) AS validator_came_at,
              n.challenge_audited_at, n.challenged_at, n.proof_waiting, b.states, n.agent_version, n.concurrency
), mark AS (
    INSERT INTO nodes_nodemark (node_id, kind, value, gained_at)
    SELECT id, 'endpoint', endpoint_mark, %(at)s FROM changed
    WHERE moved AND endpoint_mark <> '' AND endpoint_mark IS DISTINCT FROM (
        SELECT value FROM nodes_nodemark WHERE node_id = changed.id AND kind = 'endpoint'
        ORDER BY gained_at DESC, nodes_nodemark.id DESC LIMIT 1)
    ON CONFLICT (node_id, kind, value) DO UPDATE SET gained_at = excluded.gained_at
    RETURNING node_id
), minute AS (
    INSERT INTO nodes_heartbeatminute (node_id, minute, beats)
    SELECT id, ended_minute, ended_beats FROM changed WHERE ended_minute < %(minute)s
    ON CONFLICT (node_id, minute) DO UPDATE SET beats = excluded.beats
), fact AS (
    INSERT INTO metrics_outbox (kind, body)
    SELECT 'uptime', jsonb_build_object('node_id', id, 'up', true, 'beats', ended_beats,
                                        'minute', extract(epoch FROM ended_minute)::bigint)
    FROM changed WHERE ended_minute < %(minute)s
)
SELECT old.id, old.token_version, changed.id IS NOT NULL,
       changed.status, changed.probing_since, EXISTS (SELECT FROM mark WHERE mark.node_id = old.id),
       changed.offers_behind, changed.fraud, changed.endpoint, changed.reachable, changed.validator_came_at,
       changed.challenge_audited_at, changed.challenged_at, changed.proof_waiting,
       changed.agent_version, changed.concurrency,
       a.gpu_model, a.vram_gb, a.driver_version, a.cuda_version, a.hardware_hash, a.energy_proof_url
FROM old LEFT JOIN changed ON changed.id = old.id
LEFT JOIN nodes_nodeattestation a ON a.node_id = changed.id AND changed.states
"""
# Where there are several, a row that somebody else has locked is left out, so that the others do not wait for it.
_ALONE = _SQL.format(locking="")
_TOGETHER = _SQL.format(locking="SKIP LOCKED")


class _Row(NamedTuple):
    """What the statement returns of a node. All from `status` on is None unless it `changed`."""

    node_id: str
    token_version: int
    changed: bool
    status: Status
    probing_since: datetime | None
    gained_mark: bool
    offers_behind: bool
    fraud: bool
    endpoint: str
    reachable: bool | None
    probed_at: datetime | None
    audited_at: datetime | None
    challenged_at: datetime | None
    proof_waiting: bool
    agent_version: str
    concurrency: int
    gpu_model: str | None
    vram_gb: int | None
    driver_version: str | None
    cuda_version: str | None
    hardware_hash: str | None
    energy_proof_url: str | None

    @property
    def was_silent(self) -> bool:
        """Whether this heartbeat is the first after a registration, a clear or an absence."""
        return self.status == Status.OFFLINE or (self.status == Status.PENDING and self.probing_since is None)

    @property
    def phase(self) -> Phase:
        """The node's phase after this heartbeat."""
        return Phase.PROBING if self.was_silent or self.status == Status.PENDING else Phase(self.status)

    def asked(self, at: datetime) -> AskedNode:
        return AskedNode(
            phase=self.phase,
            fraud=self.fraud,
            endpoint=self.endpoint,
            reachable=self.reachable,
            probing_since=at if self.was_silent else self.probing_since,
            probed_at=self.probed_at,
            audited_at=self.audited_at,
            challenged_at=self.challenged_at,
            proof_waiting=self.proof_waiting,
        )


@dataclass(frozen=True)
class Beat:
    """A validated heartbeat. `ts` is the agent's clock in unix seconds.

    `models` and `endpoint` are None if the heartbeat did not contain them.
    """

    ts: float
    metrics: dict[str, Any]
    models: tuple[str, ...] | None = None
    endpoint: str | None = None


@dataclass(frozen=True)
class SentBeat:
    """A heartbeat with its sender, and what else it says.

    `network` is the autonomous system that it came from, if known. `token_version` is that of the token that signed it,
    and None if nothing did.
    """

    node_id: str
    beat: Beat
    statement: Statement = field(default_factory=Statement)
    network: str | None = None
    token_version: int | None = None


@dataclass(frozen=True)
class TakenHeartbeat:
    """The node's status after its heartbeat, and what the node is asked with the answer.

    `declined` lists the members of its statement that were not stored, by their names in the heartbeat.
    """

    status: Status
    challenge: Challenge | None = None
    declined: tuple[str, ...] = ()


def heartbeat(*, node_id: str, beat: Beat, at: datetime) -> TakenHeartbeat:
    """Records one heartbeat. Raises what `heartbeats` returns in its place."""
    (taken,) = heartbeats(sent=[SentBeat(node_id, beat)], at=at)
    if isinstance(taken, Exception):
        raise taken
    return taken


def heartbeats(*, sent: Sequence[SentBeat], at: datetime) -> list[TakenHeartbeat | Exception]:
    """Records heartbeats at the server's time `at`, and returns what became of each, in the order given.

    After the first heartbeat that follows a registration, a clear or an absence, validators start to probe the node.
    StaleHeartbeat stands for one that is not later than the node's last one, TokenEnded for one whose token has ended,
    RowLocked for one of several that would have had to wait for somebody else, and another exception for a failure that
    concerns this one alone. Raises if nothing was recorded.
    """
    results: dict[int, TakenHeartbeat | Exception] = {}
    waiting = list(range(len(sent)))
    while waiting:  # the heartbeats of one node, one after the other
        first: dict[str, int] = {}
        for number in waiting:
            first.setdefault(sent[number].node_id, number)
        numbers = list(first.values())
        waiting = [number for number in waiting if first[sent[number].node_id] != number]
        results |= zip(numbers, _record([sent[number] for number in numbers], at), strict=True)
    return [results[number] for number in range(len(sent))]


def _record(sent: Sequence[SentBeat], at: datetime) -> list[TakenHeartbeat | Exception]:
    """The same for one heartbeat of each of several nodes.

    Each statement is a transaction of its own: what follows for few of the nodes, as a rule for none, is worth no round
    trips that begin and end one, and cannot undo the heartbeats if it fails.
    """
    rows = _ask(_ALONE if len(sent) == 1 else _TOGETHER, sent, at)
    alone = {each.node_id for each in sent if each.node_id in rows and _goes_alone(each, rows[each.node_id])}
    common = [row for row in rows.values() if row.changed and row.node_id not in alone]
    failure = _hear_again([row.node_id for row in common if row.was_silent], at, together=len(sent) > 1)
    challenges = _challenges([row for row in common if failure is None or not row.was_silent], at)
    absent = TokenEnded("The node is gone.") if len(sent) == 1 else RowLocked("The node's row is locked.")
    results: list[TakenHeartbeat | Exception] = []
    for each in sent:
        row = rows.get(each.node_id)
        if row is None:
            results.append(absent)
        elif each.token_version not in (None, row.token_version):
            results.append(TokenEnded("The node's token has just been replaced."))
        elif not row.changed:
            results.append(
                StaleHeartbeat("The heartbeat's `ts` is not later than that of the node's last heartbeat.")
            )
        elif each.node_id in alone:
            results.append(_follow_up(each, row, at))
        elif failure is not None and row.was_silent:
            results.append(failure)
        else:
            results.append(TakenHeartbeat(row.phase.status, challenges.get(each.node_id)))
    return results


def _goes_alone(sent: SentBeat, row: _Row) -> bool:
    """Whether more follows than what is done for many nodes at once. A proof takes a lock that others hold for a while."""
    return row.changed and (
        row.offers_behind or row.gained_mark or row.proof_waiting or _says_something_new(sent, row)
    )


def _says_something_new(sent: SentBeat, row: _Row) -> bool:
    """Whether the node states something else about itself than before. Most heartbeats state nothing."""
    return sent.statement != _NOTHING and states_anew(sent.statement, row._asdict())


def _follow_up(sent: SentBeat, row: _Row, at: datetime) -> TakenHeartbeat | Exception:
    """What is rare, part by part in transactions of their own, once the heartbeat is on record.

    If one fails, the next heartbeat does it, or the sweeper.
    """
    try:
        if row.offers_behind:
            record_offers(node_id=row.node_id, at=at)
        held = row.gained_mark and relate(at=at, node_id=row.node_id) > 0
        if row.was_silent and not held:
            heard_again(node_ids=[row.node_id], at=at, together=False)
        restated = Restated()
        if _says_something_new(sent, row):
            restated = restate(node_id=row.node_id, statement=sent.statement, at=at)
    except Exception as error:
        return error
    if held or restated.held:
        return TakenHeartbeat(Status.QUARANTINE, declined=restated.declined)
    return TakenHeartbeat(row.phase.status, _challenges([row], at).get(row.node_id), restated.declined)


def _hear_again(node_ids: Collection[str], at: datetime, *, together: bool) -> Exception | None:
    """Applies the first heartbeats after a silence. If it fails, the next ones do it; returns why."""
    if not node_ids:
        return None
    try:
        heard_again(node_ids=node_ids, at=at, together=together)
    except Exception as error:
        return error
    return None


def _challenges(rows: Sequence[_Row], at: datetime) -> dict[str, Challenge]:
    """What the nodes are asked. If that fails, their next heartbeats take it along."""
    nodes = {row.node_id: asked for row in rows if due_challenge(asked := row.asked(at), at=at)}
    if not nodes:
        return {}
    try:
        return ask_due(nodes=nodes, at=at)
    except Exception as error:
        log.error("nodes could not be asked", exc_info=error)
        return {}


def _ask(sql: str, sent: Sequence[SentBeat], at: datetime) -> dict[str, _Row]:
    beats = [
        {
            "node": each.node_id,
            "token_version": each.token_version,
            "ts": each.beat.ts,
            "metrics": each.beat.metrics,
            "models": each.beat.models,
            "endpoint": each.beat.endpoint,
            "endpoint_mark": endpoint_mark(each.beat.endpoint or ""),
            "network": each.network,
            "states": each.statement != _NOTHING,
        }
        for each in sent
    ]
    rows = fetch(
        sql,
        {
            "beats": orjson.dumps(beats).decode(),
            "nodes": texts(each.node_id for each in sent),
            "at": at,
            "minute": at.replace(second=0, microsecond=0),
        },
    )
    return {row[0]: _Row(*row) for row in rows}


_NOTHING = Statement()
