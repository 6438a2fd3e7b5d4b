"""Comparing model names in the database, in the same form as `jatevo.wire.names.normal_model` in Python."""

from django.db import models

# Under the collation C, lower() changes only A to Z, as the forms in Python and ClickHouse do. A regular expression
# says the same and takes ten times as long, which the accrual of millions of receipts notices.
_NORMAL = """(SELECT CASE WHEN length(low) > 7 AND right(low, 7) = ':latest' THEN left(low, -7) ELSE low END
        FROM (SELECT lower(({name}) COLLATE "C") AS low) AS lowered)"""


def normal_model_sql(column: str) -> str:
    """SQL for the normal form of the model name in a column."""
    return _NORMAL.format(name=column)


class NormalModel(models.Func):
    """The normal form of a model name."""

    template = _NORMAL.format(name="%(expressions)s")
    arity = 1
    output_field = models.TextField()


class OffersModel(models.Func):
    """Whether an array of model names (the first expression) contains a model, given in its normal form."""

    template = "EXISTS (SELECT FROM unnest(%(expressions)s))"
    arg_joiner = f") AS offered (name) WHERE {_NORMAL.format(name='offered.name')} = ("
    arity = 2
    output_field = models.BooleanField()
