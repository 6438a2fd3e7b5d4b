"""The field for amounts of money."""

from decimal import Decimal

from django.db import models
from django.db.models.fields import NOT_PROVIDED

DECIMAL_PLACES = 16  # tokens (0) times a rate (6) per million (6), times a discount (4): exact


def usd(
    *, default: int | type[NOT_PROVIDED] = NOT_PROVIDED, db_default: int | type[NOT_PROVIDED] = NOT_PROVIDED
) -> "models.DecimalField[Decimal, Decimal]":
    """US dollars with all digits of a fee."""
    return models.DecimalField(
        max_digits=40, decimal_places=DECIMAL_PLACES, default=default, db_default=db_default
    )
