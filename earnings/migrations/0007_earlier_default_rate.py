"""A default rate may lie in the past if it is earlier than all others: it prices only what waits without a rate."""

from django.db import migrations

_FUNCTION = """
CREATE OR REPLACE FUNCTION earnings_keep_dated_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.holds_from < now() + interval '10 minutes' AND EXISTS (SELECT FROM earnings_item){unless} THEN
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
"""
# The tables that share the function have other columns, hence the JSON.
_FIRST_DEFAULT = """
            AND NOT (TG_TABLE_NAME = 'earnings_rate' AND to_jsonb(NEW) ->> 'model' = '' AND NOT EXISTS (
                SELECT FROM earnings_rate WHERE model = '' AND holds_from <= NEW.holds_from))"""


class Migration(migrations.Migration):
    dependencies = [("earnings", "0006_held_by_org")]
    operations = [
        migrations.RunSQL(_FUNCTION.format(unless=_FIRST_DEFAULT), _FUNCTION.format(unless="")),
    ]
