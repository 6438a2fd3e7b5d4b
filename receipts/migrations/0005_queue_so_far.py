"""All receipts that exist wait for earnings to judge them."""

from django.db import migrations

FILL = """
INSERT INTO receipts_unjudged (id, accepted_at, node_id, request_id)
SELECT id, accepted_at, node_id, request_id FROM receipts_receipt
ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("receipts", "0004_facts_for_earnings")]

    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
