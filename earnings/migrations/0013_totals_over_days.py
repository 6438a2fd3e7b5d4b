"""Totals of days over all models of an organisation, and over all organisations, which pages of the network read.

Statement triggers add each change of the totals of days (migration 0003) to both.
"""

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
TOTALS = {"earnings_orgdaytotal": ("org_id", "day"), "earnings_networkdaytotal": ("day", "model")}
# By the kind of statement: the changes that it made, with their signs. Totals are never deleted.
CHANGES = {
    "insert": ("NEW TABLE AS added", "SELECT 1 AS sign, * FROM added"),
    "update": (
        "OLD TABLE AS removed NEW TABLE AS added",
        "SELECT 1 AS sign, * FROM added UNION ALL SELECT -1, * FROM removed",
    ),
}


def _add(table: str, keys: tuple[str, ...], changes: str) -> str:
    """Adds the changes to one table. Rows are locked in the order of their keys."""
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
CREATE FUNCTION earnings_day_total_on_{kind}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN{body}
    RETURN NULL;
END
$$;
CREATE TRIGGER day_totals_on_{kind} AFTER {kind.upper()} ON earnings_daytotal
    REFERENCING {referencing} FOR EACH STATEMENT EXECUTE FUNCTION earnings_day_total_on_{kind}();
"""


def _so_far(table: str, keys: tuple[str, ...]) -> str:
    named = ", ".join(keys)
    return f"""
INSERT INTO {table} ({named}, {", ".join(SUMS)})
SELECT {named}, {", ".join(f"sum({each})" for each in SUMS)} FROM earnings_daytotal GROUP BY {named};
CREATE TRIGGER {table.removeprefix("earnings_")}_by_lines BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_refuse_own_balance();
"""  # noqa: S608 - constants


# Lines first, as the accrual locks them. A total changed between the sums and the triggers would be in neither.
LOCK = """
SET LOCAL lock_timeout = '5s';
LOCK TABLE earnings_line, earnings_daytotal IN SHARE ROW EXCLUSIVE MODE;
"""
KEEP = LOCK + "".join(_so_far(*each) for each in TOTALS.items()) + "".join(map(_trigger, CHANGES))
FORGET = LOCK + "".join(
    f"DROP TRIGGER day_totals_on_{kind} ON earnings_daytotal; DROP FUNCTION earnings_day_total_on_{kind};"
    for kind in CHANGES
)


def _sums() -> list[tuple[str, models.Field]]:  # type: ignore[type-arg]
    def sum_of(name: str) -> models.Field:  # type: ignore[type-arg]
        if name.startswith("tokens"):
            return models.DecimalField(decimal_places=0, default=0, max_digits=30)
        if name.endswith("_usd"):
            return models.DecimalField(decimal_places=16, default=0, max_digits=40)
        return models.BigIntegerField(default=0)

    return [(name, sum_of(name)) for name in SUMS]


class Migration(migrations.Migration):
    dependencies = [("earnings", "0012_verdicts_to_deliver")]

    operations = [
        migrations.CreateModel(
            name="OrgDayTotal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                *_sums(),
                ("day", models.DateField()),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.org"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["day"], name="org_day_total_by_day")],
                "constraints": [models.UniqueConstraint(fields=("org", "day"), name="org_day_total_once")],
            },
        ),
        migrations.CreateModel(
            name="NetworkDayTotal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                *_sums(),
                ("day", models.DateField()),
                ("model", models.CharField(max_length=128)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("day", "model"), name="network_day_total_once")
                ],
            },
        ),
        migrations.RunSQL(KEEP, FORGET),
    ]
