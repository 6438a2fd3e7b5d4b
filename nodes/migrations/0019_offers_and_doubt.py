"""Tables and columns for what earnings judge by: when a node offered a model, and from when on it is in doubt.

`doubtful_from` is null until the next migration has filled it.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("nodes", "0018_clean_names")]

    operations = [
        migrations.CreateModel(
            name="NodeOffer",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "model",
                    models.CharField(
                        help_text="in the form in which models are compared",
                        max_length=128,
                    ),
                ),
                ("offered_from", models.DateTimeField()),
                ("offered_until", models.DateTimeField(null=True)),
                (
                    "node",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="offers", to="nodes.node"
                    ),
                ),
            ],
            options={"ordering": ["-id"]},
        ),
        migrations.AddIndex(
            model_name="nodeoffer",
            index=models.Index(fields=["node", "model", "offered_from"], name="offer_by_node_model"),
        ),
        migrations.AddConstraint(
            model_name="nodeoffer",
            constraint=models.UniqueConstraint(
                condition=models.Q(("offered_until__isnull", True)),
                fields=("node", "model"),
                name="offer_one_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="nodeoffer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("offered_until__isnull", True),
                    ("offered_until__gte", models.F("offered_from")),
                    _connector="OR",
                ),
                name="offer_ends_after_start",
            ),
        ),
        migrations.AddField(
            model_name="fraudfinding",
            name="doubtful_from",
            field=models.DateTimeField(help_text="what the node served from then on is in doubt", null=True),
        ),
    ]
