"""What probes find, and what follows from it (the HTTP contract, "Validators"). Pure.

A failed probe's `fault` says what failed, and it alone decides. The `detail` beside it is text for people.
"""

from enum import StrEnum


class ProbeKind(StrEnum):
    """What a probe was for."""

    HEALTH = "health"
    LATENCY = "latency"
    AUDIT = "audit"

    @property
    def label(self) -> str:
        return self.value.capitalize()


class ProbeFault(StrEnum):
    """Why a probe failed."""

    BAD_ANSWER = "bad_answer"
    BAD_SIGNATURE = "bad_signature"
    WRONG_OUTPUT = "wrong_output"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    BAD_STATUS = "bad_status"
    TOO_SLOW = "too_slow"
    VALIDATOR = "validator"

    @property
    def label(self) -> str:
        """In words, for pages."""
        return _LABELS[self]

    @property
    def is_false_answer(self) -> bool:
        """The node answered, and what it said is false: nothing excuses that. The rest may be the network's doing."""
        return self in FALSE_ANSWERS


FALSE_ANSWERS = (ProbeFault.BAD_ANSWER, ProbeFault.BAD_SIGNATURE, ProbeFault.WRONG_OUTPUT)

_LABELS = {
    ProbeFault.BAD_ANSWER: "Wrong answer",
    ProbeFault.BAD_SIGNATURE: "Wrong signature",
    ProbeFault.WRONG_OUTPUT: "Wrong output",
    ProbeFault.UNREACHABLE: "Unreachable",
    ProbeFault.TIMEOUT: "Timed out",
    ProbeFault.REFUSED: "Connection refused",
    ProbeFault.BAD_STATUS: "Unexpected status",
    ProbeFault.TOO_SLOW: "Too slow",
    ProbeFault.VALIDATOR: "Validator's own trouble",
}


def known_fault(ok: bool, fault: ProbeFault | None) -> ProbeFault | None:
    """The fault that a probe is kept with: a failed one without any was unreachable, a passed one has none."""
    return None if ok else fault or ProbeFault.UNREACHABLE


def counts_as(kind: ProbeKind, fault: ProbeFault | None) -> ProbeKind | None:
    """The kind that a probe passed (`fault` is None) or failed as; None counts for nothing.

    An audit that did not reach its node failed as a health probe: it convicts nobody.
    """
    if fault is ProbeFault.VALIDATOR:
        return None
    if fault is not None and kind is ProbeKind.AUDIT and not fault.is_false_answer:
        return ProbeKind.HEALTH
    return kind
