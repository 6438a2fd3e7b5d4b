"""Receipts record their node's status at `ts_end` too, by which earnings judge. Earlier ones leave it unknown."""

from django.db import migrations, models

ADD = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE receipts_receipt ADD COLUMN node_status_at_end varchar(12);
"""


class Migration(migrations.Migration):
    dependencies = [("receipts", "0002_receipts"), ("nodes", "0014_marks_and_findings_so_far")]
    operations = [
        # in SQL, because the table is partitioned: the column comes to all partitions at once, without a rewrite
        migrations.RunSQL(
            ADD,
            "ALTER TABLE receipts_receipt DROP COLUMN node_status_at_end",
            state_operations=[
                migrations.AddField(
                    model_name="receipt",
                    name="node_status_at_end",
                    field=models.CharField(max_length=12, null=True),
                )
            ],
        ),
    ]
