"""Gateways, and what they say about which node they sent a request to."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

# Whatever a gateway says is queued for earnings, whoever writes it.
QUEUE = """
CREATE FUNCTION receipts_queue_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO receipts_unjudgedrequest (request_id) SELECT request_id FROM told ORDER BY request_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER dispatch_queued AFTER INSERT ON receipts_dispatch
    REFERENCING NEW TABLE AS told FOR EACH STATEMENT EXECUTE FUNCTION receipts_queue_request();
CREATE TRIGGER winner_queued AFTER INSERT ON receipts_dispatchwinner
    REFERENCING NEW TABLE AS told FOR EACH STATEMENT EXECUTE FUNCTION receipts_queue_request();
"""
NO_QUEUE = """
DROP TRIGGER dispatch_queued ON receipts_dispatch;
DROP TRIGGER winner_queued ON receipts_dispatchwinner;
DROP FUNCTION receipts_queue_request;
"""


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
        migrations.CreateModel(
            name="UnjudgedRequest",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("request_id", models.CharField(max_length=128)),
                ("told_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "ordering": ["id"],
                "indexes": [models.Index(fields=["request_id"], name="unjudged_request")],
            },
        ),
        migrations.RunSQL(QUEUE, NO_QUEUE),
    ]
