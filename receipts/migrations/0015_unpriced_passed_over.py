"""Receipts that no rate prices are passed over, however many there are."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("receipts", "0014_unpriced")]
    operations = [
        AddIndexConcurrently(
            model_name="unjudgedreceipt",
            index=models.Index(fields=["id"], name="unjudged_priceable", condition=models.Q(unpriced=False)),
        ),
    ]
