"""What the apps above add to the pages of nodes: the column "Earnings to date", the tab "Earnings", actions, notices
to a node's owner, and flags on its receipts.

`earnings` and `onboarding` lie above this app, so they register them here when they start.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Expression

from jatevo.accounts.models import User
from nodes.models import Node


@dataclass(frozen=True)
class TabContent:
    """A template and its context."""

    template: str
    context: Mapping[str, Any]


@dataclass(frozen=True)
class EarningsSource:
    """`to_date` gives what a reader may see of each node's earnings, to annotate a queryset of nodes with; None for
    nothing at all. The annotation is null where it is unknown, for the reason `unknown`.

    `tab` gives the content of the tab of a node that the reader owns.
    """

    to_date: Callable[[object], Expression | None]
    unknown: str
    tab: Callable[[Node, User, datetime], TabContent]


_sources: list[EarningsSource] = []


def register_earnings(source: EarningsSource) -> None:
    """Sets the source. A second one takes the place of the first."""
    _sources[:] = [source]


def earnings_source() -> EarningsSource:
    """The source. Raises LookupError if none is registered."""
    if not _sources:
        raise LookupError("no app has registered earnings")
    return _sources[0]


@dataclass(frozen=True)
class NodeAction:
    """An action on nodes that belongs to another app: an entry beside a node, and a button for selected nodes.

    `page` gives the page that asks about one node. `many` is the page to which the nodes that were selected are
    posted as `node`. Both ask before they change anything. `open_to` says who may.
    """

    label: str
    icon: str
    open_to: Callable[[object], bool]
    page: Callable[[str], str]
    many: Callable[[], str]


_actions: dict[str, NodeAction] = {}


def register_action(action: NodeAction) -> None:
    """Adds the action. A second one with the same label takes its place."""
    _actions[action.label] = action


def actions_for(user: object) -> list[NodeAction]:
    """The actions that the person may take."""
    return [action for action in _actions.values() if action.open_to(user)]


NoticeSource = Callable[[Node], TabContent | None]
_notices: list[NoticeSource] = []


def register_notice(source: NoticeSource) -> None:
    """Adds a source of notices. Registered twice, it counts once."""
    if source not in _notices:
        _notices.append(source)


def notices_of(node: Node) -> list[TabContent]:
    """What the owner of the node should know, above its tabs."""
    return [notice for source in _notices if (notice := source(node)) is not None]


@dataclass(frozen=True)
class FlaggedReceipts:
    """What is implausible about some receipts of a node: how many, one of them (`example`), and what was found about
    it, with the numbers. `url` leads to the example, `all_url` to all of them.
    """

    label: str
    receipts: int
    example: str
    sentence: str
    url: str
    all_url: str


FlagSource = Callable[[Node, object], Sequence[FlaggedReceipts]]
_flag_sources: list[FlagSource] = []


def register_flags(source: FlagSource) -> None:
    """Sets the source of flags: of a node, for a reader. A second one takes the place of the first."""
    _flag_sources[:] = [source]


def flags_of(node: Node, reader: object) -> Sequence[FlaggedReceipts]:
    """The flags on the node's receipts that the reader may see."""
    return _flag_sources[0](node, reader) if _flag_sources else []
