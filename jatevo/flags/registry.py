"""The feature flags, over django-waffle switches. A flag that is not listed here does not exist."""

from enum import StrEnum

import waffle
from django.db import InterfaceError, OperationalError


class Flag(StrEnum):
    """PRD §13, with defaults."""

    ENABLE_PRIVATE_POOLS = "enable_private_pools"
    SHOW_JTVO_ESTIMATES = "show_jtvo_estimates"
    ALLOW_ANONYMOUS_OVERVIEW = "allow_anonymous_overview"
    ENABLE_SIGNATURE_VERIFY = "enable_signature_verify"


DEFAULTS: dict[Flag, bool] = {
    Flag.ENABLE_PRIVATE_POOLS: False,
    Flag.SHOW_JTVO_ESTIMATES: True,
    Flag.ALLOW_ANONYMOUS_OVERVIEW: True,
    Flag.ENABLE_SIGNATURE_VERIFY: True,
}


def enabled(flag: Flag) -> bool:
    """Whether the flag is on. Without a row, or without a database, it has its default."""
    try:
        switch = waffle.get_waffle_switch_model().get(flag.value)
    except (OperationalError, InterfaceError):
        return DEFAULTS[flag]
    return bool(switch.active) if switch.pk else DEFAULTS[flag]
