"""What goes wrong with a probe, in the words that the node's operator reads, and the fault that each is."""

from enum import StrEnum

from nodes.rules.probes import ProbeFault


class Cause(StrEnum):
    """Why a probe failed, more closely than its fault says: posted as `detail`."""

    BAD_ENDPOINT = "endpoint is not a valid URL"
    ADDRESS = "endpoint address is not allowed"
    UNRESOLVED = "endpoint name does not resolve"
    REFUSED = "connection refused"
    UNREACHABLE = "connection failed"
    TLS = "TLS failed"
    TIMEOUT = "timeout"
    BROKEN = "connection broken"
    STATUS = "status is not 200"
    OVERSIZE = "answer is too large"
    NOT_JSON = "answer is not JSON"
    WRONG_NODE = "wrong node id"
    WRONG_NONCE = "wrong nonce"
    WRONG_SIGNATURE = "wrong signature"
    FORMER_KEY = "signed with a former key of the node"
    OURS = "the validator failed"

    @property
    def fault(self) -> ProbeFault:
        return _FAULTS[self]


_FAULTS = {
    Cause.BAD_ENDPOINT: ProbeFault.UNREACHABLE,
    Cause.ADDRESS: ProbeFault.UNREACHABLE,
    Cause.UNRESOLVED: ProbeFault.UNREACHABLE,
    Cause.REFUSED: ProbeFault.REFUSED,
    Cause.UNREACHABLE: ProbeFault.UNREACHABLE,
    Cause.TLS: ProbeFault.UNREACHABLE,
    Cause.TIMEOUT: ProbeFault.TIMEOUT,
    Cause.BROKEN: ProbeFault.UNREACHABLE,
    Cause.STATUS: ProbeFault.BAD_STATUS,
    # A proxy's error page rather than the node's answer: not what an answer may look like, but no false one.
    Cause.OVERSIZE: ProbeFault.BAD_STATUS,
    Cause.NOT_JSON: ProbeFault.BAD_STATUS,
    Cause.WRONG_NODE: ProbeFault.BAD_ANSWER,
    Cause.WRONG_NONCE: ProbeFault.BAD_ANSWER,
    Cause.WRONG_SIGNATURE: ProbeFault.BAD_SIGNATURE,
    # The node's own answer: its agent never heard that its key was changed. It fails, and convicts nobody.
    Cause.FORMER_KEY: ProbeFault.BAD_STATUS,
    Cause.OURS: ProbeFault.VALIDATOR,
}
