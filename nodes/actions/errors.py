"""Errors that actions raise. Views and the API turn them into messages and status codes."""


class NodeError(Exception):
    """An action was refused. The message is shown to the person who asked for it."""


class NodeExists(NodeError):
    """The node id is taken."""


class EnrollmentInvalid(NodeError):
    """The enrolment token is unknown, used up or expired."""


class EnrollmentMismatch(NodeError):
    """The enrolment token is bound to another node id."""


class StaleHeartbeat(NodeError):
    """The heartbeat is not later than the node's last one."""


class TokenEnded(NodeError):
    """The token that signed the request was replaced meanwhile, or the node is gone."""


class RowLocked(NodeError):
    """The node's row is locked by somebody else. Nothing was done."""


class ReplayedProbe(NodeError):
    """This validator has already posted this probe."""


class UnknownChallenge(NodeError):
    """The node was asked no such challenge."""


class AnsweredAlready(NodeError):
    """The challenge has been answered."""


class AnsweredTooLate(NodeError):
    """The challenge has expired."""


class UnknownNode(NodeError):
    """There is no such node."""


class NotPossible(NodeError):
    """The node's state does not allow it."""


class KeyExists(NodeError):
    """A node has or had this public key."""
