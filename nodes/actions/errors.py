"""What can go wrong in an action, in the domain's words. Views and the API translate."""


class NodeError(Exception):
    """An action that was refused; the message is for the person who asked."""


class NodeExists(NodeError):
    """The node id is taken."""


class EnrollmentInvalid(NodeError):
    """The enrolment token is unknown, used up or expired."""


class EnrollmentMismatch(NodeError):
    """The enrolment token is bound to another node id."""


class StaleHeartbeat(NodeError):
    """The heartbeat is not later than the node's last one."""


class ReplayedProbe(NodeError):
    """This validator has posted this probe before."""


class UnknownNode(NodeError):
    """There is no such node."""


class NotPossible(NodeError):
    """The node's state does not allow it."""


class KeyExists(NodeError):
    """A node holds or held the public key."""
