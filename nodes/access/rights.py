"""What a person may see of one node and do with it."""

from dataclasses import dataclass

from jatevo.accounts.models import Role, User
from jatevo.accounts.permissions import Permission, allowed
from jatevo.web.errors import not_found
from nodes.access.names import NodeNames
from nodes.models import Node


@dataclass(frozen=True)
class Rights:
    """A person's rights to one node. `name` is the name under which they see it."""

    name: str
    named: bool  # sees the node's id, its keys and its receipts
    owns: bool  # may manage the node: an admin, or an operator of its organisation
    wallet: bool
    earnings: bool
    evidence: bool
    moderate: bool
    manage: bool


def rights_of(user: object, node: Node, names: NodeNames) -> Rights:
    """The rights of a signed-in user or a visitor who can see the node."""
    owns = isinstance(user, User) and (
        user.role == Role.ADMIN or (user.role == Role.OPERATOR and user.org_id == node.org_id)
    )
    return Rights(
        name=names.name(node),
        named=names.named(node),
        owns=owns,
        wallet=owns and allowed(user, Permission.VIEW_WALLETS),
        earnings=owns and allowed(user, Permission.VIEW_EARNINGS),
        evidence=owns or allowed(user, Permission.VIEW_QUARANTINE_EVIDENCE),
        moderate=allowed(user, Permission.QUARANTINE_NODES),
        manage=owns and allowed(user, Permission.MANAGE_NODES),
    )


def owned_node(user: User, node_id: str) -> Node:
    """The node, if the user may manage it. Raises ApiError 404 `not_found` otherwise."""
    node = Node.objects.owned_by(user).filter(pk=node_id).first()
    if node is None:
        raise not_found()
    return node
