"""Why probes fail. The console reads these words again, in what a validator posts as `detail`."""

from enum import StrEnum


class Fault(StrEnum):
    """Why a probe failed, in the words that the node's operator reads."""

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

    @property
    def is_false_answer(self) -> bool:
        """The node answered, and what it said is false. Everything else may be the network's doing."""
        return self in (Fault.WRONG_NODE, Fault.WRONG_NONCE, Fault.WRONG_SIGNATURE)


# Each of these may be the network's doing.
OUT_OF_REACH = tuple(fault.value for fault in Fault if not fault.is_false_answer)


def says_out_of_reach(detail: str) -> bool:
    """Whether a validator's `detail` begins with such a fault. No words, or others, do not say so."""
    return detail.startswith(OUT_OF_REACH)
