from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("next_release", "0001_notes"), ("nodes", "0025_heartbeats_in_place")]
    operations = [
        migrations.RunSQL(
            "ALTER TABLE nodes_node ADD COLUMN note text", "ALTER TABLE nodes_node DROP COLUMN note"
        ),
    ]
