"""What nodes say of themselves: concurrency, room for every name that the rule allows, and the changes of it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_user_time_zone"),
        ("nodes", "0016_enrollment_answers"),
    ]

    operations = [
        migrations.CreateModel(
            name="NodeChange",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("changes", models.JSONField()),
                ("hardware_changed", models.BooleanField(default=False)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="node",
            name="concurrency",
            field=models.PositiveSmallIntegerField(
                db_default=4, default=4, help_text="requests that it serves at once, as it says"
            ),
        ),
        migrations.AlterField(
            model_name="node",
            name="agent_version",
            field=models.CharField(blank=True, max_length=128),
        ),
        migrations.AlterField(
            model_name="nodeattestation",
            name="cuda_version",
            field=models.CharField(blank=True, max_length=128),
        ),
        migrations.AlterField(
            model_name="nodeattestation",
            name="driver_version",
            field=models.CharField(blank=True, max_length=128),
        ),
        migrations.AlterField(
            model_name="nodeattestation",
            name="gpu_model",
            field=models.CharField(blank=True, max_length=128),
        ),
        migrations.AddConstraint(
            model_name="node",
            constraint=models.CheckConstraint(
                condition=models.Q(("concurrency__range", (1, 1024))), name="node_concurrency_range"
            ),
        ),
        migrations.AddField(
            model_name="nodechange",
            name="node",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="changes", to="nodes.node"
            ),
        ),
        migrations.AddIndex(
            model_name="nodechange",
            index=models.Index(fields=["node", "-id"], name="change_by_node"),
        ),
    ]
