"""The tables of earnings."""

import uuid

import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
from django.db import migrations, models

# Partitioned by month of `day`, which Django's schema editor cannot make.
ITEM = """
CREATE TABLE earnings_item (
    day date NOT NULL,
    receipt_id bigint NOT NULL,
    accepted_at timestamptz NOT NULL,
    node_id varchar(64) NOT NULL,
    org_id uuid NOT NULL,
    request_id varchar(128) NOT NULL,
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
    line_id bigint NOT NULL,
    model varchar(128) NOT NULL,
    ts_start timestamptz NOT NULL,
    ts_end timestamptz NOT NULL,
    tokens_input bigint NOT NULL CHECK (tokens_input >= 0),
    tokens_output bigint NOT NULL CHECK (tokens_output >= 0),
    failed boolean NOT NULL,
    hedged boolean NOT NULL,
    cache_hit boolean NOT NULL,
    rate_id bigint NOT NULL,
    fee_usd numeric(40, 16) NOT NULL CHECK (fee_usd >= 0),
    node_since timestamptz NOT NULL,
    key_since timestamptz,
    key_until timestamptz,
    in_service boolean NOT NULL,
    silent_only boolean NOT NULL,
    outage_seconds integer NOT NULL,
    offered boolean,
    concurrent integer NOT NULL,
    second_tokens bigint NOT NULL,
    concurrency integer NOT NULL,
    limit_output_per_second numeric(10, 2) NOT NULL,
    limit_context bigint NOT NULL,
    require_dispatch boolean NOT NULL,
    CONSTRAINT item_day_is_of_its_end CHECK (day = (ts_end AT TIME ZONE 'UTC')::date),
    PRIMARY KEY (day, receipt_id)
) PARTITION BY RANGE (day);
CREATE INDEX earnings_item_line ON earnings_item (line_id);
CREATE INDEX earnings_item_node ON earnings_item (node_id, ts_end);
CREATE INDEX earnings_item_request ON earnings_item (request_id);
"""

