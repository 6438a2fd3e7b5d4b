"""Receipts that no rate prices are noted in the queue, so that nothing looks at each of them again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("receipts", "0013_export_counted_later")]
    operations = [
        migrations.AddField(
            model_name="unjudgedreceipt", name="unpriced", field=models.BooleanField(db_default=False)
        ),
    ]
