"""Whether the history of a node's offers is behind its models."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("nodes", "0021_doubt_is_known")]

    operations = [
        migrations.AddIndex(
            model_name="nodeoffer",
            index=models.Index(fields=["node", "offered_until"], name="offer_by_end"),
        ),
        migrations.AddField(
            model_name="node",
            name="offers_behind",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