VERDICT = """
CREATE SEQUENCE earnings_verdict_id_seq;
CREATE TABLE earnings_verdict (
    day date NOT NULL,
    id bigint NOT NULL DEFAULT nextval('earnings_verdict_id_seq'),
    receipt_id bigint NOT NULL,
    at timestamptz NOT NULL,
    state varchar(8) NOT NULL CHECK (state IN ('payable', 'held', 'excluded')),
    rule varchar(20) NOT NULL,
    cause varchar(20) NOT NULL,
    confirmed boolean NOT NULL,
    numbers jsonb,
    actor varchar(320) NOT NULL,
    reason text NOT NULL,
    CONSTRAINT verdict_of_a_person_has_a_reason CHECK (actor = '' OR reason <> ''),
    CONSTRAINT verdict_names_its_rule CHECK ((state = 'payable') = (rule = '') OR actor <> ''),
    PRIMARY KEY (day, id)
) PARTITION BY RANGE (day);
ALTER SEQUENCE earnings_verdict_id_seq OWNED BY earnings_verdict.id;
CREATE INDEX earnings_verdict_receipt ON earnings_verdict (receipt_id, id DESC);
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0002_user_time_zone"),
        ("nodes", "0018_clean_names"),
    ]

    operations = [
        migrations.CreateModel(
            name="RecheckDay",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "node_id", "day", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("node_id", models.CharField(max_length=64)),
                ("day", models.DateField()),
            ],
        ),
        migrations.CreateModel(
            name="ExportFile",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("created_by", models.CharField(max_length=320)),
                ("body", models.BinaryField()),
                ("sha256", models.BinaryField(max_length=32)),
                ("payments_count", models.PositiveIntegerField()),
                ("total_usd", models.DecimalField(decimal_places=2, max_digits=20)),
            ],
            options={
                "ordering": ["-number"],
            },
        ),
        migrations.CreateModel(
            name="FinalDay",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("final_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Line",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("model", models.CharField(max_length=128)),
                ("receipts", models.BigIntegerField(default=0)),
                ("tokens_input", models.DecimalField(decimal_places=0, default=0, max_digits=30)),
                ("tokens_output", models.DecimalField(decimal_places=0, default=0, max_digits=30)),
                ("payable_receipts", models.BigIntegerField(default=0)),
                ("payable_usd", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("confirmed_usd", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("held_receipts", models.BigIntegerField(default=0)),
                ("held_usd", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("excluded_receipts", models.BigIntegerField(default=0)),
                ("excluded_usd", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("final_at", models.DateTimeField(null=True)),
                (
                    "node",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="earnings_lines",
                        to="nodes.node",
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="earnings_lines",
                        to="accounts.org",
                    ),
                ),
            ],
            options={
                "ordering": ["-day", "node", "model", "rate"],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(VERDICT, "DROP TABLE earnings_verdict")],
            state_operations=[
                migrations.CreateModel(
                    name="Verdict",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "day", "id", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("id", models.BigIntegerField()),
                        ("day", models.DateField()),
                        ("receipt_id", models.BigIntegerField()),
                        ("at", models.DateTimeField()),
                        (
                            "state",
                            models.CharField(
                                choices=[("payable", "Payable"), ("held", "Held"), ("excluded", "Excluded")],
                                max_length=8,
                            ),
                        ),
                        ("rule", models.CharField(blank=True, max_length=20)),
                        (
                            "cause",
                            models.CharField(blank=True, help_text="what exactly failed", max_length=20),
                        ),
                        ("confirmed", models.BooleanField()),
                        ("numbers", models.JSONField(null=True)),
                        ("actor", models.CharField(blank=True, max_length=320)),
                        ("reason", models.TextField(blank=True)),
                    ],
                    options={
                        "ordering": ["-day", "-id"],
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name="JtvoRate",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("holds_from", models.DateTimeField(help_text="UTC; at least ten minutes from now")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("created_by", models.CharField(editable=False, max_length=320)),
                ("note", models.CharField(blank=True, max_length=300)),
                (
                    "jtvo_per_usd",
                    models.DecimalField(decimal_places=8, max_digits=20, verbose_name="JTVO per USD"),
                ),
                ("source", models.CharField(help_text="where the figure comes from", max_length=200)),
            ],
            options={
                "verbose_name": "JTVO rate",
                "ordering": ["-holds_from"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("holds_from",),
                        name="jtvo_one_from_a_date",
                        violation_error_message="There is already an estimate that holds from that moment.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("jtvo_per_usd__gt", 0), ("jtvo_per_usd__lte", 1000000000)),
                        name="jtvo_in_range",
                        violation_error_message="The estimate is above 0 and at most 1,000,000,000 JTVO per US dollar.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("source", ""), _negated=True), name="jtvo_has_a_source"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="JudgedCoverage",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("finding_id", models.BigIntegerField()),
                ("node_id", models.CharField(max_length=64)),
                ("state", models.CharField(max_length=10)),
                ("since", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("finding_id", "node_id"), name="judged_coverage_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="ModelLimit",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("holds_from", models.DateTimeField(help_text="UTC; at least ten minutes from now")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("created_by", models.CharField(editable=False, max_length=320)),
                ("note", models.CharField(blank=True, max_length=300)),
                (
                    "model",
                    models.CharField(
                        blank=True,
                        help_text="the model's normal form, such as llama3.1-8b; empty for all models without a row of their own",
                        max_length=128,
                        verbose_name="model",
                    ),
                ),
                (
                    "output_per_second",
                    models.DecimalField(
                        decimal_places=2, help_text="output tokens a second of one request", max_digits=10
                    ),
                ),
                (
                    "context_tokens",
                    models.PositiveIntegerField(help_text="input and output tokens of one request"),
                ),
            ],
            options={
                "ordering": ["model", "-holds_from"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("model", "holds_from"),
                        name="model_limit_one_from_a_date",
                        violation_error_message="This model already has limits that hold from that moment.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("context_tokens__gt", 0), ("output_per_second__gt", 0)),
                        name="model_limit_in_range",
                        violation_error_message="Limits are above 0.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Payment",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("chain", models.CharField(choices=[("solana", "Solana"), ("evm", "EVM")], max_length=8)),
                ("address", models.CharField(max_length=64)),
                ("sum_usd", models.DecimalField(decimal_places=16, max_digits=40)),
                ("carried_in_usd", models.DecimalField(decimal_places=16, max_digits=40)),
                ("paid_usd", models.DecimalField(decimal_places=2, max_digits=20)),
                ("carried_out_usd", models.DecimalField(decimal_places=16, max_digits=40)),
                ("returned_at", models.DateTimeField(null=True)),
                ("returned_by", models.CharField(blank=True, max_length=320)),
                ("return_reason", models.TextField(blank=True)),
                (
                    "export",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payments",
                        to="earnings.exportfile",
                    ),
                ),
                (
                    "node",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payments",
                        to="nodes.node",
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payments",
                        to="accounts.org",
                    ),
                ),
            ],
            options={
                "ordering": ["export", "id"],
            },
        ),
        migrations.CreateModel(
            name="Payout",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("amount_usd", models.DecimalField(decimal_places=16, max_digits=40)),
                ("unconfirmed_usd", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("proposed", "Awaits a second admin"),
                            ("ready", "Ready"),
                            ("exported", "Exported"),
                            ("returned", "Returned"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        max_length=10,
                    ),
                ),
                ("batch", models.UUIDField(default=uuid.uuid4, editable=False)),
                ("marked_at", models.DateTimeField()),
                ("marked_by", models.CharField(max_length=320)),
                ("reason", models.TextField()),
                (
                    "overridden",
                    models.JSONField(default=list, help_text="the failed rules that the admin overrode"),
                ),
                ("second_why", models.JSONField(default=list, help_text="why a second admin must confirm")),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("confirmed_by", models.CharField(blank=True, max_length=320)),
                ("ended_at", models.DateTimeField(null=True)),
                ("ended_by", models.CharField(blank=True, max_length=320)),
                ("end_reason", models.TextField(blank=True)),
                (
                    "node",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="payouts", to="nodes.node"
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="payouts", to="accounts.org"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Movement",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                (
                    "recorded_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("accrue", "Accrued"),
                            ("hold", "Held"),
                            ("release", "Released"),
                            ("exclude", "Excluded"),
                            ("ready", "Marked ready"),
                            ("unready", "Taken back from ready"),
                            ("export", "Exported"),
                            ("return", "Returned"),
                            ("carry_out", "Carried to the next payout"),
                            ("carry_in", "Carried from the last payout"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "from_account",
                    models.CharField(
                        choices=[
                            ("network", "Network"),
                            ("accrued", "Accrued"),
                            ("held", "Held"),
                            ("ready", "Ready"),
                            ("exported", "Exported"),
                            ("carried", "Carried"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "to_account",
                    models.CharField(
                        choices=[
                            ("network", "Network"),
                            ("accrued", "Accrued"),
                            ("held", "Held"),
                            ("ready", "Ready"),
                            ("exported", "Exported"),
                            ("carried", "Carried"),
                        ],
                        max_length=8,
                    ),
                ),
                ("amount_usd", models.DecimalField(decimal_places=16, max_digits=40)),
                ("actor", models.CharField(max_length=320)),
                ("reason", models.TextField(blank=True)),
                (
                    "line",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="movements",
                        to="earnings.line",
                    ),
                ),
                (
                    "node",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="nodes.node",
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.org"
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="movements",
                        to="earnings.payment",
                    ),
                ),
                (
                    "payout",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="movements",
                        to="earnings.payout",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Policy",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("holds_from", models.DateTimeField(help_text="UTC; at least ten minutes from now")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("created_by", models.CharField(editable=False, max_length=320)),
                ("note", models.CharField(blank=True, max_length=300)),
                (
                    "require_dispatch",
                    models.BooleanField(
                        default=False,
                        help_text="hold receipts that no gateway confirms, and exclude them after 7 days",
                    ),
                ),
                (
                    "threshold_usd",
                    models.DecimalField(
                        decimal_places=2, default=10, help_text="the least amount of a payout", max_digits=12
                    ),
                ),
                (
                    "hold_days",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="days that a final day waits in addition"
                    ),
                ),
                (
                    "schedule",
                    models.CharField(
                        choices=[("weekly", "Weekly"), ("monthly", "Monthly")],
                        default="monthly",
                        max_length=8,
                    ),
                ),
                (
                    "schedule_day",
                    models.PositiveSmallIntegerField(
                        default=1, help_text="weekly: 0 (Monday) to 6; monthly: 1 to 28"
                    ),
                ),
                (
                    "minimum_reputation",
                    models.DecimalField(
                        decimal_places=2,
                        default=50,
                        max_digits=5,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(100),
                        ],
                    ),
                ),
                (
                    "confirm_from_usd",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        default=1000,
                        help_text="from this amount on a second admin confirms; empty: never because of the amount",
                        max_digits=12,
                        null=True,
                    ),
                ),
                (
                    "confirm_unconfirmed",
                    models.BooleanField(
                        default=True, help_text="a second admin confirms amounts that no gateway confirmed"
                    ),
                ),
                (
                    "confirm_overrides",
                    models.BooleanField(
                        default=True, help_text="a second admin confirms where a failed rule is overridden"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "policies",
                "ordering": ["-holds_from"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("holds_from",),
                        name="policy_one_from_a_date",
                        violation_error_message="There is already a policy that holds from that moment.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("schedule", "weekly"), ("schedule_day__range", (0, 6))),
                            models.Q(("schedule", "monthly"), ("schedule_day__range", (1, 28))),
                            _connector="OR",
                        ),
                        name="policy_schedule_day_exists",
                        violation_error_message="Weekly payouts have a day from 0 to 6, monthly ones from 1 to 28.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("minimum_reputation__range", (0, 100)),
                            ("threshold_usd__range", (0, 1000000)),
                            ("hold_days__lte", 365),
                            models.Q(
                                ("confirm_from_usd__isnull", True),
                                ("confirm_from_usd__gte", 0),
                                _connector="OR",
                            ),
                        ),
                        name="policy_in_range",
                        violation_error_message="A value of this policy is out of range.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Rate",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("holds_from", models.DateTimeField(help_text="UTC; at least ten minutes from now")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("created_by", models.CharField(editable=False, max_length=320)),
                ("note", models.CharField(blank=True, max_length=300)),
                (
                    "model",
                    models.CharField(
                        blank=True,
                        help_text="the model's normal form, such as llama3.1-8b; empty for all models without a row of their own",
                        max_length=128,
                        verbose_name="model",
                    ),
                ),
                ("input_usd", models.DecimalField(decimal_places=6, max_digits=14)),
                ("output_usd", models.DecimalField(decimal_places=6, max_digits=14)),
                (
                    "cache_hit_discount",
                    models.DecimalField(
                        decimal_places=4,
                        default=0,
                        help_text="share of the input's price, 0 to 1",
                        max_digits=5,
                    ),
                ),
            ],
            options={
                "ordering": ["model", "-holds_from"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("model", "holds_from"),
                        name="rate_one_from_a_date",
                        violation_error_message="This model already has a rate that holds from that moment.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("input_usd__range", (0, 10000)), ("output_usd__range", (0, 10000))
                        ),
                        name="rate_in_range",
                        violation_error_message="A rate lies between 0 and 10,000 US dollars per million tokens.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("cache_hit_discount__range", (0, 1))),
                        name="rate_discount_is_a_share",
                        violation_error_message="The discount lies between 0 and 1.",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="line",
            name="rate",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="earnings.rate"
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ITEM, "DROP TABLE earnings_item")],
            state_operations=[
                migrations.CreateModel(
                    name="Item",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "day",
                                "receipt_id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("day", models.DateField()),
                        ("receipt_id", models.BigIntegerField()),
                        ("accepted_at", models.DateTimeField()),
                        ("request_id", models.CharField(max_length=128)),
                        ("sha256", models.BinaryField(max_length=32)),
                        ("model", models.CharField(max_length=128)),
                        ("ts_start", models.DateTimeField()),
                        ("ts_end", models.DateTimeField()),
                        ("tokens_input", models.BigIntegerField()),
                        ("tokens_output", models.BigIntegerField()),
                        ("failed", models.BooleanField()),
                        ("hedged", models.BooleanField()),
                        ("cache_hit", models.BooleanField()),
                        ("fee_usd", models.DecimalField(decimal_places=16, max_digits=40)),
                        ("node_since", models.DateTimeField()),
                        ("key_since", models.DateTimeField(null=True)),
                        ("key_until", models.DateTimeField(null=True)),
                        ("in_service", models.BooleanField()),
                        ("silent_only", models.BooleanField()),
                        ("outage_seconds", models.IntegerField()),
                        ("offered", models.BooleanField(null=True)),
                        ("concurrent", models.IntegerField()),
                        ("second_tokens", models.BigIntegerField()),
                        ("concurrency", models.IntegerField()),
                        ("limit_output_per_second", models.DecimalField(decimal_places=2, max_digits=10)),
                        ("limit_context", models.BigIntegerField()),
                        ("require_dispatch", models.BooleanField()),
                        (
                            "node",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="nodes.node",
                            ),
                        ),
                        (
                            "org",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="accounts.org",
                            ),
                        ),
                        (
                            "line",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="items",
                                to="earnings.line",
                            ),
                        ),
                        (
                            "rate",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="earnings.rate",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ["-day", "-receipt_id"],
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name="Statement",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("month", models.DateField(help_text="its first day")),
                ("made_at", models.DateTimeField()),
                ("body", models.BinaryField()),
                ("sha256", models.BinaryField(max_length=32)),
                ("root_hash", models.BinaryField(help_text="of the receipts' hashes", max_length=32)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="statements",
                        to="accounts.org",
                    ),
                ),
            ],
            options={
                "ordering": ["-month", "org"],
            },
        ),
        migrations.CreateModel(
            name="Wallet",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("chain", models.CharField(choices=[("solana", "Solana"), ("evm", "EVM")], max_length=8)),
                ("address", models.CharField(max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("proposed", "Proposed"),
                            ("confirmed", "Confirmed"),
                            ("replaced", "Replaced"),
                            ("stopped", "Stopped"),
                        ],
                        max_length=10,
                    ),
                ),
                ("set_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("set_by", models.CharField(max_length=320)),
                (
                    "network_address",
                    models.CharField(
                        blank=True, help_text="the address that the change came from", max_length=64
                    ),
                ),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("confirmed_by", models.CharField(blank=True, max_length=320)),
                ("payouts_from", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("ended_by", models.CharField(blank=True, max_length=320)),
                ("reason", models.CharField(blank=True, max_length=300)),
                (
                    "node",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="wallets",
                        to="nodes.node",
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="wallets", to="accounts.org"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="LineBalance",
            fields=[
                (
                    "line",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="balance",
                        serialize=False,
                        to="earnings.line",
                    ),
                ),
                ("accrued", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("held", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("ready", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("exported", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(
                            models.Q(("accrued", 0), _negated=True),
                            models.Q(("ready", 0), _negated=True),
                            _connector="OR",
                        ),
                        fields=["line"],
                        name="line_balance_open",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="HeldItem",
            fields=[
                ("receipt_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("request_id", models.CharField(max_length=128)),
                ("rule", models.CharField(max_length=20)),
                ("cause", models.CharField(blank=True, max_length=20)),
                ("fee_usd", models.DecimalField(decimal_places=16, max_digits=40)),
                ("since", models.DateTimeField()),
                ("ts_end", models.DateTimeField()),
                (
                    "node",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="nodes.node",
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.org",
                    ),
                ),
                (
                    "line",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="held_items",
                        to="earnings.line",
                    ),
                ),
            ],
            options={
                "ordering": ["since", "receipt_id"],
                "indexes": [
                    models.Index(fields=["node", "rule", "cause"], name="held_item_by_cause"),
                    models.Index(fields=["request_id"], name="held_item_by_request"),
                    models.Index(fields=["rule", "ts_end"], name="held_item_expiry"),
                ],
            },
        ),
        migrations.CreateModel(
            name="NodeBalance",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("accrued", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("held", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("ready", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("exported", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                ("carried", models.DecimalField(decimal_places=16, default=0, max_digits=40)),
                (
                    "node",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="earnings_balances",
                        to="nodes.node",
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="earnings_balances",
                        to="accounts.org",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("org", "node"), name="node_balance_once", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "sum_usd",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                models.F("paid_usd"), "+", models.F("carried_out_usd")
                            ),
                            "-",
                            models.F("carried_in_usd"),
                        ),
                    )
                ),
                name="payment_adds_up",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("carried_in_usd__gte", 0),
                    ("carried_out_usd__gte", 0),
                    ("carried_out_usd__lt", "0.01"),
                    ("paid_usd__gt", 0),
                ),
                name="payment_carries_less_than_a_cent",
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["proposed", "ready"])),
                fields=("node", "org"),
                name="payout_one_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["proposed", "ready", "exported", "returned", "withdrawn"])),
                name="payout_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_usd__gt", 0)), name="payout_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="payout",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True), name="payout_has_a_reason"
            ),
        ),
        migrations.AddIndex(
            model_name="movement",
            index=models.Index(fields=["org", "at"], name="movement_by_org"),
        ),
        migrations.AddIndex(
            model_name="movement",
            index=models.Index(fields=["node", "at"], name="movement_by_node"),
        ),
        migrations.AddConstraint(
            model_name="movement",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_usd__gt", 0)), name="movement_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="movement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("from_account", "network"), ("kind", "accrue"), ("to_account", "accrued")),
                    models.Q(("from_account", "accrued"), ("kind", "hold"), ("to_account", "held")),
                    models.Q(("from_account", "network"), ("kind", "hold"), ("to_account", "held")),
                    models.Q(("from_account", "held"), ("kind", "release"), ("to_account", "accrued")),
                    models.Q(("from_account", "accrued"), ("kind", "exclude"), ("to_account", "network")),
                    models.Q(("from_account", "held"), ("kind", "exclude"), ("to_account", "network")),
                    models.Q(("from_account", "accrued"), ("kind", "ready"), ("to_account", "ready")),
                    models.Q(("from_account", "ready"), ("kind", "ready"), ("to_account", "accrued")),
                    models.Q(("from_account", "accrued"), ("kind", "unready"), ("to_account", "ready")),
                    models.Q(("from_account", "ready"), ("kind", "unready"), ("to_account", "accrued")),
                    models.Q(("from_account", "exported"), ("kind", "export"), ("to_account", "ready")),
                    models.Q(("from_account", "ready"), ("kind", "export"), ("to_account", "exported")),
                    models.Q(("from_account", "accrued"), ("kind", "return"), ("to_account", "exported")),
                    models.Q(("from_account", "exported"), ("kind", "return"), ("to_account", "accrued")),
                    models.Q(("from_account", "exported"), ("kind", "carry_out"), ("to_account", "carried")),
                    models.Q(("from_account", "carried"), ("kind", "carry_in"), ("to_account", "exported")),
                    _connector="OR",
                ),
                name="movement_route_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="movement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind__in", ["carry_in", "carry_out"]), ("line__isnull", True)),
                    models.Q(
                        models.Q(("kind__in", ["carry_in", "carry_out"]), _negated=True),
                        ("line__isnull", False),
                        ("node__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="movement_has_its_line",
            ),
        ),
        migrations.AddIndex(
            model_name="line",
            index=models.Index(fields=["org", "day"], name="line_by_org_day"),
        ),
        migrations.AddIndex(
            model_name="line",
            index=models.Index(
                condition=models.Q(("final_at__isnull", True)), fields=["day"], name="line_running"
            ),
        ),
        migrations.AddConstraint(
            model_name="line",
            constraint=models.UniqueConstraint(
                fields=("node", "org", "day", "model", "rate"), name="line_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="line",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "receipts",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                models.F("payable_receipts"), "+", models.F("held_receipts")
                            ),
                            "+",
                            models.F("excluded_receipts"),
                        ),
                    )
                ),
                name="line_receipts_add_up",
            ),
        ),
        migrations.AddConstraint(
            model_name="line",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("excluded_receipts__gte", 0),
                    ("held_receipts__gte", 0),
                    ("payable_receipts__gte", 0),
                    ("excluded_usd__gte", 0),
                    ("held_usd__gte", 0),
                    ("payable_usd__gte", 0),
                    ("confirmed_usd__gte", 0),
                    ("confirmed_usd__lte", models.F("payable_usd")),
                ),
                name="line_sums_in_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.UniqueConstraint(fields=("org", "month"), name="statement_once"),
        ),
        migrations.AddIndex(
            model_name="wallet",
            index=models.Index(fields=["org", "node"], name="wallet_by_owner"),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "confirmed")),
                fields=("org", "node"),
                name="wallet_one_confirmed",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(("chain__in", ["solana", "evm"])), name="wallet_chain_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["proposed", "confirmed", "replaced", "stopped"])),
                name="wallet_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "confirmed"), _negated=True),
                    models.Q(
                        ("confirmed_at__isnull", False),
                        ("ended_at__isnull", True),
                        ("payouts_from__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="wallet_confirmed_has_dates",
            ),
        ),
    ]
