"""An index on failed audits, the one kind of probe that is looked for within exempt times.

Concurrently, so that validators go on posting meanwhile.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("nodes", "0007_first_heard")]
    operations = [
        AddIndexConcurrently(
            model_name="probe",
            index=models.Index(
                condition=models.Q(("kind", "audit"), ("ok", False)),
                fields=["node", "received_at"],
                name="probe_failed_audits",
            ),
        ),
    ]
