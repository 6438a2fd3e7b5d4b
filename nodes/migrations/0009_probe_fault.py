"""A failed probe says in a word what failed, and what it counts as is stored beside it."""

from django.db import migrations, models

FAULTS = [
    ("bad_answer", "Wrong answer"),
    ("bad_signature", "Wrong signature"),
    ("wrong_output", "Wrong output"),
    ("unreachable", "Unreachable"),
    ("timeout", "Timed out"),
    ("refused", "Connection refused"),
    ("bad_status", "Unexpected status"),
    ("too_slow", "Too slow"),
    ("validator", "Validator's own trouble"),
]


class Migration(migrations.Migration):
    dependencies = [("nodes", "0008_failed_audits")]
    operations = [
        migrations.AddField(
            "probe", "fault", models.CharField(blank=True, choices=FAULTS, db_default="", max_length=16)
        ),
        migrations.AddField(
            "probe", "counts_as", models.CharField(blank=True, db_default="", editable=False, max_length=8)
        ),
        migrations.AlterField(
            "probe",
            "detail",
            models.CharField(blank=True, help_text="for people; never judged", max_length=500),
        ),
    ]
