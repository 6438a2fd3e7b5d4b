"""Judging the answers to challenges: those of a fleet that pass together, and the others one by one.

An answer counts once, and only until its challenge expires.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import DEFAULT_DB_ALIAS, transaction

from jatevo.audit.record import SYSTEM
from jatevo.metrics.minutes import floor_hour
from jatevo.web.postgresql.columns import floats, integers, texts, uuids
from jatevo.web.postgresql.statements import fetch
from jatevo.wire.signing import verify_health
from nodes.actions.challenges import probe_of
from nodes.actions.errors import AnsweredAlready, AnsweredTooLate, UnknownChallenge
from nodes.actions.probing import event_of, evidence_of, take_effect
from nodes.actions.transition import Happening, changes_nothing, happen_together
from nodes.models import Challenge, Node, Probe
from nodes.rules.challenges import ChallengeKind, ChallengeOutcome, answer_fault
from nodes.rules.lifecycle import Status
from nodes.rules.probes import ProbeFault, ProbeKind


@dataclass(frozen=True)
class ChallengeAnswer:
    """What a node answered. All but the signature is its own statement, and None where it made none."""

    challenge_id: str
    signature: str
    output_hash: str | None = None
    tokens_output: int | None = None
    first_token_ms: float | None = None


@dataclass(frozen=True)
class SentAnswer:
    """An answer, who sent it, when it came, and the keys by which it can be signed."""

    node_id: str
    answer: ChallengeAnswer
    at: datetime
    current_key: bytes
    former_keys: Sequence[bytes] = ()


@dataclass(frozen=True)
class TakenAnswer:
    """A settled challenge, and the node's status afterwards."""

    challenge: Challenge
    status: Status


def answer_challenge(*, sent: SentAnswer, at: datetime) -> TakenAnswer:
    """Judges the answer and settles the challenge with it.

    Raises UnknownChallenge (also for another node's), AnsweredAlready and AnsweredTooLate.
    """
    with transaction.atomic():
        asked = Challenge.objects.filter(node_id=sent.node_id, asked_at__isnull=False)
        challenge = asked.select_for_update().filter(pk=sent.answer.challenge_id).first()
        if challenge is None:
            raise UnknownChallenge("This node was asked no such challenge.")
        if challenge.outcome in (ChallengeOutcome.PASSED, ChallengeOutcome.FAILED):
            raise AnsweredAlready("This challenge has been answered.")
        late = challenge.outcome != ChallengeOutcome.OPEN or sent.at > challenge.expires_at
        if not late:
            fault = _judge(challenge, sent)
            status = _settle(challenge, fault, at=at)
    if late:  # the sweeper settles it
        raise AnsweredTooLate("This challenge has expired.")
    return TakenAnswer(challenge, status)


def pass_challenges(*, sent: Sequence[SentAnswer], at: datetime) -> list[TakenAnswer | None]:
    """Judges answers together, and settles those that pass, which is nearly all.

    None for each of the others, and for those that somebody else has locked: nothing was done, and `answer_challenge`
    takes them.
    """
    with transaction.atomic():
        open_ones = _locked([each.answer.challenge_id for each in sent])
        passed: list[tuple[Challenge, Probe, Node] | None] = []
        for each in sent:
            found = open_ones.pop(each.answer.challenge_id, None)  # of two answers, the first
            passed.append(None if found is None else _passed(*found, each, at=at))
        those = [each for each in passed if each is not None]
        statuses: dict[str, Status] = {}
        if those:
            _store([(challenge, probe) for challenge, probe, _ in those], at=at)
            happenings = [
                Happening(node.pk, event, evidence_of(probe))
                for _, probe, node in those
                if (event := event_of(ProbeKind(probe.counts_as), ok=True)) is not None
                and not changes_nothing(node.lifecycle_state, event)
            ]
            statuses = happen_together(happenings, by=SYSTEM, at=at) if happenings else {}
    return [
        None if each is None else TakenAnswer(each[0], statuses.get(each[2].pk, Status(each[2].status)))
        for each in passed
    ]


# In the order of the nodes, as whoever locks several.
_OPEN_SQL: Final = """
SELECT c.id, c.node_id, c.kind, c.nonce, c.asked_at, c.expires_at, c.fault,
       n.id, n.status, n.probing_since, n.failed_probes, n.passed_audits, n.fraud
FROM nodes_challenge c JOIN nodes_node n ON n.id = c.node_id
WHERE c.id = ANY(%(ids)s::uuid[]) AND c.outcome = 'open' AND c.asked_at IS NOT NULL
ORDER BY n.id, c.id FOR NO KEY UPDATE OF n, c SKIP LOCKED
"""
# in the order of the models' fields, as from_db needs them
_OF_CHALLENGE: Final = ("id", "node_id", "kind", "nonce", "asked_at", "expires_at", "fault")
_OF_NODE: Final = ("id", "status", "probing_since", "failed_probes", "passed_audits", "fraud")


def _locked(challenge_ids: Sequence[str]) -> dict[str, tuple[Challenge, Node]]:
    """The open ones with their nodes, by their ids."""
    found = {}
    for row in fetch(_OPEN_SQL, {"ids": texts(challenge_ids)}):
        challenge = Challenge.from_db(DEFAULT_DB_ALIAS, _OF_CHALLENGE, row[: len(_OF_CHALLENGE)])
        node = Node.from_db(DEFAULT_DB_ALIAS, _OF_NODE, row[len(_OF_CHALLENGE) :])
        found[str(challenge.pk)] = (challenge, node)
    return found


