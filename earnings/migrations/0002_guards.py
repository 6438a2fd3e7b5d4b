"""What the database itself holds about earnings: rows that never change, rates from the future, balances."""

from django.db import migrations

GUARDS = """
CREATE FUNCTION earnings_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER movement_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON earnings_movement
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_refuse_change();
CREATE TRIGGER export_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON earnings_exportfile
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_refuse_change();
CREATE TRIGGER statement_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON earnings_statement
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_refuse_change();
-- Whole months of these are dropped after their retention, as partitions. The partitions inherit row triggers.
CREATE TRIGGER item_append_only BEFORE UPDATE OR DELETE ON earnings_item
    FOR EACH ROW EXECUTE FUNCTION earnings_refuse_change();
CREATE TRIGGER verdict_append_only BEFORE UPDATE OR DELETE ON earnings_verdict
    FOR EACH ROW EXECUTE FUNCTION earnings_refuse_change();
CREATE TRIGGER item_not_emptied BEFORE TRUNCATE ON earnings_item
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_refuse_change();
CREATE TRIGGER verdict_not_emptied BEFORE TRUNCATE ON earnings_verdict
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_refuse_change();

CREATE FUNCTION earnings_keep_dated_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.holds_from < now() + interval '10 minutes' AND EXISTS (SELECT FROM earnings_item) THEN
            RAISE EXCEPTION 'it must hold from a moment at least ten minutes from now'
                USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_from_the_future';
        END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' AND OLD.holds_from > now() THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% rows are never changed: add one that holds from a later date', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER rate_dated BEFORE INSERT OR UPDATE OR DELETE ON earnings_rate
    FOR EACH ROW EXECUTE FUNCTION earnings_keep_dated_row();
CREATE TRIGGER jtvorate_dated BEFORE INSERT OR UPDATE OR DELETE ON earnings_jtvorate
    FOR EACH ROW EXECUTE FUNCTION earnings_keep_dated_row();
CREATE TRIGGER policy_dated BEFORE INSERT OR UPDATE OR DELETE ON earnings_policy
    FOR EACH ROW EXECUTE FUNCTION earnings_keep_dated_row();
CREATE TRIGGER modellimit_dated BEFORE INSERT OR UPDATE OR DELETE ON earnings_modellimit
    FOR EACH ROW EXECUTE FUNCTION earnings_keep_dated_row();

CREATE FUNCTION earnings_keep_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO earnings_linebalance AS b (line_id, accrued, held, ready, exported)
    SELECT line_id,
           COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'accrued'), 0),
           COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'held'), 0),
           COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'ready'), 0),
           COALESCE(sum(sign * amount_usd) FILTER (WHERE account = 'exported'), 0)
    FROM (SELECT line_id, to_account AS account, 1 AS sign, amount_usd FROM added
          UNION ALL SELECT line_id, from_account, -1, amount_usd FROM added) AS entry
    WHERE line_id IS NOT NULL
    GROUP BY line_id
    ORDER BY line_id
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
CREATE TRIGGER movement_balances AFTER INSERT ON earnings_movement
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION earnings_keep_balances();
-- nobody but the trigger writes balances, except the foreign keys' own checks, which only read
CREATE FUNCTION earnings_refuse_own_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION '% is kept by the ledger: % refused', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER linebalance_by_ledger BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON earnings_linebalance
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_refuse_own_balance();
CREATE TRIGGER nodebalance_by_ledger BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON earnings_nodebalance
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_refuse_own_balance();
"""

REMOVE = """
DROP TRIGGER movement_append_only ON earnings_movement;
DROP TRIGGER export_append_only ON earnings_exportfile;
DROP TRIGGER statement_append_only ON earnings_statement;
DROP TRIGGER item_append_only ON earnings_item;
DROP TRIGGER verdict_append_only ON earnings_verdict;
DROP TRIGGER item_not_emptied ON earnings_item;
DROP TRIGGER verdict_not_emptied ON earnings_verdict;
DROP TRIGGER rate_dated ON earnings_rate;
DROP TRIGGER jtvorate_dated ON earnings_jtvorate;
DROP TRIGGER policy_dated ON earnings_policy;
DROP TRIGGER modellimit_dated ON earnings_modellimit;
DROP TRIGGER movement_balances ON earnings_movement;
DROP TRIGGER linebalance_by_ledger ON earnings_linebalance;
DROP TRIGGER nodebalance_by_ledger ON earnings_nodebalance;
DROP FUNCTION earnings_refuse_change, earnings_keep_dated_row, earnings_keep_balances,
    earnings_refuse_own_balance;
"""

# What holds until an admin says otherwise. There is no rate: without one, receipts wait.
FIRST = """
INSERT INTO earnings_policy (holds_from, created_by, note, require_dispatch, threshold_usd, hold_days, schedule,
    schedule_day, minimum_reputation, confirm_from_usd, confirm_unconfirmed, confirm_overrides)
VALUES ('2000-01-01T00:00:00Z', 'console', 'as installed', false, 10, 0, 'monthly', 1, 50, 1000, true, true);
INSERT INTO earnings_modellimit (holds_from, created_by, note, model, output_per_second, context_tokens)
VALUES ('2000-01-01T00:00:00Z', 'console', 'as installed', '', 1000, 262144);
"""


class Migration(migrations.Migration):
    dependencies = [("earnings", "0001_tables")]
    operations = [
        migrations.RunSQL(FIRST, migrations.RunSQL.noop),
        migrations.RunSQL(GUARDS, REMOVE),
    ]
