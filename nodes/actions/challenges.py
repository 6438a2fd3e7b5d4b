"""Challenges: asking a node through its heartbeats, and settling what was not answered (answering.py has the answers).

A node has at most one open challenge of a kind, and each is settled once: by its answer, or when it expires.
"""

import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from jatevo.accounts.models import User
from jatevo.audit.record import SYSTEM, actor_of, record
from nodes.actions.errors import NotPossible
from nodes.actions.probing import take_effect_together
from nodes.models import Challenge, Node, Probe
from nodes.rules.challenges import NONCE_BYTES, ChallengeKind, ChallengeOutcome
from nodes.rules.probes import ProbeFault, ProbeKind, counts_as
from nodes.rules.reachability import HEARD_WITHIN

# A proof that no heartbeat has taken along by then is given up.
PROOF_WAITS_FOR = timedelta(seconds=60)


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
        probes = [probe_of(each, ProbeFault.TIMEOUT, at=at) for each in missed]
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


def probe_of(challenge: Challenge, fault: ProbeFault | None, *, at: datetime) -> Probe:
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


def _in_words(challenge: Challenge) -> str:
    if challenge.answer_ms is None:
        return "no answer to a challenge through its heartbeats"
    took = f"challenge answered in {challenge.answer_ms:.0f} ms"
    if challenge.fault == ProbeFault.BAD_STATUS and challenge.kind != ChallengeKind.HEALTH:
        return f"{took}, without an output of the runtime or with a former key"
    if challenge.fault == ProbeFault.BAD_STATUS:
        return f"{took}, signed with a former key"
    return took