def _passed(
    challenge: Challenge, node: Node, sent: SentAnswer, *, at: datetime
) -> tuple[Challenge, Probe, Node] | None:
    """The challenge, settled, with its probe and its node, if the answer passes."""
    if challenge.node_id != sent.node_id or sent.at > challenge.expires_at or _judge(challenge, sent):
        return None
    challenge.outcome = ChallengeOutcome.PASSED
    challenge.settled_at = at
    challenge.probe = probe_of(challenge, None, at=at)
    return challenge, challenge.probe, node


_STORE_SQL: Final = """
WITH passed AS MATERIALIZED (
    SELECT * FROM unnest(%(challenges)s, %(probes)s, %(nodes)s, %(kinds)s, %(asked)s, %(answer_ms)s, %(outputs)s, %(tokens)s,
                         %(first_token_ms)s, %(details)s)
        AS t (challenge, probe, node, kind, asked, answer_ms, output, tokens, first_token_ms, detail)
), probed AS (
    INSERT INTO nodes_probe (id, node_id, kind, ok, fault, counts_as, ts, received_at, detail)
    SELECT probe, node, kind, true, '', kind, to_timestamp(asked), %(at)s, detail FROM passed
), settled AS (
    UPDATE nodes_challenge c SET outcome = 'passed', settled_at = %(at)s, answer_ms = passed.answer_ms,
        output_hash = passed.output, tokens_output = NULLIF(passed.tokens, -1), first_token_ms = passed.first_token_ms,
        probe_id = passed.probe
    FROM passed WHERE c.id = passed.challenge
), heard AS (
    UPDATE nodes_node n SET challenge_passed_at = %(at)s FROM passed WHERE n.id = passed.node
)
INSERT INTO nodes_nodehour (node_id, hour, health_passed, audits_passed)
SELECT node, %(hour)s, count(*) FILTER (WHERE kind = 'health'), count(*) FILTER (WHERE kind = 'audit')
FROM passed GROUP BY node ORDER BY node
ON CONFLICT (node_id, hour) DO UPDATE SET
    health_passed = nodes_nodehour.health_passed + excluded.health_passed,
    audits_passed = nodes_nodehour.audits_passed + excluded.audits_passed
RETURNING node_id
"""


def _store(passed: Sequence[tuple[Challenge, Probe]], *, at: datetime) -> None:
    challenges = [challenge for challenge, _ in passed]
    probes = [probe for _, probe in passed]
    fetch(
        _STORE_SQL,
        {
            "challenges": uuids([each.pk for each in challenges]),
            "probes": uuids([each.pk for each in probes]),
            "nodes": texts(each.node_id for each in probes),
            "kinds": texts(str(each.kind) for each in probes),
            "asked": floats([each.ts.timestamp() for each in probes]),
            "answer_ms": floats([each.answer_ms for each in challenges]),
            "outputs": texts(each.output_hash for each in challenges),
            "tokens": integers(
                [-1 if each.tokens_output is None else each.tokens_output for each in challenges]
            ),
            "first_token_ms": floats([each.first_token_ms for each in challenges]),
            "details": texts(each.detail for each in probes),
            "at": at,
            "hour": floor_hour(at),
        },
    )


def _judge(challenge: Challenge, sent: SentAnswer) -> ProbeFault | None:
    """Notes what the node said on the challenge. Returns what is wrong with it."""
    answer = sent.answer
    challenge.output_hash = answer.output_hash or ""
    challenge.tokens_output = answer.tokens_output
    challenge.first_token_ms = answer.first_token_ms
    challenge.answer_ms = _milliseconds_since_asked(challenge, sent.at)
    about = (challenge.node_id, challenge.nonce, answer.signature)
    signed = verify_health(*about, sent.current_key)
    former = not signed and any(verify_health(*about, key) for key in sent.former_keys)
    has_output = answer.output_hash is not None and bool(answer.tokens_output)
    return answer_fault(
        ChallengeKind(challenge.kind), signed=signed, signed_by_former_key=former, has_output=has_output
    )


def _settle(challenge: Challenge, fault: ProbeFault | None, *, at: datetime) -> Status:
    """Closes a challenge that was answered, and records it as a probe by the console. Returns the node's status.

    A proof that fails without a false answer is no probe: its owner asked for it.
    """
    # before the node's hour, as everybody who locks both
    node = (
        Node.objects.select_for_update(no_key=True)
        .only("id", "region", "status", "runtime", "probing_since")
        .get(pk=challenge.node_id)
    )
    challenge.outcome = ChallengeOutcome.PASSED if fault is None else ChallengeOutcome.FAILED
    challenge.fault = fault or ""
    challenge.settled_at = at
    challenge.save()
    is_proof = challenge.kind == ChallengeKind.PROOF
    if is_proof and fault is not None and not fault.is_false_answer:
        return Status(node.status)
    if fault is None:
        Node.objects.filter(pk=node.pk).update(challenge_passed_at=at)
    probe = probe_of(challenge, fault, at=at)
    probe.save(force_insert=True)
    Challenge.objects.filter(pk=challenge.pk).update(probe=probe)
    return take_effect(probe, node=node, by=SYSTEM, at=at)


def _milliseconds_since_asked(challenge: Challenge, at: datetime) -> float:
    asked_at = challenge.asked_at or at
    return round(max(0.0, (at - asked_at).total_seconds() * 1000), 1)
