"""The query string of the node list, and URLs with some parameters changed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from django.urls import reverse

from nodes.access.names import NodeNames
from nodes.list.columns import Column, Sort, chosen_columns, ordered, parse_sort, with_earnings
from nodes.list.facets import Facets
from nodes.list.filters import NodeFilter
from nodes.models import Node, NodeQuerySet

FILTERS = ("q", "status", "reachable", "region", "runtime", "reputation_range", "mine")
KEPT = (*FILTERS, "sort", "columns")  # the parameters that saved views and the export use
COLUMNS_COOKIE = "node_columns"
_LATER_PAGE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True)
class AppliedFilter:
    """A filter in use: its label, and the URL without it."""

    label: str
    url: str


def canonical(query: QueryDict) -> QueryDict:
    """The query without parameters that have no effect, and with the two ends of the reputation as one range.

    The page is dropped if it is the first one or not a number.
    """
    clean = QueryDict(mutable=True)
    for name in (*KEPT, "page"):
        if value := query.get(name, "").strip():
            clean[name] = value
    if not _LATER_PAGE.fullmatch(clean.get("page", "")) or clean["page"] == "1":
        clean.pop("page", None)
    if "mine" in clean:
        mine = clean.pop("mine")[-1]
        if mine in ("1", "true"):
            clean["mine"] = "1"
    low, high = query.get("reputation_min", "").strip(), query.get("reputation_max", "").strip()
    if low or high:
        clean["reputation_range"] = f"{low or 0}-{high or 100}"
    elif "reputation_min" in query:
        clean.pop("reputation_range", None)
    if clean.get("reputation_range") == "0-100":
        del clean["reputation_range"]
    if columns := query.getlist("column"):
        clean["columns"] = ",".join(columns)
    return clean


def in_address(query: QueryDict) -> str:
    """The query string for the list's URL, with its question mark. Empty without parameters."""
    return f"?{query.urlencode(safe=',')}" if query else ""


class ListQuery:
    """The list that a person asked for. `problems` lists invalid parameters; with any, no node matches."""

    def __init__(self, query: QueryDict, user: Any, names: NodeNames, *, default_columns: str = "") -> None:
        self.query = canonical(query)
        self.names = names
        self.reader = user
        self.org = getattr(user, "org", None) if names.everything else None
        self.visible: NodeQuerySet = names.annotated(Node.objects.visible_to(user))
        self._filter = NodeFilter(self.query, queryset=self.visible, names=names, org=self.org)
        self.problems: dict[str, str] = {
            name: " ".join(map(str, texts)) for name, texts in self._filter.errors.items()
        }
        self.sort: Sort = parse_sort(self.query.get("sort", ""), user)
        self.columns: list[Column] = chosen_columns(self.query.get("columns", default_columns), user)

    @property
    def filtered(self) -> bool:
        return any(self.query.get(name) for name in FILTERS)

    @property
    def reputation(self) -> tuple[str, str]:
        """The two ends of the reputation range, as text for the form. '' for none."""
        low, _, high = self.query.get("reputation_range", "").partition("-")
        return low if low != "0" else "", high if high != "100" else ""

    def facets(self) -> Facets:
        """The counts of the filters' choices, in one query."""
        return self._filter.facets()

    def nodes(self) -> NodeQuerySet:
        """The matching nodes, in the order asked for."""
        found: NodeQuerySet = self.visible.none() if self.problems else self._filter.qs
        if self.sort.column.money:
            found = with_earnings(found, self.reader)
        return ordered(found, self.sort)

    def url(self, **changes: str | None) -> str:
        """The list's URL with some parameters changed, at the first page. '' or None removes a parameter."""
        return f"{reverse('nodes:list')}{self.suffix(**changes)}"

    def suffix(self, **changes: str | None) -> str:
        """The query string of `url`, with its question mark. Empty without parameters."""
        query = self.query.copy()
        query.pop("page", None)
        for name, value in changes.items():
            if value:
                query[name] = value
            else:
                query.pop(name, None)
        return in_address(query)

    def applied(self, labels: Mapping[str, str]) -> list[AppliedFilter]:
        """The filters in use. `labels` has the labels of chosen values, if they have any."""
        names = {"q": "", "status": "Status", "region": "Region", "runtime": "Runtime"}
        names |= {"reputation_range": "Reputation", "mine": "", "reachable": ""}
        found = []
        for name in FILTERS:
            value = self.query.get(name, "")
            if not value:
                continue
            words = {"q": f"“{value}”", "mine": "Mine"}.get(name, labels.get(name, value))
            text = f"{names[name]}: {words}" if names[name] else words
            found.append(AppliedFilter(text, self.url(**{name: None})))
        return found
