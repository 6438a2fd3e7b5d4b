import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Outbox",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.TextField(
                        choices=[("receipt", "Receipt"), ("latency", "Latency"), ("uptime", "Uptime")]
                    ),
                ),
                ("body", models.JSONField(help_text="facts.py gives the members of each kind")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("batch", models.UUIDField(null=True)),
                ("claimed_at", models.DateTimeField(null=True)),
                ("poisoned", models.TextField(help_text="why this row could not be shipped", null=True)),
            ],
            options={
                "verbose_name": "outbox row",
                "indexes": [
                    models.Index(
                        condition=models.Q(("batch", None), ("poisoned", None)),
                        fields=["id"],
                        name="metrics_outbox_unclaimed",
                    ),
                    models.Index(
                        condition=models.Q(("batch__isnull", False), ("poisoned", None)),
                        fields=["batch"],
                        name="metrics_outbox_unfinished",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["receipt", "latency", "uptime"])),
                        name="metrics_outbox_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("batch", None), ("claimed_at", None)),
                            models.Q(("batch__isnull", False), ("claimed_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="metrics_outbox_claim_whole",
                    ),
                ],
            },
        ),
        # Every row is inserted, updated and deleted within seconds: vacuum by count, not by share of the table.
        migrations.RunSQL(
            "ALTER TABLE metrics_outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)",
            "ALTER TABLE metrics_outbox RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)",
        ),
    ]
