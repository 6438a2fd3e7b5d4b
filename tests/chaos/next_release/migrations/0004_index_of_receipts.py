"""The index of the partitioned table takes over those of the partitions, and builds none."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("next_release", "0003_index_of_partitions")]
    operations = [
        migrations.RunSQL(
            "CREATE INDEX receipts_receipt_by_model ON receipts_receipt (model_id, ts_end)",
            "DROP INDEX receipts_receipt_by_model",
        )
    ]
