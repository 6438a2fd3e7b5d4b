"""Exports of receipts that the worker writes, as compressed parts."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("receipts", "0009_dispatches_of_a_node"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ReceiptExport",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("role", models.CharField(max_length=10)),
                ("org_id", models.UUIDField(null=True)),
                ("query", models.TextField()),
                ("file_format", models.CharField(max_length=5)),
                ("file_name", models.CharField(max_length=120)),
                ("zone", models.CharField(max_length=64)),
                ("expected_rows", models.BigIntegerField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "state",
                    models.CharField(
                        choices=[("writing", "Writing"), ("ready", "Ready"), ("failed", "Failed")],
                        default="writing",
                        max_length=7,
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True)),
                ("problem", models.CharField(blank=True, max_length=200)),
                ("rows", models.BigIntegerField(default=0)),
                ("size_bytes", models.BigIntegerField(default=0)),
                ("parts_written", models.IntegerField(default=0)),
                ("last_accepted_at", models.DateTimeField(null=True)),
                ("last_id", models.BigIntegerField(null=True)),
                ("tried_at", models.DateTimeField(null=True)),
                ("failures", models.SmallIntegerField(default=0)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="receipt_exports",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
            },
        ),
        migrations.CreateModel(
            name="ReceiptExportPart",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("first_byte", models.BigIntegerField()),
                ("size_bytes", models.IntegerField()),
                ("data", models.BinaryField()),
                (
                    "nodes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64), size=None
                    ),
                ),
                (
                    "export",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="parts",
                        to="receipts.receiptexport",
                    ),
                ),
            ],
            options={
                "ordering": ["export", "number"],
            },
        ),
        migrations.AddConstraint(
            model_name="receiptexport",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "writing")),
                fields=("user",),
                name="receipt_export_one_at_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="receiptexport",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["writing", "ready", "failed"])),
                name="receipt_export_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="receiptexport",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at__isnull", True), ("state", "writing")),
                    models.Q(models.Q(("state", "writing"), _negated=True), ("ended_at__isnull", False)),
                    _connector="OR",
                ),
                name="receipt_export_has_its_end",
            ),
        ),
        migrations.AddConstraint(
            model_name="receiptexportpart",
            constraint=models.UniqueConstraint(fields=("export", "number"), name="receipt_export_part_once"),
        ),
        # the parts are compressed already, so PostgreSQL need not try
        migrations.RunSQL(
            "ALTER TABLE receipts_receiptexportpart ALTER COLUMN data SET STORAGE EXTERNAL",
            migrations.RunSQL.noop,
        ),
    ]
