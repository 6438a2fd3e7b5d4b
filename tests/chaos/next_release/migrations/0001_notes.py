"""Additive first: columns that may be null. One table a migration, so that none is locked while waiting for the next."""

from django.db import migrations


class Migration(migrations.Migration):
    initial = True
    dependencies = [("receipts", "0013_export_counted_later")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE receipts_receipt ADD COLUMN note text",
            "ALTER TABLE receipts_receipt DROP COLUMN note",
        )
    ]
