"""Challenges: asking a node through its heartbeats, and judging its answers.

A node has at most one open challenge of a kind, and each is settled once: by its answer, or when it expires.
"""

import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from jatevo.accounts.models import User
from jatevo.audit.record import SYSTEM, actor_of, record
from jatevo.wire.signing import verify_health
from nodes.actions.errors import AnsweredAlready, AnsweredTooLate, NotPossible, UnknownChallenge
from nodes.actions.probing import take_effect, take_effect_together
from nodes.models import Challenge, Node, Probe
from nodes.rules.challenges import (
    NONCE_BYTES,
    ChallengeKind,
    ChallengeOutcome,
    answer_fault,
)
from nodes.rules.lifecycle import Status
from nodes.rules.probes import ProbeFault, ProbeKind, counts_as
from nodes.rules.reachability import HEARD_WITHIN

# A proof that no heartbeat has taken along by then is given up.
PROOF_WAITS_FOR = timedelta(seconds=60)


@dataclass(frozen=True)
class ChallengeAnswer:
    """What a node answered. All but the signature is its own statement, and None where it made none."""

    challenge_id: str
    signature: str
    output_hash: str | None = None
    tokens_output: int | None = None
    first_token_ms: float | None = None


def ask(*, node: Node, prompt: str, request_id: str, by: User, at: datetime) -> Challenge:
    """Asks a node that is not reachable to serve one request, for which it makes a receipt with that id.

    Its next heartbeat takes the challenge along. Raises NotPossible if the node is reachable, was not heard
    lately or is being asked already.
    """
    with transaction.atomic():
        locked = Node.objects.select_for_update(no_key=True).get(pk=node.pk)
        if locked.reachable:
            raise NotPossible("This node is reachable: send the request to its endpoint.")
        heard_at = locked.last_heartbeat_at
        if heard_at is None or at - heard_at > HEARD_WITHIN:
            raise NotPossible("The node sends no heartbeats, so it cannot be asked.")
        over = _over(at).filter(node=locked, kind=ChallengeKind.PROOF)
        for challenge_id in list(over.values_list("pk", flat=True)):
            expire_challenge(challenge_id, at=at)
        if Challenge.objects.filter(
            node=locked, kind=ChallengeKind.PROOF, outcome=ChallengeOutcome.OPEN
        ).exists():
            raise NotPossible("The node is being asked already.")
        challenge = Challenge.objects.create(
            node=locked,
            kind=ChallengeKind.PROOF,
            nonce=secrets.token_hex(NONCE_BYTES),
            prompt=prompt,
            request_id=request_id,
            asked_for_by=by.email,
            created_at=at,
            expires_at=at + PROOF_WAITS_FOR,
        )
        Node.objects.filter(pk=node.pk).update(proof_waiting=True)
        record(
            "node.ask",
            by=actor_of(by),
            subject_kind="node",
            subject_id=node.pk,
            org_id=locked.org_id,
            request_id=request_id,
        )
    return challenge


def answer_challenge(
    *, node_id: str, answer: ChallengeAnswer, current_key: bytes, former_keys: Iterable[bytes], at: datetime
) -> tuple[Challenge, Status]:
    """Judges the answer, settles the challenge with it, and returns both it and the node's status.

    An answer counts once, and only until the challenge expires. Raises UnknownChallenge (also for another
    node's), AnsweredAlready and AnsweredTooLate.
    """
    with transaction.atomic():
        asked = Challenge.objects.filter(node_id=node_id, asked_at__isnull=False)
        challenge = asked.select_for_update().filter(pk=answer.challenge_id).first()
        if challenge is None:
            raise UnknownChallenge("This node was asked no such challenge.")
        if challenge.outcome in (ChallengeOutcome.PASSED, ChallengeOutcome.FAILED):
            raise AnsweredAlready("This challenge has been answered.")
        late = challenge.outcome != ChallengeOutcome.OPEN or at > challenge.expires_at
        if not late:
            fault = _judged(challenge, answer, current_key, former_keys)
            challenge.output_hash = answer.output_hash or ""
            challenge.tokens_output = answer.tokens_output
            challenge.first_token_ms = answer.first_token_ms
            challenge.answer_ms = _milliseconds_since_asked(challenge, at)
            status = _settle(challenge, fault, at=at)
    if late:  # the sweeper settles it
        raise AnsweredTooLate("This challenge has expired.")
    return challenge, status


def expired_challenges(at: datetime) -> list[tuple[UUID, str]]:
    """The open challenges that are over and can be settled, each with its node.

    One whose node has been silent since, but not long enough to be offline, stays open: a short silence must be no way
    around a challenge. It is settled when the node is heard again, or when it is offline.
    """
    return list(_over(at).order_by("expires_at").values_list("pk", "node_id"))


def expire_challenge(challenge_id: UUID, *, at: datetime, counting_from: datetime | None = None) -> bool:
    """Settles one of `expired_challenges`. Returns whether it did: an answer may have come meanwhile."""
    return bool(expire_challenges([challenge_id], at=at, counting_from=counting_from))


