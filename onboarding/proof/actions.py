"""Proving a node: asking it for one completion, and recording what became of it."""

import asyncio
import ipaddress
import secrets
import threading
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connections, transaction
from django.utils import timezone

from jatevo.accounts.models import User
from jatevo.audit.record import actor_of, record
from jatevo.web.postgresql.budgets import WORKER, working
from nodes.actions import ask as ask_through_heartbeat
from nodes.models import Node
from nodes.rules.lifecycle import Status
from nodes.tokens import node_gateway_key
from nodes.validator.address import AddressPolicy
from onboarding.models import MAX_PROBLEM_CHARACTERS, Proof, ProofRoute, ProofState
from onboarding.proof.exchange import PROMPT, Answer, ExchangeError, Question, ask

AT_MOST_EVERY = timedelta(minutes=1)
MOST_A_DAY = 20
# One that has no end by then was lost with the process that carried it out.
LOST_AFTER = timedelta(seconds=45)
MOST_AT_ONCE = 4
CRASHED = "The console made a mistake while it asked the node. Try again."

log = structlog.get_logger(__name__)
_places = threading.BoundedSemaphore(MOST_AT_ONCE)


class ProofRefused(Exception):
    """The node cannot be asked now. The message is a sentence for the person who wanted it."""


def ask_for_proof(*, node: Node, by: User, at: datetime) -> Proof:
    """Records the proof, and asks a node behind NAT. One at a reachable node is then due for `carry_out`.

    Raises NotPossible if a node behind NAT cannot be asked, and ProofRefused if the node is not in service or offers no
    model, or was asked too often: once a minute and 20 times in 24 hours.
    """
    with transaction.atomic():
        locked = Node.objects.select_for_update(no_key=True).get(pk=node.pk)
        if locked.status != Status.ACTIVE:
            raise ProofRefused("The node is not active yet, so nothing would be sent to it.")
        if not locked.models_offered:
            raise ProofRefused("The node offers no model yet.")
        _count(locked, at)
        proof = Proof.objects.create(
            node=locked,
            asked_by=by,
            asked_at=at,
            request_id=f"proof_{secrets.token_urlsafe(15)}",
            route=ProofRoute.HEARTBEAT if locked.reachable is False else ProofRoute.ENDPOINT,
            model_id=locked.models_offered[0],
        )
        if proof.route == ProofRoute.HEARTBEAT:
            ask_through_heartbeat(node=locked, prompt=PROMPT, request_id=proof.request_id, by=by, at=at)
        record(
            "node.prove",
            by=actor_of(by),
            subject_kind="node",
            subject_id=locked.pk,
            org_id=locked.org_id,
            request_id=proof.request_id,
        )
    return proof


def _count(node: Node, at: datetime) -> None:
    asked = Proof.objects.filter(node=node, asked_at__gt=at - timedelta(days=1))
    if asked.count() >= MOST_A_DAY:
        raise ProofRefused(f"A node can be proved {MOST_A_DAY} times a day. Try again tomorrow.")
    newest = asked.order_by("-asked_at").values_list("asked_at", flat=True).first()
    if newest is not None and at - newest < AT_MOST_EVERY:
        left = int((AT_MOST_EVERY - (at - newest)).total_seconds()) + 1
        raise ProofRefused(f"A node can be proved once a minute. Try again in {left} s.")


def carry_out_in_background(proof: Proof) -> None:
    """Starts `carry_out` in a thread. With too many under way, the proof fails at once."""
    if not _places.acquire(blocking=False):
        _finish(proof, "The console is busy with other proofs. Try again in a minute.", at=timezone.now())
        return
    threading.Thread(target=_in_its_place, args=[proof], name="proof", daemon=True).start()


def carry_out(proof: Proof) -> None:
    """Sends the request to the node's endpoint, and records its end, whatever happens. Takes at most 20 s."""
    try:
        _finish(proof, _asked(proof), at=timezone.now())
    except Exception:
        log.exception("a proof could not be carried out", request_id=proof.request_id)
        _finish(proof, CRASHED, at=timezone.now())


def _asked(proof: Proof) -> Answer | str:
    """The node's answer, or why there is none."""
    node = proof.node
    question = Question(node.endpoint, node_gateway_key(node), proof.model_id, proof.request_id)
    try:
        return asyncio.run(ask(question, address_policy()))
    except ExchangeError as error:
        return str(error)


def address_policy() -> AddressPolicy:
    """Private addresses only in the embedded run, or where a setting names them."""
    networks = tuple(ipaddress.ip_network(text) for text in settings.PROOF_NETWORKS)
    return AddressPolicy(allow_private=settings.EMBEDDED, networks=networks)


def _in_its_place(proof: Proof) -> None:
    try:
        with working(WORKER):
            carry_out(proof)
    except Exception:  # the database does not answer; LOST_AFTER ends the proof
        log.exception("the end of a proof could not be recorded", request_id=proof.request_id)
    finally:
        connections.close_all()
        _places.release()


def _finish(proof: Proof, end: Answer | str, *, at: datetime) -> None:
    unfinished = Proof.objects.filter(pk=proof.pk, state=ProofState.ASKED)
    if isinstance(end, str):
        unfinished.update(state=ProofState.FAILED, finished_at=at, problem=end[:MAX_PROBLEM_CHARACTERS])
    else:
        unfinished.update(
            state=ProofState.ANSWERED,
            finished_at=at,
            first_token_ms=end.first_token_ms,
            total_ms=end.total_ms,
            tokens_output=end.tokens_output,
        )
