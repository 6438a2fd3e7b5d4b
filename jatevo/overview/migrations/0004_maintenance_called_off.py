from django.db import migrations, models


class Migration(migrations.Migration):
    """Maintenance may be resolved before it begins: then it was called off."""

    dependencies = [("overview", "0003_incidents_began")]

    operations = [
        migrations.RemoveConstraint(model_name="incident", name="incident_resolved_after_start"),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("resolved_at__isnull", True),
                    ("resolved_at__gte", models.F("starts_at")),
                    ("kind", "maintenance"),
                    _connector="OR",
                ),
                name="incident_resolved_after_start",
                violation_error_message="An incident cannot be resolved before it began.",
            ),
        ),
    ]
