"""Whether nodes are reachable, what the console asks them itself, and where validators ask from."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import nodes.models.network


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_user_time_zone"),
        ("nodes", "0023_install_codes"),
    ]

    operations = [
        migrations.CreateModel(
            name="Challenge",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("health", "Health"), ("audit", "Audit"), ("proof", "Proof")], max_length=8
                    ),
                ),
                ("nonce", models.CharField(max_length=32, unique=True)),
                ("prompt", models.TextField(blank=True, help_text="the console's own", max_length=2000)),
                (
                    "request_id",
                    models.CharField(blank=True, help_text="of the receipt that it asks for", max_length=128),
                ),
                ("asked_for_by", models.CharField(blank=True, max_length=254)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("asked_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField()),
                ("settled_at", models.DateTimeField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("passed", "Passed"),
                            ("failed", "Failed"),
                            ("expired", "Not answered"),
                            ("void", "Void"),
                        ],
                        default="open",
                        max_length=12,
                    ),
                ),
                (
                    "fault",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("bad_answer", "Wrong answer"),
                            ("bad_signature", "Wrong signature"),
                            ("wrong_output", "Wrong output"),
                            ("unreachable", "Unreachable"),
                            ("timeout", "Timed out"),
                            ("refused", "Connection refused"),
                            ("bad_status", "Unexpected status"),
                            ("too_slow", "Too slow"),
                            ("validator", "Validator's own trouble"),
                        ],
                        max_length=16,
                    ),
                ),
                ("answer_ms", models.FloatField(null=True)),
                ("output_hash", models.CharField(blank=True, max_length=80)),
                ("tokens_output", models.PositiveIntegerField(null=True)),
                ("first_token_ms", models.FloatField(null=True)),
            ],
            options={
                "ordering": ["-created_at"],
            },
        ),
        migrations.AddField(
            model_name="node",
            name="challenge_audited_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="node",
            name="challenge_passed_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="node",
            name="challenged_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="node",
            name="proof_waiting",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="node",
            name="reachable",
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name="node",
            name="reachable_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="validator",
            name="networks",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=nodes.models.network.NetworkField(),
                blank=True,
                db_default=models.Value(
                    [],
                    output_field=django.contrib.postgres.fields.ArrayField(
                        base_field=nodes.models.network.NetworkField(), size=None
                    ),
                ),
                default=list,
                help_text="the addresses that it asks nodes from, such as 192.0.2.7/32, published for operators' firewalls",
                size=64,
            ),
        ),
        migrations.AlterField(
            model_name="probe",
            name="validator",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="probes",
                to="nodes.validator",
            ),
        ),
        migrations.AddConstraint(
            model_name="node",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("reachable__isnull", True), ("reachable_since__isnull", True)),
                    models.Q(("reachable__isnull", False), ("reachable_since__isnull", False)),
                    _connector="OR",
                ),
                name="node_reachable_since_a_moment",
            ),
        ),
        migrations.AddField(
            model_name="challenge",
            name="node",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="challenges",
                to="nodes.node",
            ),
        ),
        migrations.AddField(
            model_name="challenge",
            name="probe",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="challenge",
                to="nodes.probe",
            ),
        ),
        migrations.AddIndex(
            model_name="challenge",
            index=models.Index(fields=["node", "-created_at"], name="challenge_by_node"),
        ),
        migrations.AddIndex(
            model_name="challenge",
            index=models.Index(fields=["created_at"], name="challenge_age"),
        ),
        migrations.AddIndex(
            model_name="challenge",
            index=models.Index(
                condition=models.Q(("outcome", "open")), fields=["expires_at"], name="challenge_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="challenge",
            constraint=models.UniqueConstraint(
                condition=models.Q(("outcome", "open")), fields=("node", "kind"), name="challenge_one_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="challenge",
            constraint=models.UniqueConstraint(
                condition=models.Q(("request_id", ""), _negated=True),
                fields=("node", "request_id"),
                name="challenge_request_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="challenge",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["health", "audit", "proof"])), name="challenge_kind_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="challenge",
            constraint=models.CheckConstraint(
                condition=models.Q(("outcome__in", ["open", "passed", "failed", "expired", "void"])),
                name="challenge_outcome_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="challenge",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("outcome", "open"), ("settled_at__isnull", True)),
                    models.Q(models.Q(("outcome", "open"), _negated=True), ("settled_at__isnull", False)),
                    _connector="OR",
                ),
                name="challenge_settled_at_a_moment",
            ),
        ),
        migrations.AddConstraint(
            model_name="challenge",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("outcome", "passed"), _negated=True),
                    models.Q(("answer_ms__isnull", False), ("asked_at__isnull", False), ("fault", "")),
                    _connector="OR",
                ),
                name="challenge_passed_was_asked",
            ),
        ),
    ]
