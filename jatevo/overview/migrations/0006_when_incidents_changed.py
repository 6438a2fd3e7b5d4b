from django.db import migrations


class Migration(migrations.Migration):
    """Incidents from before they knew when they changed: when they were written, or the last thing was said."""

    dependencies = [("overview", "0005_incidents_change")]

    operations = [
        migrations.RunSQL(
            """
            UPDATE overview_incident SET changed_at = GREATEST(
                created_at,
                (SELECT max(at) FROM overview_incidentupdate WHERE incident_id = overview_incident.id)
            )
            """,
            migrations.RunSQL.noop,
        ),
    ]
