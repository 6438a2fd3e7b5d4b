"""The columns of the node list: what each shows, to whom, and how it sorts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, OrderBy, Value
from django.db.models.functions import NullIf

from jatevo.accounts.models import Role, User
from nodes.access.names import NodeNames
from nodes.access.versions import plain_version
from nodes.figures import NodeFigures, standing_figures
from nodes.models import Node, NodeQuerySet

MOST_SORTED = 1


@dataclass(frozen=True)
class Column:
    """`order` is what the database sorts by; '' cannot be sorted. `identity`: not for strangers' nodes.

    `blank`: the empty text is its unknown.
    """

    key: str
    label: str
    order: str = ""
    number: bool = False
    default: bool = True
    identity: bool = False
    blank: bool = False
    help: str = ""  # the key of its definition


COLUMNS: tuple[Column, ...] = (
    Column("name", "Node ID", "shown_name"),
    Column("status", "Status", "status"),
    Column("region", "Region", "region"),
    Column("runtime", "Runtime", "runtime"),
    Column("reputation", "Reputation", "reputation", number=True, help="reputation"),
    Column("p95", "p95", "standing__p95_ms", number=True, help="node_p95"),
    Column("uptime", "Uptime 7d", "standing__uptime_7d", number=True, help="uptime_7d"),
    # sortable as soon as there are earnings
    Column("earnings", "Earnings to date", number=True, help="earnings_to_date"),
    Column("heartbeat", "Last heartbeat", "last_heartbeat_at", number=True),
    Column("models", "Models", "models_offered__len", default=False),
    Column("gpu", "GPU", "attestation__gpu_model", default=False, blank=True),
    Column("agent", "Agent", "agent_version", default=False, blank=True),
    Column("energy", "Energy", "green_energy", default=False),
    Column("since", "Status since", "status_since", number=True, default=False),
    Column("registered", "Registered", "created_at", number=True, default=False),
    Column("org", "Organisation", "org__name", default=False, identity=True),
    Column("asn", "ASN", "asn_hint", default=False, identity=True, blank=True),
)
_BY_KEY = {column.key: column for column in COLUMNS}


@dataclass(frozen=True)
class Sort:
    """By which column, and whether downwards."""

    column: Column
    down: bool = False

    def __str__(self) -> str:
        return f"-{self.column.key}" if self.down else self.column.key

    @property
    def other_way(self) -> "Sort":
        return Sort(self.column, not self.down)


DEFAULT_SORT = Sort(_BY_KEY["name"])


@dataclass(frozen=True)
class Row:
    """A line of the list. `name` is what this reader calls the node; `named`: may know its identity."""

    node: Node
    name: str
    named: bool
    figures: NodeFigures

    @property
    def agent_version(self) -> str:
        """What its agent calls its version, as far as this reader may know it."""
        return self.node.agent_version if self.named else plain_version(self.node.agent_version)


def columns_for(user: object) -> list[Column]:
    """The columns that a person can choose from. Organisations are news to admins only."""
    sees_names = isinstance(user, User) and user.role in (Role.ADMIN, Role.OPERATOR)
    is_admin = isinstance(user, User) and user.role == Role.ADMIN
    return [
        column
        for column in COLUMNS
        if not column.identity or (sees_names and (column.key != "org" or is_admin))
    ]


def chosen_columns(wanted: str, user: object) -> list[Column]:
    """`region,p95` as columns, in their own order, the name always among them; '' is the default choice."""
    keys = {key.strip() for key in wanted.split(",") if key.strip()}
    available = columns_for(user)
    chosen = [column for column in available if column.key == "name" or column.key in keys]
    return chosen if len(chosen) > 1 else [column for column in available if column.default]


def parse_sort(wanted: str, user: object) -> Sort:
    """`reputation` or `-reputation`; what is unknown, unsortable or not for this person sorts by name."""
    column = _BY_KEY.get(wanted.removeprefix("-"))
    if column is None or not column.order or column not in columns_for(user):
        return DEFAULT_SORT
    return Sort(column, wanted.startswith("-"))


def ordered(nodes: NodeQuerySet, sort: Sort) -> NodeQuerySet:
    """In that order; unknown values last either way, ties by name."""
    value = F(sort.column.order)
    known = NullIf(value, Value("")) if sort.column.blank else value
    return nodes.order_by(OrderBy(known, descending=sort.down, nulls_last=True), F("shown_name"))


# what a line shows, and no JSON that it does not
_FIELDS = (
    "id", "pseudonym", "region", "runtime", "status", "status_since", "reputation", "last_heartbeat_at",
    "green_energy", "models_offered", "agent_version", "created_at", "asn_hint", "org__name",
    "attestation__gpu_model", "standing__p50_ms", "standing__p95_ms", "standing__p99_ms",
    "standing__uptime_7d", "standing__as_of",
)  # fmt: skip


def with_figures(nodes: NodeQuerySet) -> NodeQuerySet:
    """With all that any column needs, in one query."""
    return nodes.select_related("standing", "attestation", "org").only(*_FIELDS)


def in_that_order(node_ids: Iterable[str]) -> list[Node]:
    """These nodes with all that any column needs. One query."""
    ids = list(node_ids)
    found = {node.pk: node for node in with_figures(Node.objects.filter(pk__in=ids))}
    return [found[node_id] for node_id in ids if node_id in found]


def rows_of(nodes: Iterable[Node], names: NodeNames, *, at: datetime) -> list[Row]:
    return [
        Row(
            node,
            names.name(node),
            names.named(node),
            standing_figures(getattr(node, "standing", None), at=at),
        )
        for node in nodes
    ]
