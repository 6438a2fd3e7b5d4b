"""Why a payout cannot go on. The messages are for people."""


class PayoutError(Exception):
    """Nothing was done. The message says why."""


class NotEligible(PayoutError):
    """A rule that nobody overrode does not allow it."""


class Conflict(PayoutError):
    """Somebody else was faster, or the payout is in another state by now."""


class SecondPersonNeeded(PayoutError):
    """A second, different admin must do this."""


class ReasonMissing(PayoutError):
    """The action needs a reason for the audit log."""
