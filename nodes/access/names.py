"""Under which name a person sees a node: its own, or for strangers its pseudonym.

Whoever shows, looks up, searches or sorts nodes by name goes through here, so that a pseudonym never leads
to the node behind it.
"""

from dataclasses import dataclass
from typing import Self

from django.db.models import Case, CharField, F, QuerySet, When

from jatevo.accounts.models import Role, User
from nodes.models import Node, NodeQuerySet


@dataclass(frozen=True)
class NodeNames:
    """`everything`: all visible nodes are named; else only those of `granted` (ids) are."""

    everything: bool
    granted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, user: object) -> Self:
        """Admins and operators see names. A viewer sees those granted singly, the public none."""
        if isinstance(user, User) and user.is_active:
            if user.role in (Role.ADMIN, Role.OPERATOR):
                return cls(everything=True)
            return cls(False, frozenset(Node.objects.named_to(user).values_list("pk", flat=True)))
        return cls(everything=False)

    def named(self, node: Node) -> bool:
        """Whether this node is seen under its own id, with what belongs to its identity."""
        return self.everything or node.pk in self.granted

    def name(self, node: Node) -> str:
        """What the node is called on pages, in URLs and in answers."""
        return node.pk if self.named(node) else node.pseudonym

    def annotated(self, nodes: NodeQuerySet) -> NodeQuerySet:
        """The nodes with `shown_name`, for searching and sorting in the database."""
        if self.everything:
            return nodes.annotate(shown_name=F("id"))
        own = When(pk__in=self.granted, then=F("id"))
        return nodes.annotate(
            shown_name=Case(own, default=F("pseudonym"), output_field=CharField(max_length=64))
        )

    def find(self, nodes: QuerySet[Node], name: str) -> Node | None:
        """The one of `nodes` that this person knows by that name."""
        if self.everything or name in self.granted:
            return nodes.filter(pk=name).first()
        return nodes.filter(pseudonym=name).exclude(pk__in=self.granted).first()
