"""Taking probes of validators."""

from datetime import UTC, datetime
from functools import partial

from django.conf import settings
from django.utils import timezone

from jatevo.web.errors import FieldProblem, invalid_request
from jatevo.web.strict_json import parse_object
from nodes import actions
from nodes.ingress import payloads
from nodes.ingress.authentication import SenderCaller, admit_senders
from nodes.ingress.refusals import refuse
from nodes.ingress.signed import Answer, SignedEndpoint, SignedRequest, one_by_one
from nodes.models import Validator


def _take(request: SignedRequest, caller: SenderCaller) -> Answer:
    wanted = payloads.measurement(parse_object(request.body))
    at = timezone.now()
    heard_at = at if request.stored_at is None else datetime.fromtimestamp(request.stored_at, UTC)
    if abs((heard_at - wanted.ts).total_seconds()) > settings.CLOCK_TOLERANCE_SECONDS:
        raise invalid_request("Some fields are invalid.", [FieldProblem("ts", "is not the present time")])
    try:
        probe, status = actions.record_probe(validator_id=caller.sender_id, measurement=wanted, at=at)
    except actions.NodeError as error:
        refuse(error)
    return Answer({"id": probe.pk, "node_id": wanted.node_id, "status": status}, 201)


PROBES = SignedEndpoint(
    path="/v1/probes",
    header=Validator.header,
    most_bytes=settings.MAX_BODY_BYTES,
    admit=partial(admit_senders, model=Validator),
    take=one_by_one(_take),
)
