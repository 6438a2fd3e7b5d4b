from django.db import migrations, models


class Migration(migrations.Migration):
    """Incidents from before they had a start began when they were written."""

    dependencies = [("overview", "0002_incidents_and_hours")]

    operations = [
        migrations.RunSQL("UPDATE overview_incident SET starts_at = created_at", migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("resolved_at__isnull", True),
                    ("resolved_at__gte", models.F("starts_at")),
                    _connector="OR",
                ),
                name="incident_resolved_after_start",
                violation_error_message="An incident cannot be resolved before it began.",
            ),
        ),
    ]
