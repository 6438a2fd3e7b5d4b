"""What a person may see of one node and do with it."""

from collections.abc import Iterable
from dataclasses import dataclass

from jatevo.accounts.models import Role, User
from jatevo.accounts.permissions import Permission, allowed
from jatevo.web.errors import not_found
from nodes.access.names import NodeNames
from nodes.models import Node

_OF_NODES = (
    Permission.VIEW_WALLETS,
    Permission.VIEW_EARNINGS,
    Permission.VIEW_QUARANTINE_EVIDENCE,
    Permission.QUARANTINE_NODES,
    Permission.MANAGE_NODES,
)


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
    return rights_to_each(user, [node], names)[0]


def rights_to_each(user: object, nodes: Iterable[Node], names: NodeNames) -> list[Rights]:
    """The rights to each of the nodes. What the user may do at all is looked up once."""
    person = user if isinstance(user, User) else None
    role, org_id = (person.role, person.org_id) if person is not None else (None, None)
    may = {permission: allowed(user, permission) for permission in _OF_NODES}
    found = []
    for node in nodes:
        owns = role == Role.ADMIN or (role == Role.OPERATOR and org_id == node.org_id)
        found.append(
            Rights(
                name=names.name(node),
                named=names.named(node),
                owns=owns,
                wallet=owns and may[Permission.VIEW_WALLETS],
                earnings=owns and may[Permission.VIEW_EARNINGS],
                evidence=owns or may[Permission.VIEW_QUARANTINE_EVIDENCE],
                moderate=may[Permission.QUARANTINE_NODES],
                manage=owns and may[Permission.MANAGE_NODES],
            )
        )
    return found


def owned_node(user: User, node_id: str) -> Node:
    """The node, if the user may manage it. Raises ApiError 404 `not_found` otherwise."""
    node = Node.objects.owned_by(user).filter(pk=node_id).first()
    if node is None:
        raise not_found()
    return node
