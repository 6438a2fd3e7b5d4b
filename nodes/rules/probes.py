"""The faults that probes find, and what follows from them (the HTTP contract, "Validators"). Pure.

Only the `fault` of a failed probe decides what follows. Its `detail` is text for people.
"""

from enum import StrEnum


class ProbeKind(StrEnum):
    """The kinds of probe."""

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
        """The fault in words, for pages."""
        return _LABELS[self]

    @property
    def is_false_answer(self) -> bool:
        """Whether the node gave a false answer, which no exemption excuses.

        Other faults may be due to the network.
        """
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
    """The fault to store with a probe: none if it passed, and UNREACHABLE if it failed without a fault."""
    return None if ok else fault or ProbeFault.UNREACHABLE


def counts_as(kind: ProbeKind, fault: ProbeFault | None) -> ProbeKind | None:
    """The kind as which a probe counts, passed (`fault` is None) or failed. None: it does not count.

    An audit that did not reach its node counts as a failed health probe.
    """
    if fault is ProbeFault.VALIDATOR:
        return None
    if fault is not None and kind is ProbeKind.AUDIT and not fault.is_false_answer:
        return ProbeKind.HEALTH
    return kind