def expire_challenges(
    challenge_ids: Collection[UUID], *, at: datetime, counting_from: datetime | None = None
) -> int:
    """Settles several of `expired_challenges`, all or none. Returns how many it settled.

    Nobody is blamed for one that was asked before `counting_from`, because the console was away since, nor for
    one after which the node went offline, because its silence is judged on its own.
    """
    with transaction.atomic():
        over = _over(at).annotate(heard_at=F("node__last_heartbeat_at"), region=F("node__region"))
        locked = over.select_for_update(skip_locked=True, of=("self",)).filter(pk__in=challenge_ids)
        settled: list[Challenge] = []
        missed: list[Challenge] = []
        regions: dict[str, str] = {}
        for challenge in locked.order_by("pk"):
            asked_at, heard_at = challenge.asked_at, challenge.heard_at
            blameless = (
                asked_at is None
                or (counting_from is not None and asked_at < counting_from)
                or heard_at is None
                or heard_at <= asked_at
            )
            challenge.outcome = ChallengeOutcome.VOID if blameless else ChallengeOutcome.EXPIRED
            challenge.settled_at = at
            if not blameless and challenge.kind != ChallengeKind.PROOF:
                challenge.fault = ProbeFault.TIMEOUT
                missed.append(challenge)
                regions[challenge.node_id] = challenge.region
            settled.append(challenge)
        probes = [_probe_of(each, ProbeFault.TIMEOUT, at=at) for each in missed]
        Probe.objects.bulk_create(probes)
        for each, probe in zip(missed, probes, strict=True):
            each.probe = probe
        Challenge.objects.bulk_update(settled, ["outcome", "settled_at", "fault", "probe"])
        take_effect_together(probes, regions=regions, by=SYSTEM, at=at)
    return len(settled)


def _over(at: datetime) -> QuerySet[Challenge]:
    """The open challenges that can be settled without an answer. A proof never waits, because it counts for nothing."""
    offline = at - timedelta(seconds=settings.NODE_OFFLINE_AFTER_SECONDS)
    heard_again = Q(node__last_heartbeat_at__gt=F("asked_at"))
    silent_for_good = Q(node__last_heartbeat_at=None) | Q(node__last_heartbeat_at__lt=offline)
    never_waits = Q(asked_at=None) | Q(kind=ChallengeKind.PROOF)
    over = Challenge.objects.filter(outcome=ChallengeOutcome.OPEN, expires_at__lt=at)
    return over.filter(heard_again | silent_for_good | never_waits)


def _judged(
    challenge: Challenge, answer: ChallengeAnswer, current_key: bytes, former_keys: Iterable[bytes]
) -> ProbeFault | None:
    about = (challenge.node_id, challenge.nonce, answer.signature)
    signed = verify_health(*about, current_key)
    former = not signed and any(verify_health(*about, key) for key in former_keys)
    has_output = answer.output_hash is not None and bool(answer.tokens_output)
    return answer_fault(
        ChallengeKind(challenge.kind), signed=signed, signed_by_former_key=former, has_output=has_output
    )


def _settle(challenge: Challenge, fault: ProbeFault | None, *, at: datetime) -> Status:
    """Closes a challenge that was answered, and records it as a probe by the console. Returns the node's status.

    A proof that fails without a false answer is no probe: its owner asked for it.
    """
    challenge.outcome = ChallengeOutcome.PASSED if fault is None else ChallengeOutcome.FAILED
    challenge.fault = fault or ""
    challenge.settled_at = at
    challenge.save()
    node = Node.objects.only("id", "region", "status", "runtime", "probing_since").get(pk=challenge.node_id)
    is_proof = challenge.kind == ChallengeKind.PROOF
    if is_proof and fault is not None and not fault.is_false_answer:
        return Status(node.status)
    if fault is None:
        Node.objects.filter(pk=node.pk).update(challenge_passed_at=at)
    probe = _probe_of(challenge, fault, at=at)
    probe.save(force_insert=True)
    Challenge.objects.filter(pk=challenge.pk).update(probe=probe)
    return take_effect(probe, node=node, by=SYSTEM, at=at)


def _probe_of(challenge: Challenge, fault: ProbeFault | None, *, at: datetime) -> Probe:
    """What a settled challenge counts as."""
    kind = ProbeKind.AUDIT if challenge.kind == ChallengeKind.AUDIT else ProbeKind.HEALTH
    return Probe(
        node_id=challenge.node_id,
        kind=kind,
        ok=fault is None,
        fault=fault or "",
        counts_as=counts_as(kind, fault) or "",
        ts=challenge.asked_at or at,
        received_at=at,
        detail=_in_words(challenge),
    )


def _milliseconds_since_asked(challenge: Challenge, at: datetime) -> float:
    asked_at = challenge.asked_at or at
    return round(max(0.0, (at - asked_at).total_seconds() * 1000), 1)


def _in_words(challenge: Challenge) -> str:
    if challenge.answer_ms is None:
        return "no answer to a challenge through its heartbeats"
    took = f"challenge answered in {challenge.answer_ms:.0f} ms"
    if challenge.fault == ProbeFault.BAD_STATUS and challenge.kind != ChallengeKind.HEALTH:
        return f"{took}, without an output of the runtime or with a former key"
    if challenge.fault == ProbeFault.BAD_STATUS:
        return f"{took}, signed with a former key"
    return took
