"""Every finding says from when on it doubts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("nodes", "0020_offers_and_doubt_so_far")]

    operations = [
        migrations.AlterField(
            model_name="fraudfinding",
            name="doubtful_from",
            field=models.DateTimeField(help_text="what the node served from then on is in doubt"),
        ),
        migrations.AddConstraint(
            model_name="fraudfinding",
            constraint=models.CheckConstraint(
                condition=models.Q(("doubtful_from__lte", models.F("opened_at"))),
                name="fraud_finding_doubt_before_opening",
            ),
        ),
    ]
