"""The ways in which a probe fails, in words for the node's operator, and the fault of each."""

from enum import StrEnum

from nodes.rules.probes import ProbeFault


class FailureDetail(StrEnum):
    """Why a probe failed, in more detail than its fault. Posted as `detail`."""

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
    FailureDetail.BAD_ENDPOINT: ProbeFault.UNREACHABLE,
    FailureDetail.ADDRESS: ProbeFault.UNREACHABLE,
    FailureDetail.UNRESOLVED: ProbeFault.UNREACHABLE,
    FailureDetail.REFUSED: ProbeFault.REFUSED,
    FailureDetail.UNREACHABLE: ProbeFault.UNREACHABLE,
    FailureDetail.TLS: ProbeFault.UNREACHABLE,
    FailureDetail.TIMEOUT: ProbeFault.TIMEOUT,
    FailureDetail.BROKEN: ProbeFault.UNREACHABLE,
    FailureDetail.STATUS: ProbeFault.BAD_STATUS,
    # Probably a proxy's error page and not the node's answer: malformed, but not a false answer.
    FailureDetail.OVERSIZE: ProbeFault.BAD_STATUS,
    FailureDetail.NOT_JSON: ProbeFault.BAD_STATUS,
    FailureDetail.WRONG_NODE: ProbeFault.BAD_ANSWER,
    FailureDetail.WRONG_NONCE: ProbeFault.BAD_ANSWER,
    FailureDetail.WRONG_SIGNATURE: ProbeFault.BAD_SIGNATURE,
    # The node's agent does not know yet that its key was changed. The probe fails, but is not a false answer.
    FailureDetail.FORMER_KEY: ProbeFault.BAD_STATUS,
    FailureDetail.OURS: ProbeFault.VALIDATOR,
}
