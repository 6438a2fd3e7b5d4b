"""Not only forged receipts are kept as evidence, but all that a node posted and that were refused."""

import django.db.models.deletion
from django.db import migrations, models

REASONS = [
    ("invalid_signature", "Forged"),
    ("receipt_conflict", "Conflict"),
    ("node_mismatch", "Wrong node"),
    ("invalid_request", "Invalid fields"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("nodes", "0001_initial"),
        ("receipts", "0007_gateway_networks"),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.RenameModel("ForgedReceipt", "RefusedReceipt"),
        migrations.AlterModelOptions("refusedreceipt", {"ordering": ["-received_at", "-id"]}),
        migrations.AlterField(
            "refusedreceipt",
            "node",
            models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="refused_receipts",
                to="nodes.node",
            ),
        ),
        migrations.AddField("refusedreceipt", "org_id", models.UUIDField(null=True)),
        migrations.AddField(
            "refusedreceipt",
            "reason",
            models.CharField(choices=REASONS, default="invalid_signature", max_length=32),
            preserve_default=False,
        ),
        migrations.AddField("refusedreceipt", "size_bytes", models.PositiveIntegerField(null=True)),
        migrations.AlterField("refusedreceipt", "request_id", models.CharField(blank=True, max_length=128)),
        migrations.AlterField("refusedreceipt", "public_key", models.BinaryField(max_length=32, null=True)),
        migrations.AlterField("refusedreceipt", "detail", models.CharField(max_length=1000)),
        migrations.RemoveConstraint("refusedreceipt", "forged_receipt_once"),
        migrations.AddConstraint(
            "refusedreceipt",
            models.UniqueConstraint(fields=["node", "reason", "sha256"], name="refused_receipt_once"),
        ),
        migrations.AddConstraint(
            "refusedreceipt",
            models.CheckConstraint(
                condition=models.Q(reason__in=[reason for reason, _ in REASONS]),
                name="refused_receipt_reason_known",
            ),
        ),
        migrations.AddIndex(
            "refusedreceipt", models.Index(fields=["received_at", "id"], name="refused_receipt_by_time")
        ),
        migrations.AddIndex(
            "refusedreceipt",
            models.Index(fields=["node", "received_at", "id"], name="refused_receipt_by_node"),
        ),
        migrations.CreateModel(
            name="UnkeptRefusals",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "node_id",
                        "org_id",
                        "day",
                        "reason",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("node_id", models.CharField(max_length=64)),
                ("org_id", models.UUIDField()),
                ("day", models.DateField()),
                ("reason", models.CharField(choices=REASONS, max_length=32)),
                ("count", models.BigIntegerField()),
            ],
            options={
                "ordering": ["-day", "node_id", "reason"],
                "indexes": [models.Index(fields=["day"], name="unkept_refusals_by_day")],
            },
        ),
    ]
