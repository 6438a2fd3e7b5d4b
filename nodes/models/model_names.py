"""Models compared in the database, in the form that `jatevo.wire.names.normal_model` gives in Python."""

from django.db import models

# lower() folds A to Z alone under the collation C, as Python's and ClickHouse's forms do
_NORMAL = r"""regexp_replace(lower(({name}) COLLATE "C"), '(.):latest$', '\1')"""


class NormalModel(models.Func):
    """The normal form of a model's name."""

    template = _NORMAL.format(name="%(expressions)s")
    arity = 1
    output_field = models.TextField()


class OffersModel(models.Func):
    """Whether an array of models' names (the first expression) holds a model, given in its normal form."""

    template = "EXISTS (SELECT FROM unnest(%(expressions)s))"
    arg_joiner = f") AS offered (name) WHERE {_NORMAL.format(name='offered.name')} = ("
    arity = 2
    output_field = models.BooleanField()
