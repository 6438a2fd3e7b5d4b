"""What people do with parked messages."""

from datetime import datetime

from django.db import transaction
from django.db.models import F

from jatevo.audit.record import Actor, record
from jatevo.bus.judging import ENDPOINTS, Fate, Verdict, verdict_on
from jatevo.bus.models import ParkedMessage, ParkedState
from jatevo.bus.parking import unparked
from jatevo.web.gathering import Later
from jatevo.web.request_id import current_request_id, use


class CannotTryAgain(Exception):
    """The message cannot be judged again. The text says why."""


def try_again(*, parked: ParkedMessage, by: Actor, at: datetime) -> Verdict:
    """Judges a parked message by the rules that it was refused by, as of when the stream stored it.

    Raises CannotTryAgain if it was taken, was not kept whole, or is a heartbeat that is too old to say anything.
    """
    if parked.state != ParkedState.PARKED:
        raise CannotTryAgain("It has been taken.")
    if not parked.is_whole:
        raise CannotTryAgain("Only the beginning of its body was kept.")
    message = unparked(parked)
    if message.is_outdated(at):
        raise CannotTryAgain("It says that a node lived then, which means nothing now.")
    request_id = current_request_id()
    request = message.request(request_id=request_id)
    (answered,) = ENDPOINTS[message.kind].answer([request])
    if isinstance(answered, Later):
        answered = answered.answer()
    use(request_id)
    verdict = verdict_on(request, answered)
    # What was taken is committed already, and would be a duplicate if this failed.
    with transaction.atomic():
        changes: dict[str, object] = {"tries": F("tries") + 1}
        if verdict.fate is Fate.TAKEN:
            changes |= {"state": ParkedState.TAKEN, "taken_at": at}
        elif verdict.fate is Fate.REFUSED:
            changes |= {"error_type": verdict.error_type, "error_message": verdict.error_message}
        ParkedMessage.objects.filter(pk=parked.pk, state=ParkedState.PARKED).update(**changes)
        record(
            "parkedmessage.try_again",
            by=by,
            subject_kind="parkedmessage",
            subject_id=str(parked.pk),
            message=str(parked),
            outcome=verdict.fate.value,
            error=verdict.error_type,
        )
    return verdict
