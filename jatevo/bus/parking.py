"""Parking refused messages, within bounds that no sender can exceed.

Of a sender, and of all that nobody is known to have signed, so many are kept a day for each kind and cause. What is
refused beyond that is only counted (`bus_messages_total`).
"""

from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import Count, Sum
from django.db.models.functions import Length

from jatevo.bus.judging import Message, Verdict
from jatevo.bus.models import MessageKind, ParkedMessage
from jatevo.web.bounds import bounded

MOST_A_DAY: Final = 100
MOST_BYTES_A_DAY: Final = 16 * 1024 * 1024
# Of a body that nobody is known to have signed.
MOST_BYTES_OF_STRANGERS: Final = 64 * 1024
_DAY: Final = timedelta(days=1)


def park(message: Message, verdict: Verdict, *, at: datetime) -> bool:
    """Keeps the message, and returns whether it was kept. One that comes again is kept once."""
    body = message.body if verdict.sender else message.body[:MOST_BYTES_OF_STRANGERS]
    alike = ParkedMessage.objects.filter(
        kind=message.kind,
        sender=verdict.sender,
        error_type=verdict.error_type,
        parked_at__gt=at - _DAY,
    ).exclude(sequence=message.sequence, stored_at=message.stored_at)
    with transaction.atomic():
        _one_at_a_time(message, verdict)
        known = alike.aggregate(count=Count("pk"), size=Sum(Length("body")))
        if known["count"] >= MOST_A_DAY or (known["size"] or 0) + len(body) > MOST_BYTES_A_DAY:
            return False
        ParkedMessage.objects.update_or_create(
            sequence=message.sequence,
            stored_at=message.stored_at,
            defaults={"tries": message.tries},
            create_defaults={
                "kind": message.kind,
                "parked_at": at,
                "sender": verdict.sender,
                "headers": bounded(dict(message.headers)),
                "body": body,
                "size_bytes": len(message.body),
                "error_type": verdict.error_type,
                "error_message": bounded(verdict.error_message),
                "tries": message.tries,
            },
        )
    return True


def _one_at_a_time(message: Message, verdict: Verdict) -> None:
    """So that what is parked at the same time keeps to the bounds together."""
    cause = f"parked {message.kind} of {verdict.sender}: {verdict.error_type}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [cause])


def unparked(parked: ParkedMessage) -> Message:
    """The message as it was delivered."""
    return Message(
        kind=MessageKind(parked.kind),
        sequence=parked.sequence,
        stored_at=parked.stored_at,
        tries=parked.tries,
        headers=parked.headers,
        body=bytes(parked.body),
    )
