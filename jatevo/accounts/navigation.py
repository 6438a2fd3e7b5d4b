"""The context processor for the sidebar: `nav` has the pages open to this person, `may` their permissions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from jatevo.accounts.permissions import Permission, allowed, open_to
from jatevo.flags.registry import Flag


@dataclass(frozen=True)
class NavItem:
    """One entry: `url_name` for {% url %}, and `key`, the letter that goes there after `g`."""

    label: str
    url_name: str
    icon: str
    key: str
    active: bool = False


@dataclass(frozen=True)
class _Place:
    item: NavItem
    path: str
    shown: Callable[[object], bool]

    def contains(self, path: str) -> bool:
        return path == "/" if self.path == "/" else path.startswith(self.path)


def _permitted(permission: Permission) -> Callable[[object], bool]:
    return lambda user: allowed(user, permission)


def _network_open(user: object) -> bool:
    """Whether this person or visitor may see the pages about the network."""
    return open_to(user, Permission.VIEW_NODES, public_while=Flag.ALLOW_ANONYMOUS_OVERVIEW)


PLACES = (
    _Place(NavItem("Overview", "overview:home", "overview", "o"), "/", lambda user: True),
    _Place(NavItem("Nodes", "nodes:list", "nodes", "n"), "/nodes/", _network_open),
    _Place(
        NavItem("Receipts", "receipts:list", "receipts", "r"),
        "/receipts/",
        _permitted(Permission.VIEW_RECEIPTS),
    ),
    _Place(
        NavItem("Earnings", "earnings:home", "earnings", "e"),
        "/earnings/",
        _permitted(Permission.VIEW_EARNINGS),
    ),
    _Place(NavItem("Status", "overview:status", "heartbeat", "t"), "/status/", _network_open),
    _Place(
        NavItem("Run a node", "onboarding:start", "run", "a"),
        "/run-a-node/",
        _permitted(Permission.ENROL_NODES),
    ),
    _Place(NavItem("Docs", "docs:home", "docs", "d"), "/docs/", lambda user: True),
    _Place(
        NavItem("Admin", "admin:index", "admin", "s"),
        "/admin/",
        lambda user: getattr(user, "is_staff", False),
    ),
)


class UnknownPermission(Exception):
    """A template used a permission that does not exist.

    This is an error, so that a typo does not count as no.
    """


class May:
    """`{% if may.enrol_nodes %}`. Loads the user only when it is used."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def __getitem__(self, name: str) -> bool:
        if name not in frozenset(Permission):
            raise UnknownPermission(name)
        return allowed(_user_if_known(self._request), Permission(name))


def navigation(request: HttpRequest) -> dict[str, Any]:
    """The context processor. Both values are lazy, so that a fragment without them costs no query."""
    return {"nav": SimpleLazyObject(lambda: _items(request)), "may": May(request)}


def _items(request: HttpRequest) -> list[NavItem]:
    user = _user_if_known(request)
    return [
        NavItem(
            place.item.label,
            place.item.url_name,
            place.item.icon,
            place.item.key,
            active=place.contains(request.path_info),
        )
        for place in PLACES
        if place.shown(user)
    ]


def _user_if_known(request: HttpRequest) -> object:
    """The user, or an anonymous one if none is set yet (an early error page) or PostgreSQL is down."""
    try:
        user = getattr(request, "user", None)
        return user if getattr(user, "is_authenticated", False) else None
    except (OperationalError, InterfaceError):
        return None
