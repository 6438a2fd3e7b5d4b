"""What PostgreSQL knows of ClickHouse's receipt_search: which filling it is, and what it lacks."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metrics", "0002_changed_hours")]

    operations = [
        migrations.CreateModel(
            name="ReceiptGap",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("first_at", models.DateTimeField()),
                ("until_at", models.DateTimeField()),
                ("until_id", models.BigIntegerField(default=0)),
                ("filled", models.BigIntegerField(default=0, help_text="receipts so far")),
                ("noted_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={"ordering": ["-until_at", "-until_id"]},
        ),
        migrations.CreateModel(
            name="SearchOrigin",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("origin", models.UUIDField()),
                ("noted_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="metrics_searchorigin_one")
                ]
            },
        ),
    ]
