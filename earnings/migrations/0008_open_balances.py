"""What the payout run asks of a node is kept beside its balance, so that it need not read every line.

`LineBalance.unconfirmed` is the part of the line's fees that no gateway confirms. `NodeBalance` sums over lines
what they owe, and how much of what is accrued and ready no gateway confirms. Triggers keep all four.
"""

from django.db import migrations, models

# The changes of balances that a statement made, with their signs.
CHANGES = {
    "insert": ("NEW TABLE AS added", "SELECT 1 AS sign, * FROM added"),
    "update": (
        "OLD TABLE AS removed NEW TABLE AS added",
        "SELECT 1 AS sign, * FROM added UNION ALL SELECT -1, * FROM removed",
    ),
}


def _keep_balances(column: str, value: str, source: str) -> str:
    """The function of migration 0002, whose new balances of lines also get this column."""
    return f"""
CREATE OR REPLACE FUNCTION earnings_keep_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO earnings_linebalance AS b (line_id, accrued, held, ready, exported{column})
    SELECT moved.*{value}
    FROM (
        SELECT line_id,
               COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'accrued'), 0),
               COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'held'), 0),
               COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'ready'), 0),
               COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'exported'), 0)
        FROM (SELECT line_id, to_account AS account, 1 AS sign, amount_usd FROM added
              UNION ALL SELECT line_id, from_account, -1, amount_usd FROM added) AS entry
        WHERE line_id IS NOT NULL
        GROUP BY line_id
    ) AS moved{source}
    ORDER BY moved.line_id
    ON CONFLICT (line_id) DO UPDATE SET
        accrued = b.accrued + excluded.accrued, held = b.held + excluded.held,
        ready = b.ready + excluded.ready, exported = b.exported + excluded.exported;
    INSERT INTO earnings_nodebalance AS b (org_id, node_id, accrued, held, ready, exported, carried)
    SELECT org_id, node_id,
           COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'accrued'), 0),
           COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'held'), 0),
           COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'ready'), 0),
           COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'exported'), 0),
           COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'carried'), 0)
    FROM (SELECT org_id, node_id, to_account AS account, 1 AS sign, amount_usd FROM added
          UNION ALL SELECT org_id, node_id, from_account, -1, amount_usd FROM added) AS entry
    GROUP BY org_id, node_id
    ORDER BY org_id, node_id
    ON CONFLICT (org_id, node_id) DO UPDATE SET
        accrued = b.accrued + excluded.accrued, held = b.held + excluded.held, ready = b.ready + excluded.ready,
        exported = b.exported + excluded.exported, carried = b.carried + excluded.carried;
    RETURN NULL;
END
$$;
"""  # noqa: S608 - constants


# What each line adds to the sums of its node.
SUMS = {
    "owed": "LEAST(b.accrued, 0)",
    "unconfirmed": "GREATEST(LEAST(b.accrued, b.unconfirmed), 0)",
    "ready_unconfirmed": "GREATEST(LEAST(b.ready, b.unconfirmed), 0)",
}

KEEP_UNCONFIRMED = """
CREATE FUNCTION earnings_keep_unconfirmed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE earnings_linebalance b SET unconfirmed = l.payable_usd - l.confirmed_usd
    FROM added l WHERE b.line_id = l.id AND b.unconfirmed <> l.payable_usd - l.confirmed_usd;
    RETURN NULL;
END
$$;
CREATE TRIGGER line_unconfirmed AFTER UPDATE ON earnings_line
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION earnings_keep_unconfirmed();
"""


