"""The rows that are there keep to the constraint of 0004."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("metrics", "0004_outbox_sources")]

    operations = [ValidateConstraint("outbox", "metrics_outbox_source_whole")]
