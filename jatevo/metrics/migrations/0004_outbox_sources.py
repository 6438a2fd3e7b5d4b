"""Outbox rows may name the row that their fact is read from, in place of a body. Receipts do."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metrics", "0003_receipt_search")]

    operations = [
        migrations.AddField("outbox", "source_at", models.DateTimeField(null=True)),
        migrations.AddField("outbox", "source_id", models.BigIntegerField(null=True)),
        AddConstraintNotValid(
            "outbox",
            models.CheckConstraint(
                condition=models.Q(source_id=None, source_at=None)
                | models.Q(source_id__isnull=False, source_at__isnull=False),
                name="metrics_outbox_source_whole",
            ),
        ),
    ]
