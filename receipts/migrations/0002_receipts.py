"""The partitioned table of receipts, which Django's schema editor cannot make."""

import django.db.models.deletion
from django.db import migrations, models

TABLE = """
CREATE SEQUENCE receipts_receipt_id_seq;
CREATE TABLE receipts_receipt (
    id bigint NOT NULL DEFAULT nextval('receipts_receipt_id_seq'),
    accepted_at timestamptz NOT NULL,
    node_id varchar(64) NOT NULL,
    request_id varchar(128) NOT NULL,
    region varchar(32) NOT NULL,
    model_id varchar(128) NOT NULL,
    ts_start timestamptz NOT NULL,
    ts_end timestamptz NOT NULL,
    tokens_input bigint NOT NULL CHECK (tokens_input >= 0),
    tokens_output bigint NOT NULL CHECK (tokens_output >= 0),
    p95_ms double precision NOT NULL CHECK (p95_ms >= 0),
    hedged boolean NOT NULL,
    cache_hit boolean NOT NULL,
    failed boolean NOT NULL,
    payable boolean NOT NULL,
    node_status varchar(12) NOT NULL,
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
    raw bytea NOT NULL,
    payload jsonb NOT NULL,
    CONSTRAINT receipt_ends_after_start CHECK (ts_end >= ts_start),
    CONSTRAINT receipt_payable_was_active CHECK (NOT payable OR node_status = 'active'),
    PRIMARY KEY (accepted_at, id)
) PARTITION BY RANGE (accepted_at);
ALTER SEQUENCE receipts_receipt_id_seq OWNED BY receipts_receipt.id;
CREATE INDEX receipts_receipt_node ON receipts_receipt (node_id, accepted_at DESC, id DESC);
CREATE INDEX receipts_receipt_request ON receipts_receipt (request_id text_pattern_ops);
CREATE TABLE receipts_receipt_default PARTITION OF receipts_receipt DEFAULT;
"""


def first_partitions(apps, schema_editor):
    from django.utils import timezone

    from receipts.partitions import ensure_partitions

    ensure_partitions(at=timezone.now())


class Migration(migrations.Migration):
    dependencies = [("receipts", "0001_initial"), ("metrics", "0001_outbox")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLE, "DROP TABLE receipts_receipt")],
            state_operations=[
                migrations.CreateModel(
                    name="Receipt",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "accepted_at",
                                "id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("id", models.BigIntegerField()),
                        ("accepted_at", models.DateTimeField()),
                        (
                            "node",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="receipts",
                                to="nodes.node",
                            ),
                        ),
                        ("request_id", models.CharField(max_length=128)),
                        ("region", models.CharField(max_length=32)),
                        ("model_id", models.CharField(max_length=128)),
                        ("ts_start", models.DateTimeField()),
                        ("ts_end", models.DateTimeField()),
                        ("tokens_input", models.BigIntegerField()),
                        ("tokens_output", models.BigIntegerField()),
                        ("p95_ms", models.FloatField()),
                        ("hedged", models.BooleanField()),
                        ("cache_hit", models.BooleanField()),
                        ("failed", models.BooleanField()),
                        ("payable", models.BooleanField()),
                        ("node_status", models.CharField(max_length=12)),
                        ("public_key", models.BinaryField(max_length=32)),
                        ("sha256", models.BinaryField(max_length=32)),
                        ("raw", models.BinaryField()),
                        ("payload", models.JSONField()),
                    ],
                    options={"ordering": ["-accepted_at", "-id"]},
                ),
            ],
        ),
        migrations.RunPython(first_partitions, migrations.RunPython.noop),
    ]
