"""The columns of the node list: what each shows, to whom, how it sorts, and its CSV values.

A column is declared once, in COLUMNS. Its cell is the partial with its key in
templates/nodes/list/cells.html.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from operator import attrgetter

from django.db.models import F, OrderBy, Value
from django.db.models.functions import NullIf

from jatevo.accounts.models import Role, User
from jatevo.accounts.permissions import Permission, allowed
from jatevo.web.csv_export import Cell
from nodes.access.names import NodeNames
from nodes.access.versions import plain_version
from nodes.figures import NodeFigures, standing_figures
from nodes.models import Node, NodeQuerySet
from nodes.rules.reachability import Reachability, reachability
from nodes.slots import earnings_source


@dataclass(frozen=True)
class Row:
    """A row of the list.

    `name` is the name shown to this reader. `named`: they may know the node's identity.
    """

    node: Node
    name: str
    named: bool
    figures: NodeFigures

    @property
    def earnings_usd(self) -> Decimal | None:
        """The node's earnings to date, for its owner. None where they are unknown."""
        return getattr(self.node, EARNINGS, None) if self.named else None

    @property
    def earnings_unknown(self) -> str:
        """Why they are unknown."""
        return earnings_source().unknown

    @property
    def agent_version(self) -> str:
        """The agent's version, as far as this reader may see it."""
        return self.node.agent_version if self.named else plain_version(self.node.agent_version)

    @property
    def reachability(self) -> Reachability:
        """Whether validators reach the node."""
        return reachability(self.node.reachable)

    @property
    def gpu_model(self) -> str:
        """The GPU that the node states, or ''."""
        attestation = getattr(self.node, "attestation", None)
        return attestation.gpu_model if attestation else ""


# the annotation with a node's earnings to date
EARNINGS = "earnings_usd"
# A CSV heading and how to get its value: text, a number, a moment, or None for unknown.
CsvValue = tuple[str, Callable[[Row], Cell]]


@dataclass(frozen=True)
class Column:
    """A column. `fields` are the fields of Node that its cell and CSV values read.

    `order` is the field to sort by, '' if it cannot be sorted. `identity`: shown only to those who may know
    the node's identity; `money`: only to those who may see earnings. `blank`: an empty text means unknown. `help` is the key of its definition. Without
    `csv`, the CSV has the field under the column's key.
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
    money: bool = False
    help: str = ""

    @property
    def csv_values(self) -> tuple[CsvValue, ...]:
        """The column's headings and values in the CSV export, in order."""
        return self.csv or ((self.key, attrgetter(f"node.{self.fields[0]}")),)


def _figure_csv(name: str, key: str, heading: str) -> tuple[CsvValue, ...]:
    """The CSV values of a figure: the value, whether it is known, and its as-of time."""
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
    Column(
        "status",
        "Status",
        ("status", "reachable"),
        order="status",
        csv=(("status", attrgetter("node.status")),),
    ),
    Column(
        "reachable",
        "Reachable",
        ("reachable",),
        order="reachable",
        csv=(("reachable", lambda row: row.reachability.value),),
        default=False,
        help="reachable",
    ),
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
    Column(
        "earnings",
        "Earnings to date",
        order=EARNINGS,
        csv=(("earnings_usd", attrgetter("earnings_usd")),),
        number=True,
        money=True,
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
# Fields that every row needs: its identity, its status for the actions, and the age of its figures.
_EVERY_ROW = ("id", "pseudonym", "org", "status", *_STANDING)


@dataclass(frozen=True)
class Sort:
    """The column to sort by, and whether in descending order."""

    column: Column
    down: bool = False

    def __str__(self) -> str:
        return f"-{self.column.key}" if self.down else self.column.key

    @property
    def other_way(self) -> "Sort":
        return Sort(self.column, not self.down)


DEFAULT_SORT = Sort(_BY_KEY["name"])


def columns_for(user: object) -> list[Column]:
    """The columns that a person can choose from. Only admins can choose the organisation."""
    sees_money = allowed(user, Permission.VIEW_EARNINGS)
    sees_names = isinstance(user, User) and user.role in (Role.ADMIN, Role.OPERATOR)
    is_admin = isinstance(user, User) and user.role == Role.ADMIN
    return [
        column
        for column in COLUMNS
        if (not column.identity or (sees_names and (column.key != "org" or is_admin)))
        and (not column.money or sees_money)
    ]


def chosen_columns(wanted: str, user: object) -> list[Column]:
    """The columns of a list of keys such as `region,p95`, in table order and always with the name.

    '' gives the default columns.
    """
    keys = {key.strip() for key in wanted.split(",") if key.strip()}
    available = columns_for(user)
    chosen = [column for column in available if column.key == "name" or column.key in keys]
    return chosen if len(chosen) > 1 else [column for column in available if column.default]


def parse_sort(wanted: str, user: object) -> Sort:
    """The sort order of `reputation` or `-reputation`.

    A column that is unknown, not sortable or not available to this person sorts by name.
    """
    column = _BY_KEY.get(wanted.removeprefix("-"))
    if column is None or not column.order or column not in columns_for(user):
        return DEFAULT_SORT
    return Sort(column, wanted.startswith("-"))


def ordered(nodes: NodeQuerySet, sort: Sort) -> NodeQuerySet:
    """The nodes in that order. Unknown values come last in both directions, ties are sorted by name."""
    value = F(sort.column.order)
    known = NullIf(value, Value("")) if sort.column.blank else value
    return nodes.order_by(OrderBy(known, descending=sort.down, nulls_last=True), F("shown_name"))


def with_earnings(nodes: NodeQuerySet, reader: object) -> NodeQuerySet:
    """The nodes with their earnings to date, as far as the reader may see them."""
    earned = earnings_source().to_date(reader)
    return nodes if earned is None else nodes.annotate(**{EARNINGS: earned})


def with_fields(nodes: NodeQuerySet, columns: Sequence[Column], reader: object) -> NodeQuerySet:
    """The nodes with only the fields that these columns read, in one query."""
    if any(column.money for column in columns):
        nodes = with_earnings(nodes, reader)
    fields = {*_EVERY_ROW, *(field for column in columns for field in column.fields)}
    related = {field.partition("__")[0] for field in fields if "__" in field}
    return nodes.select_related(*sorted(related)).only(*sorted(fields))


def in_that_order(node_ids: Iterable[str], columns: Sequence[Column], reader: object) -> list[Node]:
    """These nodes, in the order of `node_ids`, with the fields that the columns read. One query."""
    ids = list(node_ids)
    found = {node.pk: node for node in with_fields(Node.objects.filter(pk__in=ids), columns, reader)}
    return [found[node_id] for node_id in ids if node_id in found]


def rows_of(nodes: Iterable[Node], names: NodeNames, *, at: datetime) -> list[Row]:
    """A row for each node, as this reader may see it."""
    return [
        Row(
            node,
            names.name(node),
            names.named(node),
            standing_figures(getattr(node, "standing", None), at=at),
        )
        for node in nodes
    ]
