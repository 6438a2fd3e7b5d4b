"""A new rate may price receipts that had none, so that the accrual looks at them again."""

from django.db import migrations

# The accrual's lock (earnings/accrual/locking.py): what a run that cannot see the new rate notes as unpriced is committed
# before the statement that forgets it.
TRIGGER = """
CREATE FUNCTION earnings_price_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1784771685);
    UPDATE receipts_unjudged SET unpriced = false WHERE unpriced;
    RETURN NULL;
END
$$;
CREATE TRIGGER rate_prices_again AFTER INSERT ON earnings_rate
    FOR EACH STATEMENT EXECUTE FUNCTION earnings_price_again();
"""
REMOVE = """
DROP TRIGGER rate_prices_again ON earnings_rate;
DROP FUNCTION earnings_price_again();
"""


class Migration(migrations.Migration):
    dependencies = [("earnings", "0013_totals_over_days"), ("receipts", "0015_unpriced_passed_over")]
    operations = [migrations.RunSQL(TRIGGER, REMOVE)]
