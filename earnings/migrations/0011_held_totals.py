"""What is held, counted by organisation, day and cause, so that no page counts hundreds of thousands of receipts.

A statement trigger on held items keeps it, like the totals of lines (migration 0003).
"""

import django.db.models.deletion
from django.db import migrations, models

_KEYS = "org_id, day, rule, cause"
# By the kind of statement: the changes of held items that it made, with their signs.
CHANGES = {
    "insert": ("NEW TABLE AS added", "SELECT 1 AS sign, * FROM added"),
    "update": (
        "OLD TABLE AS removed NEW TABLE AS added",
        "SELECT 1 AS sign, * FROM added UNION ALL SELECT -1, * FROM removed",
    ),
    "delete": ("OLD TABLE AS removed", "SELECT -1 AS sign, * FROM removed"),
}


def _trigger(kind: str) -> str:
    referencing, changes = CHANGES[kind]
    return f"""
CREATE FUNCTION earnings_held_on_{kind}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO earnings_heldtotal AS t ({_KEYS}, receipts, fees_usd)
    SELECT * FROM (
        SELECT {_KEYS}, sum(sign) AS receipts, sum(sign * fee_usd) AS fees_usd
        FROM ({changes}) AS change GROUP BY {_KEYS}
    ) AS changed
    WHERE (receipts, fees_usd) IS DISTINCT FROM (0, 0)
    ORDER BY {_KEYS}
    ON CONFLICT ({_KEYS}) DO UPDATE SET
        receipts = t.receipts + excluded.receipts, fees_usd = t.fees_usd + excluded.fees_usd;
    RETURN NULL;
END
$$;
CREATE TRIGGER held_totals_on_{kind} AFTER {kind.upper()} ON earnings_helditem
    REFERENCING {referencing} FOR EACH STATEMENT EXECUTE FUNCTION earnings_held_on_{kind}();
"""  # noqa: S608 - constants


# A row written between the sum and the triggers would be in no total.
LOCK = """
SET LOCAL lock_timeout = '5s';
LOCK TABLE earnings_helditem IN SHARE ROW EXCLUSIVE MODE;
"""
KEEP = (
    LOCK
    + f"""
INSERT INTO earnings_heldtotal ({_KEYS}, receipts, fees_usd)
SELECT {_KEYS}, count(*), sum(fee_usd) FROM earnings_helditem GROUP BY {_KEYS};
"""  # noqa: S608 - constants
    + "".join(map(_trigger, CHANGES))
    + """
CREATE TRIGGER held_total_by_items BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON earnings_heldtotal
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_refuse_own_balance();
"""
)
FORGET = "SET LOCAL lock_timeout = '5s';" + "".join(
    f"DROP TRIGGER held_totals_on_{kind} ON earnings_helditem; DROP FUNCTION earnings_held_on_{kind};"
    for kind in CHANGES
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_user_time_zone"), ("earnings", "0010_payment_of_payout_so_far")]
    operations = [
        migrations.CreateModel(
            name="HeldTotal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("rule", models.CharField(max_length=20)),
                ("cause", models.CharField(blank=True, max_length=20)),
                ("receipts", models.BigIntegerField()),
                ("fees_usd", models.DecimalField(decimal_places=16, max_digits=40)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.org"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("org", "day", "rule", "cause"), name="held_total_once")
                ],
            },
        ),
        migrations.RunSQL(KEEP, FORGET),
    ]
