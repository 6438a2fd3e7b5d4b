"""The filters of the node list, of its export and of GET /v1/nodes."""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import F, Func, Q, TextField, Value

from jatevo.accounts.models import Org
from jatevo.wire.names import normal_model
from nodes.access.names import NodeNames
from nodes.list.facets import ATTENTION, NEED_ATTENTION, Facets, count_facets
from nodes.models import Node, NodeQuerySet, OffersModel, Runtime
from nodes.rules.lifecycle import Status
from nodes.rules.reachability import Reachability

STATUS_CHOICES = [*((status.value, status.label) for status in Status), (ATTENTION, "Needs attention")]
_RANGE = re.compile(r"([0-9]{1,3})-([0-9]{1,3})", re.ASCII)


class ReputationRangeField(forms.CharField):
    """A range such as 40-90: two whole numbers from 0 to 100, the lower one first."""

    def clean(self, value: Any) -> tuple[Decimal, Decimal] | None:
        text = super().clean(value)
        if not text:
            return None
        match = _RANGE.fullmatch(text)
        if match is None or not int(match[1]) <= int(match[2]) <= 100:
            raise ValidationError("Enter two numbers from 0 to 100, such as 40-90.")
        return Decimal(match[1]), Decimal(match[2])


class ReputationRangeFilter(django_filters.Filter):
    """Nodes whose reputation is known and within the range, both ends included."""

    field_class = ReputationRangeField

    def filter(self, qs: NodeQuerySet, value: tuple[Decimal, Decimal] | None) -> NodeQuerySet:
        return qs if value is None else qs.filter(reputation__range=value)


class NodeFilter(django_filters.FilterSet):
    """`q` (free text), `status`, `reachable`, `region`, `runtime`, `reputation_range` (40-90) and `mine` (1).

    The queryset must come from `NodeNames.annotated`, so that the search uses only names that the person may
    know. `org` is the organisation whose nodes are "mine". Without one, `mine` matches nothing.
    """

    # The page shows how many nodes each choice of these would leave. The other filters apply first.
    COUNTED: Final = ("status", "reachable", "region", "runtime", "mine")

    q = django_filters.CharFilter(method="search", label="Search", max_length=64)
    status = django_filters.ChoiceFilter(
        choices=STATUS_CHOICES, method="by_status", label="Status", empty_label="Any status"
    )
    reachable = django_filters.ChoiceFilter(
        choices=[(each.value, each.label) for each in Reachability],
        method="by_reachability",
        label="Reachable",
        empty_label="Either",
    )
    region = django_filters.CharFilter(label="Region", max_length=32)
    runtime = django_filters.ChoiceFilter(choices=Runtime.choices, label="Runtime", empty_label="Any runtime")
    reputation_range = ReputationRangeFilter(label="Reputation")
    mine = django_filters.ChoiceFilter(choices=[("1", "Mine")], method="by_owner", label="Mine")

    class Meta:
        model = Node
        fields = ("q", "status", "reachable", "region", "runtime", "reputation_range", "mine")

    def __init__(self, *args: Any, names: NodeNames, org: Org | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.names = names
        self.org = org

    def facets(self) -> Facets:
        """How many nodes each choice of the counted filters would leave, in one query.

        Nothing matches an invalid filter.
        """
        narrowing = [name for name in self.filters if name not in self.COUNTED]
        nodes = self._filtered(narrowing) if self.is_valid() else self.queryset.none()
        return count_facets(nodes, {name: self.data.get(name, "") for name in self.COUNTED}, org=self.org)

    def filter_queryset(self, queryset: NodeQuerySet) -> NodeQuerySet:
        """The nodes that match all filters."""
        return self._filtered(self.filters)

    def _filtered(self, names: Iterable[str]) -> NodeQuerySet:
        found: NodeQuerySet = self.queryset.all()
        for name in names:
            found = self.filters[name].filter(found, self.form.cleaned_data[name])
        return found

    def by_status(self, nodes: NodeQuerySet, name: str, status: str) -> NodeQuerySet:
        """Nodes of one status, or of the two statuses that need attention."""
        return nodes.filter(status__in=NEED_ATTENTION if status == ATTENTION else [status])

    def by_reachability(self, nodes: NodeQuerySet, name: str, wanted: str) -> NodeQuerySet:
        """Nodes that validators reach, do not reach, or have not tried to reach yet."""
        return nodes.filter(reachable=Reachability(wanted).stored) if wanted else nodes

    def by_owner(self, nodes: NodeQuerySet, name: str, mine: str) -> NodeQuerySet:
        """The nodes of `org`."""
        return nodes.filter(org=self.org) if self.org is not None else nodes.none()

    def search(self, nodes: NodeQuerySet, name: str, text: str) -> NodeQuerySet:
        """Nodes whose name, region, model or GPU matches; also ASN and organisation, if the person may know
        them.
        """
        wanted = (
            Q(shown_name__icontains=text)
            | Q(region__icontains=text)
            | Q(models_text__icontains=text)
            | Q(attestation__gpu_model__icontains=text)
        )
        if self.names.everything:
            wanted |= Q(asn_hint__icontains=text) | Q(org__name__icontains=text)
        if (model := normal_model(text)) != text.lower():  # `:latest` is the default tag
            wanted |= Q(OffersModel(F("models_offered"), Value(model)))
        models = Func(F("models_offered"), Value(" "), function="array_to_string", output_field=TextField())
        return nodes.alias(models_text=models).filter(wanted)
