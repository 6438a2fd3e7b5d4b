"""Limits on attempts to sign in, by address and by account, which also work while Redis is away.

Known devices and signed-in people have a limit of their own, so that others who use up the account's attempts
do not lock its owner out.

An outage of Redis must not make guessing passwords easier, and each process must not count alone. So while
Redis is away, attempts are rows in PostgreSQL, counted over a sliding window.
"""

import math
from datetime import datetime, timedelta
from hashlib import sha256

from django.conf import settings
from limits import parse

from jatevo.accounts.models import LoginAttempt
from jatevo.web.errors import ApiError
from jatevo.web.throttling import hit, redis_is_up


def count_attempt(*, email: str, address: str, at: datetime, known_as: str = "") -> None:
    """Counts one attempt, whether or not the account exists.

    `known_as` identifies a known device or a signed-in person. Raises ApiError 429 with Retry-After if there
    were too many.
    """
    strangers = (("login_address", address), ("login_account", email.strip().lower()))
    for limit, subject in (("login_device", known_as),) if known_as else strangers:
        key = sha256(subject.encode()).hexdigest()
        if redis_is_up():
            hit(limit, key)
        else:
            _hit_in_postgres(limit, key, at)


def _hit_in_postgres(limit: str, key: str, at: datetime) -> None:
    # The row is written before counting. Two concurrent attempts then see each other, so the limit holds.
    item = parse(settings.RATE_LIMITS[limit])
    window = timedelta(seconds=item.get_expiry())
    own = LoginAttempt.objects.create(limit=limit, key=key, at=at)
    recent = LoginAttempt.objects.filter(limit=limit, key=key, at__gt=at - window).order_by("at")
    if recent.count() <= item.amount:
        return
    own.delete()  # a refused attempt does not prolong the wait
    oldest = recent.first()
    left = (oldest.at + window - at) if oldest else window
    raise ApiError(
        429,
        "rate_limited",
        f"Rate limit exceeded: more than {item}.",
        headers={"Retry-After": str(max(1, math.ceil(left.total_seconds())))},
    )


def refusal_words(refused: ApiError) -> str:
    """The message for a 429 of these limits or a 503 of the cap on password hashes."""
    if refused.status != 429:
        return refused.message
    return f"Too many attempts. Try again in {refused.headers['Retry-After']} seconds."