def _trigger(kind: str) -> str:
    referencing, changes = CHANGES[kind]
    sums = ", ".join(f"sum(b.sign * {value}) AS {name}" for name, value in SUMS.items())
    return f"""
CREATE FUNCTION earnings_open_on_{kind}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO earnings_nodebalance AS n (org_id, node_id, accrued, held, ready, exported, carried, {", ".join(SUMS)})
    SELECT org_id, node_id, 0, 0, 0, 0, 0, {", ".join(SUMS)} FROM (
        SELECT l.org_id, l.node_id, {sums}
        FROM ({changes}) AS b JOIN earnings_line l ON l.id = b.line_id
        GROUP BY l.org_id, l.node_id
    ) AS changed
    WHERE ({", ".join(SUMS)}) IS DISTINCT FROM ({", ".join("0" for _ in SUMS)})
    ORDER BY org_id, node_id
    ON CONFLICT (org_id, node_id) DO UPDATE SET {", ".join(f"{name} = n.{name} + excluded.{name}" for name in SUMS)};
    RETURN NULL;
END
$$;
CREATE TRIGGER linebalance_open_on_{kind} AFTER {kind.upper()} ON earnings_linebalance
    REFERENCING {referencing} FOR EACH STATEMENT EXECUTE FUNCTION earnings_open_on_{kind}();
"""  # noqa: S608 - constants


# Lines first, as the accrual locks them. A line changed between the sums and the triggers would be in none.
LOCK = """
SET LOCAL lock_timeout = '5s';
LOCK TABLE earnings_line IN SHARE ROW EXCLUSIVE MODE;
"""

SO_FAR = f"""
ALTER TABLE earnings_linebalance DISABLE TRIGGER linebalance_by_ledger;
ALTER TABLE earnings_nodebalance DISABLE TRIGGER nodebalance_by_ledger;
UPDATE earnings_linebalance b SET unconfirmed = l.payable_usd - l.confirmed_usd
FROM earnings_line l WHERE l.id = b.line_id AND l.payable_usd <> l.confirmed_usd;
UPDATE earnings_nodebalance n SET {", ".join(f"{name} = of_lines.{name}" for name in SUMS)}
FROM (
    SELECT l.org_id, l.node_id, {", ".join(f"sum({value}) AS {name}" for name, value in SUMS.items())}
    FROM earnings_linebalance b JOIN earnings_line l ON l.id = b.line_id GROUP BY l.org_id, l.node_id
) AS of_lines WHERE n.org_id = of_lines.org_id AND n.node_id = of_lines.node_id;
ALTER TABLE earnings_linebalance ENABLE TRIGGER linebalance_by_ledger;
ALTER TABLE earnings_nodebalance ENABLE TRIGGER nodebalance_by_ledger;
"""  # noqa: S608 - constants

KEEP = (
    SO_FAR
    + _keep_balances(
        ", unconfirmed",
        ", l.payable_usd - l.confirmed_usd",
        " JOIN earnings_line l ON l.id = moved.line_id",
    )
    + KEEP_UNCONFIRMED
    + "".join(map(_trigger, CHANGES))
)
FORGET = (
    "DROP TRIGGER line_unconfirmed ON earnings_line; DROP FUNCTION earnings_keep_unconfirmed;"
    + "".join(
        f"DROP TRIGGER linebalance_open_on_{kind} ON earnings_linebalance; DROP FUNCTION earnings_open_on_{kind};"
        for kind in CHANGES
    )
    + _keep_balances("", "", "")
)


def _amount() -> models.DecimalField:  # type: ignore[type-arg]
    return models.DecimalField(max_digits=40, decimal_places=16, db_default=0)


class Migration(migrations.Migration):
    dependencies = [("earnings", "0007_earlier_default_rate")]
    operations = [
        migrations.RunSQL(LOCK, migrations.RunSQL.noop),
        migrations.AddField("linebalance", "unconfirmed", _amount()),
        *(migrations.AddField("nodebalance", name, _amount()) for name in SUMS),
        migrations.RunSQL(KEEP, FORGET),
        migrations.AddIndex(
            "line",
            models.Index(
                fields=["final_at"], name="line_by_final", condition=models.Q(final_at__isnull=False)
            ),
        ),
        migrations.AddIndex("line", models.Index(fields=["day", "node", "model"], name="line_by_day")),
    ]
