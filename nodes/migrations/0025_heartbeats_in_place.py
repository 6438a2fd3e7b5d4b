"""A heartbeat updates its node's row in place.

With an index on a column that each heartbeat changes, each would write a new entry into every index of the table.
The free part of each page takes the new version of a row; the old one is gone at the next visit.
"""

from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("nodes", "0024_reachability_and_challenges")]

    operations = [
        RemoveIndexConcurrently(model_name="node", name="node_overdue"),
        migrations.RunSQL(
            "ALTER TABLE nodes_node SET (fillfactor = 50)", "ALTER TABLE nodes_node RESET (fillfactor)"
        ),
    ]
