"""Acceptance records facts, and earnings decide what is paid: new columns, and the queue of earnings.

The column `payable` and the table of claims stay for a release, because the processes of the last one still
write them; the column gets a default, and nothing reads either.
"""

from django.db import migrations, models

# In SQL, because the table is partitioned: the columns come to all partitions at once, without a rewrite.
ADD = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE receipts_receipt
    ADD COLUMN org_id uuid,
    ADD COLUMN concurrency smallint CHECK (concurrency >= 1),
    ADD COLUMN key_since timestamptz,
    ADD COLUMN key_until timestamptz,
    ALTER COLUMN payable SET DEFAULT false,
    DROP CONSTRAINT receipt_payable_was_active;
"""
REMOVE = """
ALTER TABLE receipts_receipt
    DROP COLUMN org_id,
    DROP COLUMN concurrency,
    DROP COLUMN key_since,
    DROP COLUMN key_until,
    ALTER COLUMN payable DROP DEFAULT,
    ADD CONSTRAINT receipt_payable_was_active CHECK (NOT payable OR node_status = 'active');
"""


class Migration(migrations.Migration):
    dependencies = [("receipts", "0003_status_at_end")]

    operations = [
        migrations.RunSQL(
            ADD,
            REMOVE,
            state_operations=[
                migrations.AddField("receipt", "org_id", models.UUIDField(null=True)),
                migrations.AddField("receipt", "concurrency", models.PositiveSmallIntegerField(null=True)),
                migrations.AddField("receipt", "key_since", models.DateTimeField(null=True)),
                migrations.AddField("receipt", "key_until", models.DateTimeField(null=True)),
                migrations.RemoveField("receipt", "payable"),
                migrations.DeleteModel("PayableClaim"),
            ],
        ),
        migrations.CreateModel(
            name="UnjudgedReceipt",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("accepted_at", models.DateTimeField()),
                ("node_id", models.CharField(max_length=64)),
                ("request_id", models.CharField(max_length=128)),
            ],
            options={"db_table": "receipts_unjudged", "ordering": ["id"]},
        ),
    ]
