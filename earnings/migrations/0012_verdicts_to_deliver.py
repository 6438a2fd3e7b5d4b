"""Verdicts are noted for the search of receipts, by the database, so that no writer can forget it."""

import django.contrib.postgres.fields
import django.db.models.functions.datetime
from django.db import migrations, models

TRIGGER = """
SET LOCAL lock_timeout = '5s';
CREATE FUNCTION earnings_note_verdicts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO earnings_verdictstodeliver (first_id, last_id, days)
    SELECT min(id), max(id), array_agg(DISTINCT day) FROM added GROUP BY id / 5000 ORDER BY min(id);
    RETURN NULL;
END
$$;
CREATE TRIGGER verdicts_to_deliver AFTER INSERT ON earnings_verdict
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION earnings_note_verdicts();
"""
REMOVE = """
DROP TRIGGER verdicts_to_deliver ON earnings_verdict;
DROP FUNCTION earnings_note_verdicts();
"""


class Migration(migrations.Migration):
    dependencies = [("earnings", "0011_held_totals")]

    operations = [
        migrations.CreateModel(
            name="VerdictsToDeliver",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("first_id", models.BigIntegerField()),
                ("last_id", models.BigIntegerField()),
                (
                    "days",
                    django.contrib.postgres.fields.ArrayField(base_field=models.DateField(), size=None),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={"ordering": ["id"]},
        ),
        migrations.RunSQL(TRIGGER, REMOVE),
    ]
