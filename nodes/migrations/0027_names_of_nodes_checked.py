"""The checks of the migration before hold for all rows."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("nodes", "0026_names_of_nodes")]

    operations = [
        ValidateConstraint(model_name="node", name="node_id_wellformed"),
        ValidateConstraint(model_name="node", name="node_region_wellformed"),
    ]
