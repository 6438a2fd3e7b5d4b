"""Tables for findings of fraud, for what tells machines apart, and for the nodes that a finding concerns."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("nodes", "0012_key_of_one_node"),
    ]

    operations = [
        migrations.CreateModel(
            name="FraudFinding",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("cleared", "Cleared"), ("confirmed", "Confirmed")],
                        default="open",
                        max_length=10,
                    ),
                ),
                (
                    "cause",
                    models.CharField(
                        choices=[("receipt_forged", "Forged receipt"), ("admin", "Opened by an admin")],
                        max_length=16,
                    ),
                ),
                ("reason", models.TextField(blank=True, help_text="why an admin opened it")),
                ("evidence", models.JSONField(default=dict)),
                ("opened_at", models.DateTimeField()),
                ("opened_by", models.CharField(max_length=320)),
                ("decided_at", models.DateTimeField(null=True)),
                ("decided_by", models.CharField(blank=True, max_length=320)),
                ("decision", models.TextField(blank=True, help_text="why it was cleared or confirmed")),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="FraudRelation",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "ground",
                    models.CharField(
                        choices=[
                            ("hardware", "Same hardware hash"),
                            ("endpoint", "Same endpoint"),
                            ("org", "Registered by the same organisation after the fraud"),
                        ],
                        max_length=10,
                    ),
                ),
                ("value", models.CharField(blank=True, help_text="the mark that both have", max_length=300)),
                ("related_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("lifted_at", models.DateTimeField(null=True)),
                ("lifted_by", models.CharField(blank=True, max_length=320)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="NodeMark",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("hardware", "Hardware"), ("endpoint", "Endpoint")], max_length=10
                    ),
                ),
                ("value", models.CharField(max_length=300)),
                ("gained_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["node", "kind", "gained_at"],
            },
        ),
        migrations.AddField(
            model_name="fraudfinding",
            name="node",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="fraud_findings", to="nodes.node"
            ),
        ),
        migrations.AddField(
            model_name="fraudrelation",
            name="finding",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="relations", to="nodes.fraudfinding"
            ),
        ),
        migrations.AddField(
            model_name="fraudrelation",
            name="node",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="fraud_relations", to="nodes.node"
            ),
        ),
        migrations.AddField(
            model_name="nodemark",
            name="node",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="marks", to="nodes.node"
            ),
        ),
        migrations.AddIndex(
            model_name="fraudfinding",
            index=models.Index(fields=["node", "-id"], name="fraud_finding_by_node"),
        ),
        migrations.AddIndex(
            model_name="fraudfinding",
            index=models.Index(
                condition=models.Q(("state", "cleared"), _negated=True),
                fields=["state"],
                name="fraud_finding_binding",
            ),
        ),
        migrations.AddConstraint(
            model_name="fraudfinding",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")), fields=("node",), name="fraud_finding_one_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="fraudfinding",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["open", "cleared", "confirmed"])),
                name="fraud_finding_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="fraudfinding",
            constraint=models.CheckConstraint(
                condition=models.Q(("cause__in", ["receipt_forged", "admin"])),
                name="fraud_finding_cause_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="fraudfinding",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("decided_at__isnull", True), ("decided_by", ""), ("decision", ""), ("state", "open")
                    ),
                    models.Q(
                        models.Q(("state", "open"), _negated=True),
                        ("decided_at__isnull", False),
                        models.Q(("decided_by", ""), _negated=True),
                        models.Q(("decision", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="fraud_finding_decided_with_reason",
            ),
        ),
        migrations.AddIndex(
            model_name="fraudrelation",
            index=models.Index(fields=["node"], name="fraud_relation_by_node"),
        ),
        migrations.AddConstraint(
            model_name="fraudrelation",
            constraint=models.UniqueConstraint(
                fields=("finding", "node", "ground", "value"), name="fraud_relation_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="fraudrelation",
            constraint=models.CheckConstraint(
                condition=models.Q(("ground__in", ["hardware", "endpoint", "org"])),
                name="fraud_relation_ground_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="fraudrelation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ground", "org"), ("value", "")),
                    models.Q(
                        models.Q(("ground", "org"), _negated=True), models.Q(("value", ""), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="fraud_relation_says_what",
            ),
        ),
        migrations.AddIndex(
            model_name="nodemark",
            index=models.Index(fields=["kind", "value"], name="node_mark_by_value"),
        ),
        migrations.AddConstraint(
            model_name="nodemark",
            constraint=models.UniqueConstraint(fields=("node", "kind", "value"), name="node_mark_once"),
        ),
        migrations.AddConstraint(
            model_name="nodemark",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["hardware", "endpoint"])), name="node_mark_kind_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="nodemark",
            constraint=models.CheckConstraint(
                condition=models.Q(("value", ""), _negated=True), name="node_mark_tells_something"
            ),
        ),
    ]
