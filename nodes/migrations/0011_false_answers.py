"""False answers are looked for by their fault. Concurrently, so that validators go on posting meanwhile."""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

FAULTS = [
    "bad_answer", "bad_signature", "wrong_output", "unreachable", "timeout", "refused", "bad_status", "too_slow",
    "validator",
]  # fmt: skip


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("nodes", "0010_fault_of_detail")]
    operations = [
        migrations.AddConstraint(
            model_name="probe",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("fault", ""), models.Q(("fault__in", FAULTS), ("ok", False)), _connector="OR"
                ),
                name="probe_fault_known",
            ),
        ),
        AddIndexConcurrently(
            model_name="probe",
            index=models.Index(
                condition=models.Q(("fault__in", FAULTS[:3])),
                fields=["node", "received_at"],
                name="probe_false_answers",
            ),
        ),
        RemoveIndexConcurrently(model_name="probe", name="probe_failed_audits"),
    ]
