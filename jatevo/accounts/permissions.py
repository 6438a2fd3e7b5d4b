"""What each role may do. Which rows a person may see is decided by the QuerySets."""

from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from jatevo.accounts.models import Role, User
from jatevo.flags.registry import Flag, enabled
from jatevo.web.errors import unauthenticated

P = ParamSpec("P")


class Permission(StrEnum):
    """Every action that needs a permission."""

    VIEW_NODES = "view_nodes"
    VIEW_RECEIPTS = "view_receipts"
    VIEW_WALLETS = "view_wallets"
    VIEW_EARNINGS = "view_earnings"
    ENROL_NODES = "enrol_nodes"
    ENROL_FLEETS = "enrol_fleets"
    MANAGE_NODES = "manage_nodes"
    QUARANTINE_NODES = "quarantine_nodes"
    VIEW_QUARANTINE_EVIDENCE = "view_quarantine_evidence"
    MANAGE_WALLET = "manage_wallet"
    PAY_OUT = "pay_out"
    REVIEW_EARNINGS = "review_earnings"


ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.OPERATOR: frozenset(
        {
            Permission.VIEW_NODES,
            Permission.VIEW_RECEIPTS,
            Permission.VIEW_WALLETS,
            Permission.VIEW_EARNINGS,
            Permission.MANAGE_WALLET,
            Permission.ENROL_NODES,
            Permission.MANAGE_NODES,
        }
    ),
    Role.VIEWER: frozenset({Permission.VIEW_NODES, Permission.VIEW_RECEIPTS}),
}


def allowed(user: object, permission: Permission) -> bool:
    """Whether the user's role has the permission. Visitors have none."""
    role = getattr(user, "role", None)
    if role is None or not getattr(user, "is_active", False):
        return False
    return permission in ROLE_PERMISSIONS[Role(role)]


def user_of(request: HttpRequest | Request) -> User:
    """The signed-in user. Raises ApiError 401 if nobody is signed in."""
    user: object = request.user
    if not isinstance(user, User):
        raise unauthenticated()
    return user


def open_to(user: object, permission: Permission, *, public_while: Flag | None = None) -> bool:
    """Whether the user is `allowed`, or nobody is signed in and the flag opens this to visitors."""
    if allowed(user, permission):
        return True
    return public_while is not None and not getattr(user, "is_authenticated", False) and enabled(public_while)


def require(
    permission: Permission, *, public_while: Flag | None = None
) -> Callable[
    [Callable[Concatenate[HttpRequest, P], HttpResponseBase]],
    Callable[Concatenate[HttpRequest, P], HttpResponseBase],
]:
    """Decorates a page: visitors are sent to the login page, roles without the permission get a 403.

    While the flag `public_while` is on, visitors need not sign in.
    """

    def decorate(
        view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if open_to(request.user, permission, public_while=public_while):
                return view(request, *args, **kwargs)
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            raise PermissionDenied

        return guarded

    return decorate


def api_permission(permission: Permission) -> type[BasePermission]:
    """The same check as a DRF permission class."""

    class RoleAllows(BasePermission):
        def has_permission(self, request: Request, view: APIView) -> bool:
            return allowed(request.user, permission)

    RoleAllows.__name__ = f"May_{permission}"
    return RoleAllows
