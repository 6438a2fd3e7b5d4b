"""How many requests a node was sent lately is looked up by node, without reading all dispatches."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("receipts", "0008_refused_receipts")]
    operations = [
        AddIndexConcurrently(
            model_name="dispatch",
            index=models.Index(fields=["node_id", "received_at"], name="dispatch_of_node"),
        ),
    ]
