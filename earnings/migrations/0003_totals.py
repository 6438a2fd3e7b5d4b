"""Totals of lines by node and by day, which a statement trigger on lines keeps."""

import django.db.models.deletion
from django.db import migrations, models

SUMS = (
    "receipts",
    "tokens_input",
    "tokens_output",
    "payable_receipts",
    "payable_usd",
    "confirmed_usd",
    "held_receipts",
    "held_usd",
    "excluded_receipts",
    "excluded_usd",
)
# By the kind of statement: the changes of lines that it made, with their signs.
CHANGES = {
    "insert": ("NEW TABLE AS added", "SELECT 1 AS sign, * FROM added"),
    "update": (
        "OLD TABLE AS removed NEW TABLE AS added",
        "SELECT 1 AS sign, * FROM added UNION ALL SELECT -1, * FROM removed",
    ),
    "delete": ("OLD TABLE AS removed", "SELECT -1 AS sign, * FROM removed"),
}
TOTALS = {"earnings_nodetotal": ("node_id", "org_id"), "earnings_daytotal": ("org_id", "day", "model")}


def _add(table: str, keys: tuple[str, ...], changes: str) -> str:
    """Adds the changes to one table of totals. Rows are locked in the order of their keys."""
    named = ", ".join(keys)
    sums = ", ".join(f"sum(sign * {each}) AS {each}" for each in SUMS)
    return f"""
    INSERT INTO {table} AS t ({named}, {", ".join(SUMS)})
    SELECT * FROM (SELECT {named}, {sums} FROM ({changes}) AS change GROUP BY {named}) AS changed
    WHERE ({", ".join(SUMS)}) IS DISTINCT FROM ({", ".join("0" for _ in SUMS)})
    ORDER BY {named}
    ON CONFLICT ({named}) DO UPDATE SET {", ".join(f"{each} = t.{each} + excluded.{each}" for each in SUMS)};"""  # noqa: S608 - constants


def _trigger(kind: str) -> str:
    referencing, changes = CHANGES[kind]
    body = "".join(_add(table, keys, changes) for table, keys in TOTALS.items())
    return f"""
CREATE FUNCTION earnings_total_on_{kind}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN{body}
    RETURN NULL;
END
$$;
CREATE TRIGGER line_totals_on_{kind} AFTER {kind.upper()} ON earnings_line
    REFERENCING {referencing} FOR EACH STATEMENT EXECUTE FUNCTION earnings_total_on_{kind}();
"""


def _so_far(table: str, keys: tuple[str, ...]) -> str:
    named = ", ".join(keys)
    return f"""
INSERT INTO {table} ({named}, {", ".join(SUMS)})
SELECT {named}, {", ".join(f"sum({each})" for each in SUMS)} FROM earnings_line GROUP BY {named};
"""  # noqa: S608 - constants


GUARDS = "".join(
    f"""
CREATE TRIGGER {table.removeprefix("earnings_")}_by_lines BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_refuse_own_balance();
"""
    for table in TOTALS
)
# A line written between the sums and the triggers would be in no total.
LOCK = """
SET LOCAL lock_timeout = '5s';
LOCK TABLE earnings_line IN SHARE ROW EXCLUSIVE MODE;
"""
KEEP = (
    LOCK
    + "".join(_so_far(table, keys) for table, keys in TOTALS.items())
    + "".join(map(_trigger, CHANGES))
    + GUARDS
)
FORGET = "SET LOCAL lock_timeout = '5s';" + "".join(
    f"DROP TRIGGER line_totals_on_{kind} ON earnings_line; DROP FUNCTION earnings_total_on_{kind};"
    for kind in CHANGES
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_user_time_zone"),
        ("earnings", "0002_guards"),
        ("nodes", "0018_clean_names"),
    ]

    operations = [
        migrations.CreateModel(
            name="DayTotal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
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
                ("day", models.DateField()),
                ("model", models.CharField(max_length=128)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.org"
                    ),
                ),
            ],
            options={
                "ordering": ["-day", "org", "model"],
                "indexes": [models.Index(fields=["day"], name="day_total_by_day")],
                "constraints": [
                    models.UniqueConstraint(fields=("org", "day", "model"), name="day_total_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="NodeTotal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
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
                (
                    "node",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="earnings_totals",
                        to="nodes.node",
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.org"
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("node", "org"), name="node_total_once")],
            },
        ),
        migrations.RunSQL(KEEP, FORGET),
    ]
