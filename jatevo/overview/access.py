"""Who may see the network's aggregates: everyone while the flag is on, otherwise only signed-in people."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from jatevo.accounts.models import Role, User
from jatevo.flags.registry import Flag, enabled

Visitor = User | AnonymousUser


def may_see_overview(user: Visitor) -> bool:
    return user.is_authenticated or enabled(Flag.ALLOW_ANONYMOUS_OVERVIEW)


def sees_small_regions(user: Visitor) -> bool:
    """Whether the person sees regions with few nodes one by one.

    For viewers and visitors they are combined.
    """
    return isinstance(user, User) and user.role in (Role.ADMIN, Role.OPERATOR)


class OverviewPermission(BasePermission):
    """`may_see_overview` for DRF. A visitor who is refused gets a 401."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return may_see_overview(request.user)
