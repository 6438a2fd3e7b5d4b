from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    """Incidents know when they changed, and exempt nodes unless staff say otherwise."""

    dependencies = [("overview", "0004_maintenance_called_off")]

    operations = [
        migrations.AddField(
            model_name="incident",
            name="changed_at",
            field=models.DateTimeField(db_default=Now(), editable=False),
        ),
        migrations.AlterField(
            model_name="incident",
            name="exempts_nodes",
            field=models.BooleanField(default=True, verbose_name="exempts nodes"),
        ),
        migrations.AlterField(
            model_name="incident",
            name="resolved_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="ended at"),
        ),
    ]
