"""How a node joins an organisation: a person creates an enrolment, and the agent registers with its token."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from jatevo.accounts.models import Org, User
from jatevo.audit.record import Actor, actor_of, record
from jatevo.wire.concurrency import DEFAULT_CONCURRENCY
from jatevo.wire.names import normal_model
from nodes.actions.errors import EnrollmentInvalid, EnrollmentMismatch, KeyExists, NodeExists
from nodes.actions.fraud import note_refused_key, relate
from nodes.models import (
    Enrollment,
    EnrollmentQuerySet,
    Node,
    NodeAttestation,
    NodeKey,
    NodeMark,
    NodeOffer,
)
from nodes.rules.credentials import enrollment_digest, new_enrollment_token, token_of_install_code
from nodes.rules.marks import MarkKind, endpoint_mark, hardware_mark
from nodes.tokens import node_token


@dataclass(frozen=True)
class Registration:
    """What an agent states about itself, already validated."""

    node_id: str
    region: str
    runtime: str
    public_key: bytes
    attestation: dict[str, Any]
    wallet_chain: str = ""
    wallet_address: str = ""
    models: tuple[str, ...] = ()
    endpoint: str = ""
    concurrency: int = DEFAULT_CONCURRENCY
    agent_version: str = ""


def enrol(
    *,
    org: Org,
    by: User,
    at: datetime,
    node_id: str = "",
    region: str = "",
    runtime: str = "",
    uses: int = 1,
    answers: Mapping[str, Any] | None = None,
    replaces: Enrollment | None = None,
    install_code: str = "",
) -> tuple[Enrollment, str]:
    """Creates an enrolment and its token. The token is returned once in clear text and stored only as a hash.

    `answers` are written to the agent's configuration file. The enrolment that this one `replaces` ends. An
    `install_code` leads to the install script for an hour, and the token is then the one that belongs to it.
    Raises NodeExists if the node id is taken, and EnrollmentInvalid if the replaced enrolment has already
    ended or been replaced.
    """
    if node_id and Node.objects.filter(pk=node_id).exists():
        raise NodeExists(f"The node ID {node_id} is taken.")
    if install_code:
        token = token_of_install_code(settings.MASTER_KEY, install_code)
    else:
        token = new_enrollment_token()
    with transaction.atomic():
        if replaces is not None:
            renewed = end_enrollments(
                Enrollment.objects.filter(pk=replaces.pk), by=actor_of(by), at=at, reason="Renewed."
            )
            if not renewed:
                raise EnrollmentInvalid("This enrolment has already ended. Start a new one.")
        enrollment = Enrollment.objects.create(
            org=org,
            created_by=by,
            token_sha256=enrollment_digest(token),
            node_id=node_id,
            region=region,
            runtime=runtime,
            uses_left=uses,
            answers=dict(answers or {}),
            expires_at=at + settings.ENROLLMENT_TTL,
            install_sha256=enrollment_digest(install_code) if install_code else None,
            install_expires_at=at + settings.INSTALL_CODE_TTL if install_code else None,
        )
        record(
            "enrollment.create",
            by=actor_of(by),
            subject_kind="enrollment",
            subject_id=str(enrollment.pk),
            org_id=org.pk,
            node_id=node_id,
            uses=uses,
        )
    return enrollment, token


def end_enrollment(*, enrollment: Enrollment, by: User, at: datetime) -> bool:
    """Ends an enrolment, so that its token no longer works. Returns False if it had already ended."""
    return bool(
        end_enrollments(
            Enrollment.objects.filter(pk=enrollment.pk), by=actor_of(by), at=at, reason="Revoked."
        )
    )


def end_enrollments(chosen: EnrollmentQuerySet, *, by: Actor, at: datetime, reason: str) -> int:
    """Ends those of the enrolments that have not ended yet. Returns how many."""
    with transaction.atomic():
        ended = list(chosen.filter(ended_at=None).select_for_update(of=("self",)).order_by("pk"))
        Enrollment.objects.filter(pk__in=[each.pk for each in ended]).update(ended_at=at)
        for each in ended:
            record(
                "enrollment.end",
                by=by,
                subject_kind="enrollment",
                subject_id=str(each.pk),
                org_id=each.org_id,
                reason=reason,
                node_id=each.node_id,
            )
    return len(ended)


def register(*, token: str, registration: Registration, at: datetime) -> tuple[Node, str]:
    """Uses up the token and creates the node, in one transaction. Returns the node and its node token.

    A node that a finding of fraud in its organisation concerns starts in quarantine. Raises
    EnrollmentInvalid, EnrollmentMismatch, NodeExists or KeyExists. After any of these the token is still
    unused.
    """
    digest = enrollment_digest(token)
    enrollment = Enrollment.objects.filter(token_sha256=digest).select_related("org").first()
    if enrollment is None:
        raise EnrollmentInvalid("The enrolment token is unknown.")
    if enrollment.node_id and enrollment.node_id != registration.node_id:
        raise EnrollmentMismatch(f"The enrolment token is for the node {enrollment.node_id}.")
    # Checked before the token's own state: an agent whose first answer was lost needs to know what happened.
    if Node.objects.filter(pk=registration.node_id).exists():
        raise _taken(registration)
    try:
        with transaction.atomic():
            if not Enrollment.objects.filter(pk=enrollment.pk).good(at).update(uses_left=F("uses_left") - 1):
                raise EnrollmentInvalid(_why_not(enrollment, at))
            node = _create(registration, enrollment, at)
            Enrollment.objects.filter(pk=enrollment.pk).update(last_node=node)
            if relate(at=at, node_id=node.pk):
                node.refresh_from_db()
    except IntegrityError as error:
        if Node.objects.filter(pk=registration.node_id).exists():
            raise _taken(registration) from error
        if NodeKey.objects.filter(public_key=registration.public_key).exists():
            by = Actor("node", registration.node_id, org_id=enrollment.org_id)
            note_refused_key(registration.public_key, node_id=registration.node_id, by=by)
            raise KeyExists("This public key belongs to another node. Generate a new one.") from error
        raise
    return node, node_token(node)


def _why_not(enrollment: Enrollment, at: datetime) -> str:
    if enrollment.expires_at <= at:
        return "The enrolment token has expired. Create a new one."
    enrollment.refresh_from_db(fields=["uses_left"])
    if enrollment.uses_left == 0:
        return "The enrolment token has already been used. Create a new one."
    return "The enrolment token was revoked. Create a new one."


def _taken(registration: Registration) -> NodeExists:
    return NodeExists(f"The node ID {registration.node_id} is taken.")


def _create(registration: Registration, enrollment: Enrollment, at: datetime) -> Node:
    node = Node.objects.create(
        id=registration.node_id,
        org=enrollment.org,
        region=registration.region,
        runtime=registration.runtime,
        status_since=at,
        created_at=at,
        models_offered=list(registration.models),
        endpoint=registration.endpoint,
        concurrency=registration.concurrency,
        agent_version=registration.agent_version,
        wallet_chain=registration.wallet_chain,
        wallet_address=registration.wallet_address,
        green_energy=False,  # the address of a proof is only a claim until an admin confirms it
    )
    NodeAttestation.objects.create(node=node, updated_at=at, **registration.attestation)
    NodeKey.objects.create(
        node=node, public_key=registration.public_key, valid_from=at, added_by=f"enrolment {enrollment.pk}"
    )
    NodeOffer.objects.bulk_create(
        NodeOffer(node=node, model=normal_model(name), offered_from=at) for name in registration.models
    )
    marks = {
        MarkKind.HARDWARE: hardware_mark(registration.attestation.get("hardware_hash", "")),
        MarkKind.ENDPOINT: endpoint_mark(registration.endpoint),
    }
    NodeMark.objects.bulk_create(
        NodeMark(node=node, kind=kind, value=value, gained_at=at) for kind, value in marks.items() if value
    )
    record(
        "node.register",
        by=Actor("node", node.pk, org_id=enrollment.org_id),
        subject_kind="node",
        subject_id=node.pk,
        enrollment=str(enrollment.pk),
        region=node.region,
        runtime=node.runtime,
    )
    return node
