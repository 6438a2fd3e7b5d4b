"""Whose earnings, of which node and model, of which days: what every figure is asked for.

A scope is made by `scope_for`, which never lets a person see beyond their own organisation.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import date
from typing import Self, TypeVar

from django.db.models import Model, QuerySet

from jatevo.accounts.models import Org, Role, User
from jatevo.accounts.permissions import Permission, allowed
from jatevo.wire.names import normal_model

M = TypeVar("M", bound=Model)


class NotYours(Exception):
    """The person may not see these earnings. Pages and the API answer as if there were none."""


@dataclass(frozen=True)
class Scope:
    """`org_id` None is every organisation, for admins. `first` and `last` are UTC days, both included.

    `model` is in the form in which models are compared. `line_id` narrows to one line, for drill-downs.
    """

    org_id: uuid.UUID | None
    node_id: str | None = None
    model: str | None = None
    first: date | None = None
    last: date | None = None
    line_id: int | None = None

    def within(self, first: date | None, last: date | None) -> Self:
        """The same for other days."""
        return replace(self, first=first, last=last)

    def has_day(self, day: date) -> bool:
        """Whether the UTC day is among its days."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)

    def of_node(self, node_id: str | None) -> Self:
        return replace(self, node_id=node_id)

    def of_model(self, model: str | None) -> Self:
        return replace(self, model=model)

    def own(self, rows: QuerySet[M]) -> QuerySet[M]:
        """Only the rows of the organisation, by their `org_id`. All of them for every organisation."""
        return rows if self.org_id is None else rows.filter(org_id=self.org_id)

    def narrow(self, rows: QuerySet[M], **columns: str) -> QuerySet[M]:
        """The organisation's rows, narrowed by the columns given for `node`, `model`, `day` and `line`."""
        wanted: tuple[tuple[str, str, object], ...] = (
            ("node", "", self.node_id),
            ("model", "", self.model),
            ("day", "__gte", self.first),
            ("day", "__lte", self.last),
            ("line", "", self.line_id),
        )
        conditions = {
            columns[part] + lookup: value
            for part, lookup, value in wanted
            if part in columns and value is not None
        }
        return self.own(rows).filter(**conditions)

    @property
    def to_date(self) -> bool:
        """Whether it covers all days and models."""
        return self.first is None and self.last is None and self.model is None and self.line_id is None


def scope_for(
    user: object,
    *,
    org: Org | None = None,
    node_id: str | None = None,
    model: str | None = None,
    first: date | None = None,
    last: date | None = None,
) -> Scope:
    """What this person may see of it: an operator their own organisation, an admin any or all.

    Raises NotYours for everybody else, and for an operator who asks for another organisation. A node of
    another organisation is not refused: it has no earnings in the scope, like a node that does not exist.
    """
    if not isinstance(user, User) or not allowed(user, Permission.VIEW_EARNINGS):
        raise NotYours
    if user.role != Role.ADMIN:
        if user.org_id is None or (org is not None and org.pk != user.org_id):
            raise NotYours
        org_id: uuid.UUID | None = user.org_id
    else:
        org_id = org.pk if org is not None else None
    return Scope(org_id, node_id or None, normal_model(model) if model else None, first, last)
