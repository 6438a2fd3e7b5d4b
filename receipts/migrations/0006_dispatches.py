"""Gateways, and what they say about which node they sent a request to."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("receipts", "0005_queue_so_far"),
    ]

    operations = [
        migrations.CreateModel(
            name="Gateway",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("token_version", models.PositiveIntegerField(default=1)),
                ("is_active", models.BooleanField(default=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("last_seen_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id__regex", "^[a-z0-9._-]{1,64}$")), name="gateway_id_wellformed"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DispatchWinner",
            fields=[
                ("request_id", models.CharField(max_length=128, primary_key=True, serialize=False)),
                ("node_id", models.CharField(max_length=64)),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("judged", models.BooleanField(db_default=False, default=False)),
                (
                    "gateway",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="winners",
                        db_index=False,
                        to="receipts.gateway",
                    ),
                ),
            ],
            options={
                "ordering": ["-received_at"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("judged", False)),
                        fields=["request_id"],
                        name="dispatch_winner_unjudged",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DispatchConflict",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("request_id", models.CharField(max_length=128)),
                ("node_id", models.CharField(blank=True, max_length=64)),
                ("before", models.JSONField(help_text="what was said first, and by which gateway")),
                ("now", models.JSONField(help_text="what this gateway says instead")),
                ("times", models.PositiveIntegerField(default=1)),
                ("received_at", models.DateTimeField()),
                (
                    "gateway",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="conflicts",
                        db_index=False,
                        to="receipts.gateway",
                    ),
                ),
            ],
            options={
                "ordering": ["-received_at"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("gateway", "request_id", "node_id"), name="dispatch_conflict_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Dispatch",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("request_id", models.CharField(max_length=128)),
                ("node_id", models.CharField(max_length=64)),
                (
                    "model",
                    models.CharField(help_text="in the form in which models are compared", max_length=128),
                ),
                ("model_id", models.CharField(help_text="as the gateway wrote it", max_length=128)),
                ("ts", models.DateTimeField(help_text="when it was sent, by the gateway's clock")),
                ("hedged", models.BooleanField(default=False)),
                ("tokens_input", models.BigIntegerField(null=True)),
                ("max_tokens", models.BigIntegerField(null=True)),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("judged", models.BooleanField(db_default=False, default=False)),
                (
                    "gateway",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="dispatches",
                        db_index=False,
                        to="receipts.gateway",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "dispatches",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("judged", False)), fields=["id"], name="dispatch_unjudged"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("request_id", "node_id"), name="dispatch_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("tokens_input__isnull", True), ("tokens_input__gte", 0), _connector="OR"
                        ),
                        name="dispatch_tokens_input_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("max_tokens__isnull", True), ("max_tokens__gte", 0), _connector="OR"
                        ),
                        name="dispatch_max_tokens_range",
                    ),
                ],
            },
        ),
    ]
