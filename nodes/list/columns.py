"""The columns of the node list: what each shows, to whom, how it sorts, and what it is in CSV.

A column is declared once, in COLUMNS; its cell is the partial of its key in templates/nodes/list/cells.html.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from django.db.models import F, OrderBy, Value
from django.db.models.functions import NullIf

from jatevo.accounts.models import Role, User
from jatevo.web.csv_export import Cell
from nodes.access.names import NodeNames
from nodes.access.versions import plain_version
from nodes.figures import NodeFigures, standing_figures
from nodes.models import Node, NodeQuerySet


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

    @property
    def gpu_model(self) -> str:
        """What the node says of its GPU; '' if it said nothing."""
        attestation = getattr(self.node, "attestation", None)
        return attestation.gpu_model if attestation else ""


# A heading of the CSV, and the value below it: text, a number, a moment, or None for unknown.
CsvValue = tuple[str, Callable[[Row], Cell]]


@dataclass(frozen=True)
class Column:
    """`fields` are those of Node that the cell and the CSV values read.

    `order` is what the database sorts by; '' cannot be sorted. `identity`: not for strangers' nodes. `blank`: the
    empty text is its unknown. `help` is the key of its definition. One without `csv` is its key and its field.
    """

    key: str
    label: str
    fields: tuple[str, ...] = ()
    order: str = ""
    csv: tuple[CsvValue, ...] = ()
    number: bool = False
    default: bool = True
    identity: bool = False
    blank: bool = False
    help: str = ""

    @property
    def cell(self) -> str:
        """The template of a cell, which finds its Row as `row`."""
        return f"nodes/list/cells.html#{self.key}"

    @property
    def csv_values(self) -> tuple[CsvValue, ...]:
        """What the export has of it, in this order."""
        return self.csv or ((self.key, attrgetter(f"node.{self.fields[0]}")),)


def _figure_csv(name: str, key: str, heading: str) -> tuple[CsvValue, ...]:
    """A figure, how well it is known, and the moment that it speaks of."""
    figure = attrgetter(f"figures.{name}")
    return (
        (heading, lambda row: figure(row).value),
        (f"{key}_state", lambda row: figure(row).state.value),
        (f"{key}_as_of", lambda row: figure(row).as_of),
    )


_STANDING = (
    "standing__p50_ms",
    "standing__p95_ms",
    "standing__p99_ms",
    "standing__uptime_7d",
    "standing__as_of",
)

COLUMNS: tuple[Column, ...] = (
    Column(
        "name",
        "Node ID",
        ("id", "pseudonym", "green_energy"),
        order="shown_name",
        csv=(("node_id", attrgetter("name")),),
    ),
    Column("status", "Status", ("status",), order="status"),
    Column("region", "Region", ("region",), order="region"),
    Column("runtime", "Runtime", ("runtime",), order="runtime"),
    Column("reputation", "Reputation", ("reputation",), order="reputation", number=True, help="reputation"),
    Column(
        "p95",
        "p95",
        _STANDING,
        order="standing__p95_ms",
        csv=_figure_csv("p95_ms", "p95", "p95_ms"),
        number=True,
        help="node_p95",
    ),
    Column(
        "uptime",
        "Uptime 7d",
        _STANDING,
        order="standing__uptime_7d",
        csv=_figure_csv("uptime_7d", "uptime", "uptime_7d_ratio"),
        number=True,
        help="uptime_7d",
    ),
    # sortable as soon as there are earnings; until then unknown, which is not 0
    Column(
        "earnings",
        "Earnings to date",
        csv=(("earnings_usd", lambda row: None),),
        number=True,
        help="earnings_to_date",
    ),
    Column(
        "heartbeat",
        "Last heartbeat",
        ("last_heartbeat_at",),
        order="last_heartbeat_at",
        number=True,
    ),
    Column(
        "models",
        "Models",
        ("models_offered",),
        order="models_offered__len",
        csv=(("models", lambda row: " ".join(row.node.models_offered)),),
        default=False,
    ),
    Column(
        "gpu",
        "GPU",
        ("attestation__gpu_model",),
        order="attestation__gpu_model",
        csv=(("gpu", attrgetter("gpu_model")),),
        default=False,
        blank=True,
    ),
    Column(
        "agent",
        "Agent",
        ("agent_version",),
        order="agent_version",
        csv=(("agent", attrgetter("agent_version")),),
        default=False,
        blank=True,
    ),
    Column(
        "energy",
        "Energy",
        ("green_energy",),
        order="green_energy",
        csv=(("energy", lambda row: "green" if row.node.green_energy else ""),),
        default=False,
    ),
    Column("since", "Status since", ("status_since",), order="status_since", number=True, default=False),
    Column("registered", "Registered", ("created_at",), order="created_at", number=True, default=False),
    Column(
        "org",
        "Organisation",
        ("org__name",),
        order="org__name",
        csv=(("org", lambda row: row.node.org.name if row.named else ""),),
        default=False,
        identity=True,
    ),
    Column(
        "asn",
        "ASN",
        ("asn_hint",),
        order="asn_hint",
        csv=(("asn", lambda row: row.node.asn_hint if row.named else ""),),
        default=False,
        identity=True,
        blank=True,
    ),
)
_BY_KEY = {column.key: column for column in COLUMNS}
# What a line needs whatever it shows: who it is, what can be done to it, and whether its figures are old.
_EVERY_ROW = ("id", "pseudonym", "org", "status", *_STANDING)


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


def with_fields(nodes: NodeQuerySet, columns: Iterable[Column]) -> NodeQuerySet:
    """With what these columns read, and no more, in one query."""
    fields = {*_EVERY_ROW, *(field for column in columns for field in column.fields)}
    related = {field.partition("__")[0] for field in fields if "__" in field}
    return nodes.select_related(*sorted(related)).only(*sorted(fields))


def in_that_order(node_ids: Iterable[str], columns: Sequence[Column]) -> list[Node]:
    """These nodes with what the columns read. One query."""
    ids = list(node_ids)
    found = {node.pk: node for node in with_fields(Node.objects.filter(pk__in=ids), columns)}
    return [found[node_id] for node_id in ids if node_id in found]


def rows_of(nodes: Iterable[Node], names: NodeNames, *, at: datetime) -> list[Row]:
    """A line for each node, as this reader may see it."""
    return [
        Row(
            node,
            names.name(node),
            names.named(node),
            standing_figures(getattr(node, "standing", None), at=at),
        )
        for node in nodes
    ]
