"""Which name a person sees for a node: its id, or a pseudonym if they may not know the id.

All code that shows, looks up, searches or sorts nodes by name uses this module, so that a pseudonym never
reveals the node behind it.
"""

from dataclasses import dataclass
from typing import Self

from django.db.models import Case, CharField, F, QuerySet, When

from jatevo.accounts.models import Role, User
from nodes.models import Node, NodeQuerySet


@dataclass(frozen=True)
class NodeNames:
    """The nodes whose ids a person may know: all visible ones (`everything`), or those in `granted` (node
    ids).
    """

    everything: bool
    granted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, user: object) -> Self:
        """Admins and operators see the ids of all visible nodes, viewers those granted to them, visitors
        none.
        """
        if isinstance(user, User) and user.is_active:
            if user.role in (Role.ADMIN, Role.OPERATOR):
                return cls(everything=True)
            return cls(False, frozenset(Node.objects.named_to(user).values_list("pk", flat=True)))
        return cls(everything=False)

    def named(self, node: Node) -> bool:
        """Whether this person sees the node's id and the rest of its identity."""
        return self.everything or node.pk in self.granted

    def name(self, node: Node) -> str:
        """The node's name on pages, in URLs and in API answers for this person."""
        return node.pk if self.named(node) else node.pseudonym

    def annotated(self, nodes: NodeQuerySet) -> NodeQuerySet:
        """The nodes with a `shown_name` column, for searching and sorting in the database."""
        if self.everything:
            return nodes.annotate(shown_name=F("id"))
        own = When(pk__in=self.granted, then=F("id"))
        return nodes.annotate(
            shown_name=Case(own, default=F("pseudonym"), output_field=CharField(max_length=64))
        )

    def find(self, nodes: QuerySet[Node], name: str) -> Node | None:
        """Narrows `nodes` to the one that this person knows by that name."""
        if self.everything or name in self.granted:
            return nodes.filter(pk=name).first()
        return nodes.filter(pseudonym=name).exclude(pk__in=self.granted).first()
