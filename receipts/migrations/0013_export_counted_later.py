"""The rows of an export that take too long for a page are counted by the worker."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("receipts", "0012_views")]
    operations = [
        migrations.AlterField(
            model_name="receiptexport", name="expected_rows", field=models.BigIntegerField(null=True)
        ),
    ]
