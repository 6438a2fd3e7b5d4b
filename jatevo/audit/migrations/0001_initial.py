import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True),
                ),
                ("actor_kind", models.CharField(max_length=12)),
                ("actor_id", models.CharField(max_length=254)),
                ("org_id", models.UUIDField(db_index=True, null=True)),
                ("verb", models.CharField(max_length=48)),
                ("subject_kind", models.CharField(max_length=24)),
                ("subject_id", models.CharField(max_length=160)),
                ("reason", models.TextField(blank=True)),
                ("details", models.JSONField(default=dict)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                (
                    "actor_user",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["subject_kind", "subject_id", "-id"], name="audit_by_subject")
                ],
            },
        ),
    ]
