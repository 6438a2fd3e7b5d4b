"""What is held of an organisation, by cause, without reading everybody's."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("earnings", "0005_statements")]
    operations = [
        migrations.AddIndex(
            model_name="helditem",
            index=models.Index(fields=["org", "rule", "cause"], name="held_item_by_org"),
        ),
    ]
