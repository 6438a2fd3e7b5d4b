"""An index on the beginnings of outages, for finding those that coincide.

Concurrently, so that heartbeats and probes go on recording transitions meanwhile.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("nodes", "0003_standing_reputation_sharing")]
    operations = [
        AddIndexConcurrently(
            model_name="nodetransition",
            index=models.Index(
                condition=models.Q(to_status="offline"), fields=["at"], name="transition_offline_by_time"
            ),
        ),
    ]
