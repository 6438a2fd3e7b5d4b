"""Held receipts, grouped by node and cause, each group with the numbers of one example."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Count, Max, Min, QuerySet, Sum
from django.urls import reverse

from earnings.figures.verdicts import newest_verdicts, sentence_of
from earnings.models import HeldItem
from earnings.review.forms import REVIEWED, REVIEWED_RULES, ReviewFilter
from earnings.rules.verdicts import Cause, PayRule
from jatevo.accounts.models import Org


@dataclass(frozen=True)
class HeldGroup:
    """What of a node is held for one cause. `example` says what the rule found about the first of them."""

    node_id: str
    org_id: UUID
    org_name: str
    rule: PayRule
    cause: Cause
    receipts: int
    fees_usd: Decimal
    since: datetime
    first_day: date
    last_day: date
    example_request: str
    example: str

    @property
    def key(self) -> str:
        """As a value of a form."""
        return f"{self.node_id}|{self.org_id}|{self.cause}"

    @property
    def receipts_url(self) -> str:
        """The page of the receipts behind it."""
        query = {
            "org": self.org_id,
            "node": self.node_id,
            "state": "held",
            "cause": self.cause.value,
            "from": self.first_day.isoformat(),
            "to": self.last_day.isoformat(),
        }
        return f"{reverse('earnings:receipts')}?{urlencode(query)}"


def held_rows(filters: ReviewFilter | None = None) -> QuerySet[HeldItem]:
    """What the queue is about: held items that are neither disputed nor held by a finding of fraud."""
    # the rules name the rows' index; disputes, which may be most of what is held, are not read
    rows = HeldItem.objects.filter(rule__in=REVIEWED_RULES, cause__in=REVIEWED).order_by()
    if filters is None or filters.problems:
        return rows
    wanted = filters.cleaned_data
    if wanted["q"]:
        rows = rows.filter(node__id__contains=wanted["q"].lower())
    if wanted["org"]:
        rows = rows.filter(org=wanted["org"])
    if wanted["cause"]:
        rows = rows.filter(cause=wanted["cause"])
    return rows


def group_rows(rows: QuerySet[HeldItem]) -> QuerySet[Any, Any]:
    """One row for each group, the largest amount first."""
    return (
        rows.values("node_id", "org_id", "rule", "cause")
        .annotate(
            receipts=Count("*"),
            fees=Sum("fee_usd"),
            first=Min("since"),
            first_day=Min("day"),
            last_day=Max("day"),
            example=Min("receipt_id"),
        )
        .order_by("-fees", "node_id", "cause")
    )


def with_examples(rows: Sequence[Mapping[str, Any]]) -> list[HeldGroup]:
    """The groups of a page, with their examples and the names of their organisations. Three queries."""
    names = dict(Org.objects.filter(pk__in={row["org_id"] for row in rows}).values_list("pk", "name"))
    examples = _examples(rows)
    return [
        HeldGroup(
            node_id=row["node_id"],
            org_id=row["org_id"],
            org_name=names.get(row["org_id"], ""),
            rule=PayRule(row["rule"]),
            cause=Cause(row["cause"]),
            receipts=row["receipts"],
            fees_usd=row["fees"],
            since=row["first"],
            first_day=row["first_day"],
            last_day=row["last_day"],
            example_request=examples[row["example"]][0],
            example=examples[row["example"]][1],
        )
        for row in rows
        if row["example"] in examples
    ]


def chosen_rows(keys: Iterable[str], *, until: datetime) -> list[tuple[str, QuerySet[HeldItem]]]:
    """The held items of each of these groups that were held by then, with the group's key."""
    found = []
    for key in dict.fromkeys(keys):
        node_id, org_id, cause = [*key.split("|"), "", ""][:3]
        if cause not in REVIEWED or not _is_uuid(org_id) or "\x00" in node_id:
            continue
        found.append(
            (key, HeldItem.objects.filter(node_id=node_id, org_id=org_id, cause=cause, since__lte=until))
        )
    return found


def _examples(rows: Sequence[Mapping[str, Any]]) -> dict[int, tuple[str, str]]:
    """For each example: its request, and what the rule found about it."""
    held = {
        each.receipt_id: each for each in HeldItem.objects.filter(pk__in=[row["example"] for row in rows])
    }
    verdicts = newest_verdicts((each.day, each.receipt_id) for each in held.values())
    return {key: (held[key].request_id, sentence_of(verdict)) for key, verdict in verdicts.items()}


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
