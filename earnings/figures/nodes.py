"""Earnings to date of many nodes at once, in the database, so that a list of ten thousand can sort by them."""

from decimal import Decimal

from django.db.models import Case, DecimalField, Exists, Expression, OuterRef, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce

from earnings.figures.scope import NotYours, scope_for
from earnings.models import NodeTotal, Rate
from earnings.models.amounts import DECIMAL_PLACES


def earnings_to_date(reader: object) -> Expression | None:
    """The fees of a node since its first receipt, to annotate nodes with. It equals `sums` of the node's scope.

    Null while no rate is set. None for somebody who may see no earnings. An operator gets what a node earned for
    their own organisation.
    """
    try:
        scope = scope_for(reader)
    except NotYours:
        return None
    totals = scope.own(NodeTotal.objects.filter(node=OuterRef("pk")))
    field = DecimalField(max_digits=40, decimal_places=DECIMAL_PLACES)
    fees = Subquery(totals.order_by().values("node").annotate(fees=Sum("payable_usd")).values("fees"))
    known = Coalesce(fees, Value(Decimal(0)), output_field=field)
    return Case(When(Exists(Rate.objects.all()), then=known), default=None, output_field=field)
