"""What reputations remember: when a node was first heard, what it was pardoned at, until when all is judged.

The constraint that goes could never fire: maintenance always has an end.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("nodes", "0005_outages_by_time")]
    operations = [
        migrations.CreateModel(
            name="PendingJudgement",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("region", models.CharField(blank=True, max_length=32)),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
            ],
            options={"ordering": ["id"]},
        ),
        migrations.CreateModel(
            name="ReputationClock",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("last_run_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="reputation_clock_one_row")
                ]
            },
        ),
        migrations.RemoveConstraint(model_name="exemption", name="exemption_one_open_maintenance"),
        migrations.AddField("node", "first_heard_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "node", "pardoned_reputation", models.DecimalField(decimal_places=2, max_digits=5, null=True)
        ),
        migrations.AddConstraint(
            model_name="node",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("pardoned_reputation__isnull", True),
                    ("pardoned_reputation__range", (0, 100)),
                    _connector="OR",
                ),
                name="node_pardoned_reputation_range",
            ),
        ),
    ]
