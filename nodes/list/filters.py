"""The filters of the node list, for the page, its export and GET /v1/nodes alike."""

import re
from decimal import Decimal
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import F, Func, Q, TextField, Value

from nodes.access.names import NodeNames
from nodes.models import Node, NodeQuerySet, Runtime
from nodes.rules.lifecycle import Status

STATUS_CHOICES = [(status.value, status.label) for status in Status]
_RANGE = re.compile(r"([0-9]{1,3})-([0-9]{1,3})", re.ASCII)


class ReputationRangeField(forms.CharField):
    """Text such as 40-90: two whole numbers from 0 to 100, the lower one first."""

    def clean(self, value: Any) -> tuple[Decimal, Decimal] | None:
        text = super().clean(value)
        if not text:
            return None
        match = _RANGE.fullmatch(text)
        if match is None or not int(match[1]) <= int(match[2]) <= 100:
            raise ValidationError("Write two numbers from 0 to 100, as in 40-90.")
        return Decimal(match[1]), Decimal(match[2])


class ReputationRangeFilter(django_filters.Filter):
    """Nodes whose reputation is within the range, both ends included; unknown ones are not."""

    field_class = ReputationRangeField

    def filter(self, qs: NodeQuerySet, value: tuple[Decimal, Decimal] | None) -> NodeQuerySet:
        return qs if value is None else qs.filter(reputation__range=value)


class NodeFilter(django_filters.FilterSet):
    """`status`, `region`, `runtime`, `reputation_range` (40-90), and `q`: free text.

    The queryset must come from `NodeNames.annotated`: what a person may not know is not searched either.
    """

    q = django_filters.CharFilter(method="search", label="Search", max_length=64)
    status = django_filters.ChoiceFilter(choices=STATUS_CHOICES, label="Status", empty_label="Any status")
    region = django_filters.CharFilter(label="Region", max_length=32)
    runtime = django_filters.ChoiceFilter(choices=Runtime.choices, label="Runtime", empty_label="Any runtime")
    reputation_range = ReputationRangeFilter(label="Reputation")

    class Meta:
        model = Node
        fields = ("q", "status", "region", "runtime", "reputation_range")

    def __init__(self, *args: Any, names: NodeNames, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.names = names

    def search(self, nodes: NodeQuerySet, name: str, text: str) -> NodeQuerySet:
        """Part of the name, the region, a model or the GPU; for who knows them, of the ASN and the org."""
        wanted = (
            Q(shown_name__icontains=text)
            | Q(region__icontains=text)
            | Q(models_text__icontains=text)
            | Q(attestation__gpu_model__icontains=text)
        )
        if self.names.everything:
            wanted |= Q(asn_hint__icontains=text) | Q(org__name__icontains=text)
        models = Func(F("models_offered"), Value(" "), function="array_to_string", output_field=TextField())
        return nodes.alias(models_text=models).filter(wanted)
